//! What is wrong with the `document` section.

use std::collections::BTreeMap;

use crate::batch::plan::PRIORITIES;
use crate::document::FieldName;
use crate::document::template::Template;
use crate::settings::document::{DocumentSettings, EventKindSettings};
use crate::settings::nearest::nearest;
use crate::settings::problem::Place;

use super::Checker;

impl Checker {
    pub(super) fn document(&mut self, document: &DocumentSettings) {
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
                self.note(place, format!("repeats `document.metadata[{first}]`; remove one of the two"));
            }
        }
        for (index, name) in document.numbers.iter().enumerate() {
            if !document.metadata.contains(name) {
                let listed = || document.metadata.iter().map(String::as_str);
                // Its place, not the name, as above.
                let near = nearest(name, listed()).and_then(|near| listed().position(|listed| listed == near));
                let hint = near.map_or_else(
                    || "list it there too".to_owned(),
                    |near| format!("did you mean `document.metadata[{near}]`?"),
                );
                self.note(place.key("numbers").index(index), format!("is not in `document.metadata`; {hint}"));
            }
        }
        if let Some(events) = &document.events {
            let place = place.key("events");
            self.field(place.key("field"), &events.field);
            if events.kinds.is_empty() {
                self.note(
                    place.clone(),
                    "lists no kinds of event, such as `product_update: { operation: patch }`; remove it to treat every record as an \
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
                self.note(place, format!("gets the same new name as `{other}`; give one of them another"));
            }
        }
    }

    /// The name of a field of a record: a key, or a JSON pointer.
    fn field(&mut self, place: Place, name: &str) {
        if let Err(why) = FieldName::new(name) {
            self.note(place, why);
        }
    }
}
