//! From `config.yaml`, the environment and `--set` to [`Settings`], or to all that is wrong with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::check::check;
use super::embedding::EmbeddingSettings;
use super::expand::{Environment, expand};
use super::index::IndexSettings;
use super::layers::layered;
use super::nearest::{nearest, suggestion};
use super::node::{Kind, Node, is_variable, variable};
use super::problem::{Place, Problem, Problems, Step};
use super::read::{Form, Reader};
use super::required::required;
use super::source::SourceSettings;
use super::yaml;
use super::{DocumentSettings, Settings};

/// The longest configuration file, in bytes; another file was meant than one that is longer.
const MAX_FILE: u64 = 1 << 20;

const SOURCES: &[Form<SourceSettings>] = &[
    ("file", |reader, place, node| reader.read(place, node).map(SourceSettings::File)),
    ("stdin", |reader, place, node| reader.read(place, node).map(SourceSettings::Stdin)),
    ("http", |reader, place, node| reader.read(place, node).map(SourceSettings::Http)),
    ("kafka", |reader, place, node| reader.read(place, node).map(SourceSettings::Kafka)),
];

const PROVIDERS: &[Form<EmbeddingSettings>] = &[
    ("builtin", |reader, place, node| reader.read(place, node).map(EmbeddingSettings::Builtin)),
    ("hashed", |reader, place, node| reader.read(place, node).map(EmbeddingSettings::Hashed)),
    ("openai", |reader, place, node| reader.read(place, node).map(EmbeddingSettings::Openai)),
];

const INDEXES: &[Form<IndexSettings>] = &[
    ("embedded", |reader, place, node| reader.read(place, node).map(IndexSettings::Embedded)),
    ("discard", |reader, place, node| reader.read(place, node).map(IndexSettings::Discard)),
    ("pgvector", |reader, place, node| reader.read(place, node).map(IndexSettings::Pgvector)),
    ("milvus", |reader, place, node| reader.read(place, node).map(IndexSettings::Milvus)),
    ("qdrant", |reader, place, node| reader.read(place, node).map(IndexSettings::Qdrant)),
    ("pinecone", |reader, place, node| reader.read(place, node).map(IndexSettings::Pinecone)),
    ("weaviate", |reader, place, node| reader.read(place, node).map(IndexSettings::Weaviate)),
];

/// Reads the file, puts the process's environment (`VECTIDE__EMBEDDING__API_KEY`) and then the overrides (`embedding.api_key=..`)
/// on top, replaces `${NAME}` in texts, and checks everything.
pub fn load(path: &Path, overrides: &[String]) -> Result<Settings, Problems> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())))
        .collect();
    match read_file(path) {
        Ok(yaml) => load_text(path, &yaml, &environment, overrides),
        Err(error) => {
            let hint = if error.kind() == io::ErrorKind::NotFound {
                "; `vectide init` writes one to start from, `--config FILE` names another"
            } else {
                ""
            };
            Err(of_file(path, format!("it cannot be read: {error}{hint}")))
        }
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut yaml = String::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut yaml)?;
    if yaml.len() as u64 > MAX_FILE {
        Err(io::Error::other(format!("it is longer than {MAX_FILE} bytes")))
    } else {
        Ok(yaml)
    }
}

/// As [`load`], with the file's text and the environment given. `path` is only shown.
pub fn load_text(
    path: &Path,
    yaml: &str,
    environment: &Environment,
    overrides: &[String],
) -> Result<Settings, Problems> {
    let mut parsed = yaml::parse(yaml).map_err(|words| of_file(path, broken_yaml(yaml, &words)))?;
    if parsed.is_null() {
        parsed = serde_yaml::Mapping::new().into();
    }
    if !parsed.is_mapping() {
        return Err(of_file(path, "it needs keys at the top level, like `pipeline: products`".to_owned()));
    }
    parsed.apply_merge().map_err(|error| of_file(path, format!("a YAML merge (`<<`) does not work: {error}")))?;

    let mut reader = Reader::default();
    let mut root = layered(parsed, environment, overrides, &mut reader.problems);
    expand_all(&mut root, &Place::root(), environment, &mut reader);

    let mut list = std::mem::take(&mut reader.problems);
    let (settings, order) = sections(root, &mut reader);
    // What was already said about a place explains what is found there later.
    reader.problems.retain(|found| !list.iter().any(|known| known.path == found.path));
    list.append(&mut reader.problems);
    let found = check(&settings).into_iter().filter(|found| !list.iter().any(|known| covers(known, found)));
    let found: Vec<Problem> = found.collect();
    list.extend(found);
    if list.is_empty() {
        return Ok(settings);
    }
    list.sort_by_cached_key(|problem| (rank(problem, &order), problem.path.clone()));
    Err(Problems { file: path.to_owned(), list })
}

fn of_file(path: &Path, text: String) -> Problems {
    Problems { file: path.to_owned(), list: vec![Problem::new("", text)] }
}

