//! What is wrong with the `sources` section.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::settings::Settings;
use crate::settings::problem::Place;
use crate::settings::source::{FileFormat, FileSettings, KafkaSettings, SourceSettings};
use crate::source::file::{Compression, Kind};
use crate::source::{replan, replay, rewrite};

use super::{Checker, is_plain_name};

/// The names of Vectide's own sources: positions and dead letters are kept by the source's name.
const RESERVED_SOURCES: [&str; 3] = [replay::NAME, replan::NAME, rewrite::NAME];

impl Checker {
    pub(super) fn sources(&mut self, settings: &Settings) {
        let place = Place::from("sources");
        if settings.sources.is_empty() {
            self.note(
                place.clone(),
                "lists no sources; add one, like `catalogue: { type: file, path: products.jsonl }`",
            );
        }
        let mut paths: BTreeMap<PathBuf, &str> = BTreeMap::new();
        let (mut stdin, mut http) = (None, None);
        for (name, source) in &settings.sources {
            let place = place.key(name);
            if !is_plain_name(name) {
                self.note(place.clone(), "a source's name must be one or more letters, digits, `-` or `_`");
            }
            if RESERVED_SOURCES.contains(&name.as_str()) {
                self.note(place.clone(), format!("`{name}` is a name that Vectide uses itself; choose another"));
            }
            match source {
                SourceSettings::File(file) => {
                    self.file(&place, file);
                    if !file.path.is_empty()
                        && let Some(other) = paths.insert(cleaned(&file.path), name)
                    {
                        let text = format!(
                            "is also the path of `{other}`, and would be read twice; remove one of the sources"
                        );
                        self.note(place.key("path"), text);
                    }
                }
                SourceSettings::Stdin(it) => {
                    self.at_least_one(place.key("max_record"), it.max_record.as_u64());
                    self.single(&place, "stdin", "there is only one standard input", &mut stdin, name);
                }
                SourceSettings::Http(it) => {
                    self.at_least_one(place.key("max_pending"), it.max_pending);
                    self.single(&place, "http", "there is only one `POST /v1/events`", &mut http, name);
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
                let text = format!("a second source of type `{kind}` besides `{first}`, but {why}; remove one");
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
            self.note(path.clone(), format!("is not a valid glob: {} at character {}", error.msg, error.pos + 1));
        }
        // The name of a folder tells nothing of the files in it.
        let name = Path::new(if file.path.ends_with('/') { "" } else { &file.path });
        if let (Some(told), Some(format)) = (Kind::format_told_by(name), file.format)
            && told != format
        {
            let folder = if file.path.contains(['*', '?', '[']) {
                String::new()
            } else {
                format!("; if it is a folder, write `{}/`", file.path)
            };
            let text = format!(
                "does not apply, because the ending of `path` says {told}; remove `format`, or give the file another ending{folder}"
            );
            self.note(place.key("format"), text);
        }
        let compressed = Compression::of(name) != Compression::None;
        let format = Kind::of(name, file).map(|kind| kind.format);
        if let Some(other) = format.filter(|format| file.separator.is_some() && *format != FileFormat::Csv) {
            self.note(place.key("separator"), format!("does not apply, because {other} has no separator; remove it"));
        }
        let parquet = format == Some(FileFormat::Parquet);
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
            self.note(path, "this build cannot read Parquet; build it with `--features parquet`");
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
        self.note(place.key("type"), "this build cannot read Kafka; build it with `--features kafka`");
        #[cfg(feature = "kafka")]
        for (key, text) in crate::source::kafka::settings::problems(kafka) {
            self.note(key.split('/').fold(place.clone(), |place, key| place.key(key)), text);
        }
    }
}

/// A path without what leads nowhere, so that two ways to write one are the same.
fn cleaned(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| *part != Component::CurDir).collect()
}
