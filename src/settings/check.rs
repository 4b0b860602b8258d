//! What each value may be, beyond its type, and how values must fit together. Finds all problems, stops at none.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use crate::batch::plan::PRIORITIES;
use crate::document::FieldName;
use crate::document::chunk::Chunker;
use crate::document::template::Template;
use crate::embed::Provider;
use crate::embed::openai::{Openai, presets};
use crate::index::collection::reserved;
use crate::source::file::{Compression, Kind};
use crate::source::{replan, replay, rewrite};

use super::document::{DocumentSettings, EventKindSettings};
use super::embedding::{EmbeddingSettings, HASHED_DIMENSIONS, OpenaiSettings};
use super::nearest::{list, nearest, suggestion};
use super::problem::{Place, Problem};
use super::source::{FileFormat, FileSettings, KafkaSettings, SourceSettings};
use super::{Settings, Span};

/// The most numbers that a vector may have.
const MAX_DIMENSIONS: usize = 65_536;

/// More calls at once than any provider serves, and fewer than a semaphore holds.
const MAX_CONCURRENCY: usize = 10_000;

/// More than any provider takes in a call; a batch is held in memory.
const MAX_BATCH_ITEMS: usize = 100_000;

/// How many calls to another system there may be at once.
const INDEX_CONCURRENCY: RangeInclusive<usize> = 1..=64;

/// Names of the payload's own fields, beside which the metadata stands in systems that keep both in one object.
const RESERVED_METADATA: &[&str] = &[reserved::DOCUMENT, reserved::CHUNK];

/// The names of Vectide's own sources: positions and dead letters are kept by the source's name.
const RESERVED_SOURCES: [&str; 3] = [replay::NAME, replan::NAME, rewrite::NAME];

