//! What is wrong with the `index` section, and with the metadata that the index is to hold.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::index::external::collection::reserved;
use crate::settings::nearest::{list, nearest};
use crate::settings::problem::Place;
use crate::settings::{IndexSettings, Settings};

use super::Checker;

/// How many calls to another system there may be at once.
const INDEX_CONCURRENCY: RangeInclusive<usize> = 1..=64;

/// Names of the payload's own fields, beside which the metadata stands in systems that keep both in one object.
const RESERVED_METADATA: &[&str] = &[reserved::DOCUMENT, reserved::CHUNK];

impl Checker {
    pub(super) fn index(&mut self, settings: &Settings) {
        if let Some(external) = settings.index.external() {
            self.within("index.batch", external.batch, 1..=most_points(&settings.index));
            self.within("index.concurrency", external.concurrency, INDEX_CONCURRENCY);
            self.some_time("index.timeout", external.timeout);
        }
        if settings.index.keeps_metadata_flat() {
            self.reserved_metadata(settings);
        }
    }

    fn reserved_metadata(&mut self, settings: &Settings) {
        for (index, name) in settings.document.metadata.iter().enumerate() {
            if RESERVED_METADATA.contains(&name.as_str()) {
                let place = Place::from("document").key("metadata").index(index);
                self.note(place, "is a name that Vectide uses itself in this index; leave it out, or rename the field with `document.events`");
            }
        }
    }

    /// A declared field that no document has is a slip: filters by it would find nothing. It is told of the list, in which a problem
    /// explains what is missing there. Of the list itself, whose texts may come from the environment, only what is nearly in the file is
    /// shown.
    pub(super) fn declared_metadata(&mut self, settings: &Settings) {
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
}

/// How many points there may be in a call.
fn most_points(index: &IndexSettings) -> usize {
    match index {
        IndexSettings::Pinecone(_) => 1_000,
        _ => 10_000,
    }
}
