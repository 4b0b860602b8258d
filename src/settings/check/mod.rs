//! What each value may be, beyond its type, and how values must fit together. Finds all problems, stops at none.

mod document;
mod embedding;
mod index;
mod source;

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::document::chunk::Chunker;
use crate::embed::Provider;
use crate::embed::openai::Openai;

use super::embedding::EmbeddingSettings;
use super::problem::{Place, Problem};
use super::{Settings, Span};

/// More than any provider takes in a call; a batch is held in memory.
const MAX_BATCH_ITEMS: usize = 100_000;

/// Everything that is wrong with settings whose types are right.
pub fn check(settings: &Settings) -> Vec<Problem> {
    let mut checker = Checker { problems: Vec::new() };
    if !is_plain_name(&settings.pipeline) {
        checker.note("pipeline", "must be one or more letters, digits, `-` or `_`");
    }
    checker.document(&settings.document);
    checker.sources(settings);
    checker.sizes(settings);
    checker.embedding(&settings.embedding);
    checker.index(settings);
    checker.trials(settings);
    checker.declared_metadata(settings);
    checker.problems
}

struct Checker {
    problems: Vec<Problem>,
}

impl Checker {
    fn note(&mut self, place: impl Into<Place>, text: impl Into<String>) {
        self.problems.push(Problem::new(place, text));
    }

    /// Zero would stop everything.
    fn at_least_one<N: Default + PartialEq + Display>(&mut self, place: impl Into<Place>, number: N) {
        if number == N::default() {
            self.note(place, "must be at least 1");
        }
    }

    fn within(&mut self, place: impl Into<Place>, number: usize, range: RangeInclusive<usize>) {
        if !range.contains(&number) {
            self.note(place, format!("must be from {} to {}", range.start(), range.end()));
        }
    }

    fn some_time(&mut self, place: impl Into<Place>, span: Span) {
        if span.as_duration().is_zero() {
            self.note(place, "must be longer than zero");
        }
    }

    fn sizes(&mut self, settings: &Settings) {
        self.some_time("dedup.ttl", settings.dedup.ttl);
        self.within("batching.max_items", settings.batching.max_items, 1..=MAX_BATCH_ITEMS);
        self.at_least_one("batching.max_tokens", settings.batching.max_tokens);
        self.at_least_one("batching.max_bytes", settings.batching.max_bytes.as_u64());
        if settings.state.path.as_os_str().is_empty() {
            self.note("state.path", "is empty; name a folder, like `data`");
        }
        if let Some(server) = &settings.server {
            self.at_least_one("server.max_body", server.max_body.as_u64());
        }
    }

    /// What only the parts themselves can tell: each is made once and thrown away. Where something is known to be wrong already, its
    /// part would only say it again.
    fn trials(&mut self, settings: &Settings) {
        // The other providers take a text of any length, and give vectors that every index takes.
        let (mut limit, mut dimensions) = (None, 1);
        if let EmbeddingSettings::Openai(openai) = &settings.embedding {
            self.trial("embedding", || {
                let provider = Openai::new(openai)?;
                (limit, dimensions) = (provider.max_text_tokens(), provider.space().dimensions);
                Ok(())
            });
        }
        self.trial("chunking", || Chunker::new(&settings.chunking, None, limit).map(drop));
        if settings.index.external().is_some() {
            self.trial("index", || crate::index::collection(settings, dimensions).map(drop));
        }
    }

    fn trial(&mut self, section: &str, make: impl FnOnce() -> Result<(), String>) {
        let section = Place::from(section);
        if self.problems.iter().any(|problem| problem.path.touches(&section)) {
            return;
        }
        if let Err(told) = make() {
            // `document.text: what is wrong`
            let (place, text) = match told.split_once(": ") {
                Some((place, text)) if !place.contains(' ') => (Place::from(place), text.to_owned()),
                _ => (section, told),
            };
            self.note(place, text);
        }
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}