/// Everything that is wrong with settings whose types are right.
pub fn check(settings: &Settings) -> Vec<Problem> {
    let mut checker = Checker { problems: Vec::new() };
    if !is_plain_name(&settings.pipeline) {
        checker.note("pipeline", "may hold letters, digits, `-` and `_` only, and at least one of them");
    }
    checker.document(&settings.document);
    checker.sources(settings);
    checker.sizes(settings);
    match &settings.embedding {
        EmbeddingSettings::Builtin(_) => {}
        EmbeddingSettings::Hashed(hashed) => {
            checker.within("embedding.dimensions", hashed.dimensions, HASHED_DIMENSIONS);
        }
        EmbeddingSettings::Openai(openai) => checker.openai(openai),
    }
    if let Some(external) = settings.index.external() {
        checker.within("index.batch", external.batch, 1..=external.most_points);
        checker.within("index.concurrency", external.concurrency, INDEX_CONCURRENCY);
        checker.some_time("index.timeout", external.timeout);
    }
    if settings.index.keeps_metadata_flat() {
        checker.reserved_metadata(settings);
    }
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

    fn document(&mut self, document: &DocumentSettings) {
        let place = Place::from("document");
        self.field(place.key("id"), &document.id);
        if let Some(version) = &document.version {
            self.field(place.key("version"), &version.field);
        }
        if let Err(why) = Template::check(&document.text) {
            self.note(place.key("text"), why);
        }
        let mut seen = BTreeMap::new();
        for (index, name) in document.metadata.iter().enumerate() {
            let place = place.key("metadata").index(index);
            self.field(place.clone(), name);
            // Not the name itself: like any text, it may come from the environment.
            if let Some(first) = seen.insert(name, index) {
                self.note(place, format!("is the same as `document.metadata[{first}]`; keep one"));
            }
        }
        for (index, name) in document.numbers.iter().enumerate() {
            if !document.metadata.contains(name) {
                let near = nearest(name, document.metadata.iter().map(String::as_str));
                let hint =
                    near.map_or_else(|| "list it there too".to_owned(), |near| format!("did you mean `{near}`?"));
                self.note(place.key("numbers").index(index), format!("is not in `document.metadata`; {hint}"));
            }
        }
        if let Some(events) = &document.events {
            let place = place.key("events");
            self.field(place.key("field"), &events.field);
            if events.kinds.is_empty() {
                self.note(
                    place.clone(),
                    "lists no kind of event, like `product_update: { operation: patch }`; remove it to take every record as an \
                     upsert",
                );
            }
            for (kind, settings) in &events.kinds {
                self.kind(&place.key(kind), settings);
            }
        }
    }

    fn kind(&mut self, place: &Place, kind: &EventKindSettings) {
        if kind.priority >= PRIORITIES {
            self.note(place.key("priority"), format!("must be at most {}, not {}", PRIORITIES - 1, kind.priority));
        }
        let mut sources = BTreeMap::new();
        for (from, to) in &kind.rename {
            let place = place.key("rename").key(from);
            self.field(place.clone(), from);
            if to.is_empty() || to.starts_with('/') || to.contains('\0') {
                self.note(
                    place.clone(),
                    "the new name must be a plain field name, not empty and not starting with `/`",
                );
            }
            if let Some(other) = sources.insert(to, from) {
                self.note(place, format!("gets the same new name as `{other}`; give one another"));
            }
        }
    }

    /// The name of a field of a record: a key, or a JSON pointer.
    fn field(&mut self, place: Place, name: &str) {
        if let Err(why) = FieldName::new(name) {
            self.note(place, why);
        }
    }

    fn sources(&mut self, settings: &Settings) {
        let place = Place::from("sources");
        if settings.sources.is_empty() {
            self.note(
                place.clone(),
                "lists no source; add one, like `catalogue: { type: file, path: products.jsonl }`",
            );
        }
        let mut paths: BTreeMap<PathBuf, &str> = BTreeMap::new();
        let (mut stdin, mut http) = (None, None);
        for (name, source) in &settings.sources {
            let place = place.key(name);
            if !is_plain_name(name) {
                self.note(place.clone(), "a source's name may hold letters, digits, `-` and `_` only");
            }
            if RESERVED_SOURCES.contains(&name.as_str()) {
                self.note(place.clone(), format!("`{name}` is the name of a source of Vectide's own; choose another"));
            }
            match source {
                SourceSettings::File(file) => {
                    self.file(&place, file);
                    if !file.path.is_empty()
                        && let Some(other) = paths.insert(cleaned(&file.path), name)
                    {
                        let text =
                            format!("is the path of `{other}` too, and would be read twice; remove one of the sources");
                        self.note(place.key("path"), text);
                    }
                }
                SourceSettings::Stdin(it) => {
                    self.at_least_one(place.key("max_record"), it.max_record.as_u64());
                    self.single(&place, "stdin", "there is one standard input", &mut stdin, name);
                }
                SourceSettings::Http(it) => {
                    self.at_least_one(place.key("max_pending"), it.max_pending);
                    self.single(&place, "http", "there is one `POST /v1/events`", &mut http, name);
                    if settings.server.is_none() {
                        let text = format!(
                            "is missing: source `{name}` needs an address; for example `server: {{ listen: \"127.0.0.1:9090\" }}`"
                        );
                        self.note("server", text);
                    }
                }
                SourceSettings::Kafka(kafka) => self.kafka(&place, kafka),
            }
        }
    }

    fn single<'a>(&mut self, place: &Place, kind: &str, why: &str, first: &mut Option<&'a str>, name: &'a str) {
        match first {
            Some(first) => {
                let text = format!("a second source of type `{kind}` beside `{first}`, but {why}; remove one");
                self.note(place.key("type"), text);
            }
            None => *first = Some(name),
        }
    }

    fn file(&mut self, place: &Place, file: &FileSettings) {
        let path = place.key("path");
        self.at_least_one(place.key("max_record"), file.max_record.as_u64());
        if file.path.is_empty() {
            self.note(path, "is empty; name a file, a folder or a glob, like `data/*.jsonl`");
            return;
        }
        if let Err(error) = glob::Pattern::new(&file.path) {
            self.note(path.clone(), format!("is no glob: {} at character {}", error.msg, error.pos + 1));
        }
        // The name of a folder tells nothing of the files in it.
        let name = Path::new(if file.path.ends_with('/') { "" } else { &file.path });
        if let (Some(told), Some(format)) = (Kind::of(name, None), file.format)
            && told.format != format
        {
            let folder = if file.path.contains(['*', '?', '[']) {
                String::new()
            } else {
                format!("; if it is a folder, write `{}/`", file.path)
            };
            let text = format!(
                "does not apply, because the ending of `path` says {}; remove `format`, or give the file another ending{folder}",
                told.format
            );
            self.note(place.key("format"), text);
        }
        let compressed = Compression::of(name) != Compression::None;
        let parquet = Kind::of(name, file.format).is_some_and(|kind| kind.format == FileFormat::Parquet);
        if file.follow && parquet {
            self.note(place.key("follow"), "a Parquet file does not grow, so it cannot be followed; remove `follow`");
        } else if file.follow && compressed {
            self.note(
                place.key("follow"),
                "a compressed file cannot be followed; remove `follow`, or read the plain file",
            );
        }
        if parquet && compressed {
            self.note(
                path.clone(),
                "a Parquet file is compressed inside; decompress it, and drop the `.gz` or `.zst` from its name",
            );
        }
        if parquet && !cfg!(feature = "parquet") {
            self.note(path, "this build reads no Parquet; build it with `--features parquet`");
        }
    }

    fn kafka(&mut self, place: &Place, kafka: &KafkaSettings) {
        for (key, list, example) in
            [("brokers", &kafka.brokers, "[\"localhost:9092\"]"), ("topics", &kafka.topics, "[product-events]")]
        {
            if list.is_empty() || list.iter().any(String::is_empty) {
                self.note(place.key(key), format!("must name at least one, and none may be empty, like `{example}`"));
            }
        }
        if let Some(twice) = kafka.topics.iter().enumerate().find(|(at, topic)| kafka.topics[..*at].contains(topic)) {
            self.note(place.key("topics"), format!("names `{}` twice; remove one of the two", twice.1));
        }
        if kafka.group.is_empty() {
            self.note(place.key("group"), "is empty; name the consumer group, like `product-index`");
        }
        self.at_least_one(place.key("max_record"), kafka.max_record.as_u64());
        self.some_time(place.key("commit_interval"), kafka.commit_interval);
        #[cfg(not(feature = "kafka"))]
        self.note(place.key("type"), "this build reads no Kafka; build it with `--features kafka`");
        #[cfg(feature = "kafka")]
        for (key, text) in crate::source::kafka::settings::problems(kafka) {
            self.note(key.split('/').fold(place.clone(), |place, key| place.key(key)), text);
        }
    }

    fn openai(&mut self, openai: &OpenaiSettings) {
        let place = Place::from("embedding");
        match &openai.preset {
            Some(preset) if presets::names().all(|name| name != preset) => {
                let text = format!("is no known preset{}", suggestion(preset, presets::names()));
                self.note(place.key("preset"), text);
            }
            None if openai.model.is_none() => {
                let text = format!(
                    "is missing: name the model, like `text-embedding-3-small`, or set `preset` to one of {}",
                    list(presets::names())
                );
                self.note(place.key("model"), text);
            }
            _ => {}
        }
        if openai.model.as_ref().is_some_and(String::is_empty) {
            self.note(place.key("model"), "is empty; name the model, like `text-embedding-3-small`");
        }
        if let Some(address) = &openai.base_url {
            self.address(place.key("base_url"), address);
        }
        if let Some(dimensions) = openai.dimensions {
            self.within(place.key("dimensions"), dimensions, 1..=MAX_DIMENSIONS);
        }
        match (&openai.api_key, &openai.api_key_file) {
            (Some(_), Some(_)) => {
                self.note(place.key("api_key_file"), "is set beside `api_key`; keep one of them");
            }
            // An own server may need no key; the public ones do.
            (None, None) if openai.base_url.is_none() => {
                let text = "is missing: this provider needs a key; for example `api_key: ${OPENAI_API_KEY}`";
                self.note(place.key("api_key"), text);
            }
            _ => {}
        }
        if openai.api_key.as_ref().is_some_and(|key| key.reveal().trim().is_empty()) {
            self.note(place.key("api_key"), "is empty; remove it where no key is needed");
        }
        self.within("embedding.concurrency", openai.concurrency, 1..=MAX_CONCURRENCY);
        self.some_time("embedding.connect_timeout", openai.connect_timeout);
        self.some_time("embedding.timeout", openai.timeout);
        let limits = [
            ("embedding.rate_limit.requests_per_minute", openai.rate_limit.requests_per_minute),
            ("embedding.rate_limit.tokens_per_minute", openai.rate_limit.tokens_per_minute),
            ("embedding.max_text_tokens", openai.max_text_tokens.map(|count| count as u64)),
        ];
        for (place, limit) in limits {
            if let Some(limit) = limit {
                self.at_least_one(place, limit);
            }
        }
        if openai.price_per_million_tokens.is_some_and(|price| !price.is_finite() || price < 0.0) {
            self.note(place.key("price_per_million_tokens"), "must be an amount of US dollars, 0 or more");
        }
    }

    fn reserved_metadata(&mut self, settings: &Settings) {
        for (index, name) in settings.document.metadata.iter().enumerate() {
            if RESERVED_METADATA.contains(&name.as_str()) {
                let place = Place::from("document").key("metadata").index(index);
                self.note(place, "is a field of Vectide's own in this index; name another, or rename the field with `document.events`");
            }
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

    /// A declared field that no document has is a slip: filters by it would find nothing. It is told of the list, in which a problem
    /// explains what is missing there. Of the list itself, whose texts may come from the environment, only what is nearly in the file is
    /// shown.
    fn declared_metadata(&mut self, settings: &Settings) {
        let index = Place::from("index");
        if self.problems.iter().any(|problem| problem.path.touches(&index)) {
            return;
        }
        let listed = || settings.document.metadata.iter().map(String::as_str);
        let declared = settings.index.declared_metadata().into_iter().flat_map(BTreeMap::keys).map(String::as_str);
        let missing: Vec<&str> = declared.filter(|name| !listed().any(|listed| listed == *name)).collect();
        let hint = match missing[..] {
            [] => return,
            [name] => nearest(name, listed()).map(|near| format!("did you mean `{near}`?")),
            _ => None,
        };
        let hint = hint.unwrap_or_else(|| "list it here too, or remove it there".to_owned());
        let missing = list(missing);
        self.note("document.metadata", format!("lacks {missing}, which `index.metadata` declares; {hint}"));
    }

    /// The address is not shown: it may hold a password.
    fn address(&mut self, place: Place, address: &str) {
        let Some(rest) = ["http://", "https://"].iter().find_map(|scheme| address.strip_prefix(scheme)) else {
            self.note(place, "must start with `http://` or `https://`");
            return;
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || address.contains(char::is_whitespace) {
            self.note(place, "is no address; write it like `https://api.openai.com/v1`");
        } else if host.contains('@') {
            self.note(place, "holds a user and a password; put the key into `api_key` instead");
        } else if rest.contains('#') {
            self.note(place, "must end before `/embeddings`, without `#`");
        }
    }
}

/// A path without what leads nowhere, so that two ways to write one are the same.
fn cleaned(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| *part != Component::CurDir).collect()
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}