/// The parser's words, which name the line; for a key that is twice at the top level they do not.
fn broken_yaml(yaml: &str, words: &str) -> String {
    let key = words.strip_prefix("duplicate entry with key \"").and_then(|rest| rest.strip_suffix('"'));
    let starts = |line: &str| key.is_some_and(|key| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    let twice = yaml.lines().enumerate().filter(|(_, line)| starts(line)).nth(1);
    let line = twice.map(|(index, _)| format!(" at line {}", index + 1)).unwrap_or_default();
    match without_value(words) {
        Some(words) => words,
        None => format!("the YAML is broken: {words}{line}"),
    }
}

/// What to say instead where the parser's words hold a value, which may be a key or a password: it takes a long number for one that no
/// number can hold, and believes a tag.
fn without_value(words: &str) -> Option<String> {
    let (before, rest) = words.split_once("invalid type: ").or_else(|| words.split_once("invalid value: "))?;
    let place = rest.rfind(" at line ").map_or("", |at| &rest[at..]);
    Some(format!("{before}the number{place} has more than 64 bits, or is none; if it is text, put it in quotes"))
}

fn covers(known: &Problem, found: &Problem) -> bool {
    !known.path.steps().is_empty() && known.path.touches(&found.path)
}

/// Problems of the file first, then in the order of the sections, unknown sections last.
fn rank(problem: &Problem, order: &[&str]) -> usize {
    match problem.path.steps().first() {
        Some(Step::Key(key)) => order.iter().position(|name| name == key).map_or(order.len() + 1, |at| at + 1),
        _ => 0,
    }
}

/// Replaces `${NAME}` in every text that is not from the environment already.
fn expand_all(node: &mut Node, place: &Place, environment: &Environment, reader: &mut Reader) {
    match &mut node.kind {
        Kind::Map(map) => {
            map.iter_mut().for_each(|(key, node)| expand_all(node, &place.key(key), environment, reader));
        }
        Kind::List(list) => {
            let items = list.iter_mut().enumerate();
            items.for_each(|(index, node)| expand_all(node, &place.index(index), environment, reader));
        }
        Kind::Text(text) if !node.origin.as_deref().is_some_and(is_variable) => match expand(text, environment) {
            Ok(expanded) => {
                *text = expanded.text;
                if let Some(name) = expanded.names.first() {
                    node.origin = Some(variable(name));
                }
            }
            Err(error) => reader.note(place.clone(), error.to_string()),
        },
        _ => {}
    }
}

/// Reads section by section. A section that is of no use is replaced by its default or example: the problem is noted, and the
/// settings serve to find more problems only. Also answers the names of the sections in their order.
fn sections(root: Node, reader: &mut Reader) -> (Settings, Vec<&'static str>) {
    let mut sections = Sections { reader, root, names: Vec::new(), missing: Vec::new() };
    let settings = Settings {
        pipeline: sections.required("pipeline", Reader::read),
        document: sections.required("document", Reader::read::<DocumentSettings>),
        sources: sections.required("sources", sources),
        chunking: sections.optional("chunking").unwrap_or_default(),
        dedup: sections.optional("dedup").unwrap_or_default(),
        batching: sections.optional("batching").unwrap_or_default(),
        embedding: sections
            .required("embedding", |reader, place, node| reader.read_form(place, node, "provider", PROVIDERS, None)),
        index: sections
            .section("index", |reader, place, node| {
                reader.read_form(place, node, "type", INDEXES, Some(IndexSettings::default().kind()))
            })
            .unwrap_or_default(),
        state: sections.optional("state").unwrap_or_default(),
        shutdown: sections.optional("shutdown").unwrap_or_default(),
        server: sections.optional("server"),
    };
    (settings, sections.finish())
}

fn sources(reader: &mut Reader, place: &Place, node: Node) -> Option<BTreeMap<String, SourceSettings>> {
    let Kind::Map(map) = node.kind else {
        reader.note(place.clone(), "needs a group of keys, one for each source: `catalogue: { type: file, .. }`");
        return None;
    };
    let read = |(name, node)| {
        let source = reader.read_form(&place.key(&name), node, "type", SOURCES, None)?;
        Some((name, source))
    };
    Some(map.into_iter().filter_map(read).collect())
}

struct Sections<'a> {
    reader: &'a mut Reader,
    root: Node,
    names: Vec<&'static str>,
    missing: Vec<Place>,
}

impl Sections<'_> {
    /// Reads a section that may be absent; one without a value counts as absent.
    fn section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Reader, &Place, Node) -> Option<T>,
    ) -> Option<T> {
        self.names.push(name);
        let place = Place::root().key(name);
        let node = self.root.remove(&place).filter(|node| !node.is_null())?;
        read(self.reader, &place, node)
    }

    fn optional<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        self.section(name, Reader::read)
    }

    /// Reads a section that must be there.
    fn required<T>(&mut self, name: &'static str, read: fn(&mut Reader, &Place, Node) -> Option<T>) -> T {
        let place = Place::root().key(name);
        let required = required(&place).expect("every required section is in the table");
        let present = self.root.at(&place).is_some_and(|node| !node.is_null());
        let value = self.section(name, read);
        if !present {
            self.reader.note(place.clone(), required.missing());
            self.missing.push(place.clone());
        }
        value.unwrap_or_else(|| {
            read(&mut Reader::default(), &place, required.stand_in())
                .expect("the examples are whole, which a test checks")
        })
    }

    /// What is left are keys that nothing reads.
    fn finish(self) -> Vec<&'static str> {
        if let Kind::Map(map) = &self.root.kind {
            for (key, node) in map {
                let origin = node.origin().map(|origin| format!(" (set by {origin})")).unwrap_or_default();
                let names = self.names.iter().copied();
                if let Some(meant) = nearest(key, names.clone()) {
                    // The slip explains why the section that was meant is missing.
                    let meant = Place::root().key(meant);
                    self.reader.problems.retain(|problem| !(problem.path == meant && self.missing.contains(&meant)));
                }
                self.reader
                    .note(Place::root().key(key), format!("unknown key `{key}`{}{origin}", suggestion(key, names)));
            }
        }
        self.names
    }
}
