//! `docs/configuration.md` is made from the settings' doc comments, and its defaults from the settings' values.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_yaml::Value;
use vectide::settings::expand::Environment;
use vectide::settings::problem::Place;
use vectide::settings::required::{REQUIRED, required};
use vectide::settings::{Settings, load_text};

const REWRITE: &str = "VECTIDE_WRITE_DOCS=1 cargo test --test configuration_reference";

const INTRODUCTION: &str = r#"# Configuration

<!-- Made from the doc comments in src/settings. To write it anew: REWRITE -->

Vectide reads one YAML file, `config.yaml` unless `--config FILE` or `VECTIDE_CONFIG` names another. `vectide init` writes a
commented one, `vectide check` finds everything that is wrong with it, and `vectide check --print` shows it with all defaults
filled in and secrets masked. This much is enough:

```yaml
pipeline: products
document:
  id: product_id
  text: "{{ title }} {{ description }}"
sources:
  catalogue: { type: file, path: products.jsonl }
embedding: { provider: builtin }
```

**Values from outside the file.** The environment overrides the file, and `--set` overrides both:

- `VECTIDE__BATCHING__MAX_ITEMS=50 vectide run`: two underscores go one level down; capitals, dashes and dots in keys do not matter.
- `vectide --set batching.max_items=50 run`, as often as needed; the last one wins.
- Lists and groups are written as YAML: `--set 'document.metadata=[price, category]'`. They replace what was there.

**Variables in values.** `${NAME}` is replaced by the environment variable, which must be set; `${NAME:-default}` gives a default for one
that is unset or empty; `$${` stands for `${`. Template expressions (`{{ }}`) are left alone.

**Secrets**, that is keys and passwords, are given in the file, in a variable or in a file of their own. White space around them is removed.

**Units.** A size is a number of bytes, or written like `64KiB`, `256MiB`, `2GiB` (powers of 1024) or `1MB` (powers of 1000). A time
needs its unit: `50ms`, `30s`, `5m`, `1h`, `7d`.

## Templates

`document.text` is a [minijinja](https://docs.rs/minijinja/latest/minijinja/syntax/) template over the fields of the document. What to
know beyond that:

- A field that the document lacks leaves it without a text: it waits in the ledger until the field arrives. For a field that may stay
  missing, write `{{ description | default('') }}`.
- A part of a missing field, `{{ description[:300] }}`, prints nothing and does not count as missing. To do more with it, write
  `{{ (description | default(''))[:300] | upper }}`.
- A default does not reach into an object that is missing as a whole: write `{{ (maker | default({})).name | default('') }}`.
- Names consist of ASCII letters, digits and `_`. A field of any other name is `{{ "Product Title" | field }}`; `{{ product-title }}`
  subtracts `title` from `product`.
- HTML costs several times the tokens of its text and makes worse vectors: `{{ description | striptags }}` is the text that a reader sees,
  without tags, scripts and styles, with entities such as `&amp;` as characters.

## Files

What to know about `path` and `follow` of a source of type `file`:

- With `format`, files may have any ending. Files of `zstd --long` may have windows of up to 128 MiB.
- Hidden files are left out, unless a glob spells out their dot. So are folders below a folder. `**` does not go through links to folders.
- Without `follow`, write a file under a hidden name and rename it, so that it is complete when it is read.
- With `follow`, a file that is rotated away is read to its end; after a restart only if `path` matches its new name too (`app.log*`).
- With `follow`, compressed files in a folder or of a glob are skipped, because what rotation compresses was read before. Older ones need a
  source of their own.
- With `follow`, what is after the last line feed is read once its own line feed arrives, or when the file is gone.
"#;

/// A configuration with nothing but what must be there, and all groups that may be. The provider and the index vary.
const SKELETON: &str = r#"
pipeline: p
document:
  id: id
  text: "{{ title }}"
  version: { field: at }
  events: { field: type, kind: { operation: upsert } }
sources: { file: { type: file, path: a }, stdin: { type: stdin }, http: { type: http },
  kafka: { type: kafka, brokers: [b], topics: [t], group: g, sasl: { username: u, password: p } } }
server: {}
"#;

/// What each form of a section needs beside its name.
const FORMS: &[(&str, &str)] = &[
    ("embedding", "{ provider: builtin }"),
    ("embedding", "{ provider: hashed }"),
    ("embedding", "{ provider: openai, preset: openai-small, api_key: k }"),
    ("index", "{ type: embedded }"),
    ("index", "{ type: discard }"),
    ("index", "{ type: pgvector }"),
    ("index", "{ type: milvus }"),
    ("index", "{ type: qdrant }"),
    ("index", "{ type: pinecone, api_key: k }"),
    ("index", "{ type: weaviate }"),
];

/// Keys in the texts above that are there for a check's sake: they have a default, which is none.
const NONE_ALONE: &[&str] = &[
    "embedding.preset",
    "embedding.api_key",
    "index.api_key",
    "sources.<name>.sasl.password",
    "sources.kafka.sasl.password",
];

#[test]
fn the_reference_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let made = Page::default().write();
    if std::env::var_os("VECTIDE_WRITE_DOCS").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(made == written, "docs/configuration.md is not what the doc comments say; write it anew: {REWRITE}");
}

#[test]
fn what_must_be_there_is_explained_by_its_doc_comment() {
    let page = Page::default();
    page.clone().write();
    for required in REQUIRED {
        let documented = page.keys().remove(required.path).unwrap_or_else(|| panic!("`{}` is no key", required.path));
        let start = |text: &str| text.to_lowercase();
        assert!(start(&documented).starts_with(&start(required.purpose)), "{}: {documented}", required.path);
    }
}

#[test]
fn what_must_be_there_is_missed_and_everything_else_has_a_default() {
    // The skeleton loads and holds only what must be there, so all else has a default.
    for (section, form) in FORMS {
        let mut places = Vec::new();
        leaves(&skeleton(section, form), &Place::root(), &mut places);
        for place in places {
            let path = place.to_string();
            let named = path.ends_with(".type") || path.ends_with(".provider") || NONE_ALONE.contains(&path.as_str());
            assert!(named || required(&place).is_some(), "`{path}` must be there, and is not in the table");
        }
        load(&skeleton(section, form));
    }
    let whole = skeleton(FORMS[0].0, FORMS[0].1);
    for required in REQUIRED {
        let mut without = whole.clone();
        let source = match required.path.strip_prefix("sources.*.") {
            Some(path) => source_with(&whole, path).unwrap_or_else(|| panic!("no source of the skeleton has `{path}`")),
            None => "file",
        };
        remove(&mut without, &required.path.replace("document.events.*", "document.events.kind").replace('*', source));
        let yaml = serde_yaml::to_string(&without).unwrap();
        let problems = load_text(Path::new("config.yaml"), &yaml, &Environment::new(), &[]).unwrap_err();
        assert_eq!(problems.list.len(), 1, "{problems}");
        assert!(problems.list[0].text.contains(required.purpose), "{problems}");
    }
}

#[test]
fn an_index_is_called_in_statistics_as_in_the_configuration() {
    for (section, form) in FORMS.iter().filter(|(section, _)| *section == "index") {
        let whole = skeleton(section, form);
        assert_eq!(Some(load(&whole).index.kind()), whole["index"]["type"].as_str());
    }
}

fn skeleton(section: &str, form: &str) -> Value {
    let mut whole: serde_yaml::Mapping = serde_yaml::from_str(SKELETON).unwrap();
    whole.insert("embedding".into(), serde_yaml::from_str("{ provider: builtin }").unwrap());
    whole.insert(section.into(), serde_yaml::from_str(form).unwrap());
    whole.into()
}

fn load(whole: &Value) -> Settings {
    let yaml = serde_yaml::to_string(whole).unwrap();
    load_text(Path::new("config.yaml"), &yaml, &Environment::new(), &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The first source of the skeleton that has what this path names, or the group that it is in.
fn source_with<'a>(whole: &'a Value, path: &str) -> Option<&'a str> {
    let key = path.split('.').next()?;
    let mut sources = whole["sources"].as_mapping()?.iter();
    sources.find(|(_, source)| !source[key].is_null())?.0.as_str()
}

fn leaves(value: &Value, place: &Place, found: &mut Vec<Place>) {
    match value {
        Value::Mapping(map) => {
            map.iter().for_each(|(key, value)| leaves(value, &place.key(key.as_str().unwrap()), found))
        }
        _ => found.push(place.clone()),
    }
}

fn remove(value: &mut Value, path: &str) {
    match path.split_once('.') {
        Some((key, rest)) => remove(value.get_mut(key).unwrap(), rest),
        None => {
            value.as_mapping_mut().unwrap().remove(path).unwrap();
        }
    }
}

/// A struct or enum of `src/settings`.
#[derive(Debug, Clone, Default)]
struct Item {
    doc: String,
    attributes: String,
    members: Vec<Member>,
}

/// A field or a variant.
#[derive(Debug, Clone)]
struct Member {
    doc: String,
    attributes: String,
    name: String,
    /// Of a field, or of what a variant holds.
    kind: String,
}

/// Reads the structs and enums of a source file, as rustfmt lays them out.
fn read_items(source: &str, items: &mut BTreeMap<String, Item>) {
    let (mut doc, mut attributes) = (String::new(), String::new());
    let mut open: Option<String> = None;
    for line in source.lines() {
        let text = line.trim();
        if let Some(comment) = text.strip_prefix("/// ") {
            let _ = write!(doc, "{}{comment}", if doc.is_empty() { "" } else { " " });
            continue;
        }
        if text.starts_with("#[") {
            attributes.push_str(text);
            continue;
        }
        let header = text.strip_prefix("pub struct ").or_else(|| text.strip_prefix("pub enum "));
        let taken = (std::mem::take(&mut doc), std::mem::take(&mut attributes));
        if let Some(header) = header.filter(|_| !line.starts_with(' ')) {
            let name: String = header.chars().take_while(|c| c.is_alphanumeric()).collect();
            open = header.ends_with('{').then(|| name.clone());
            items.insert(name, Item { doc: taken.0, attributes: taken.1, members: Vec::new() });
        } else if line == "}" {
            open = None;
        } else if let Some(item) = open.as_ref().and_then(|name| items.get_mut(name)) {
            let text = text.trim_start_matches("pub ").trim_end_matches(',');
            let split = text.split_once(": ").or_else(|| text.trim_end_matches(')').split_once('('));
            let (name, kind) = split.unwrap_or((text, ""));
            item.members.push(Member { doc: taken.0, attributes: taken.1, name: name.into(), kind: kind.into() });
        }
    }
}

#[derive(Debug, Clone)]
struct Page {
    items: BTreeMap<String, Item>,
    text: String,
}

impl Default for Page {
    fn default() -> Self {
        let mut items = BTreeMap::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/settings");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| path.is_file()) {
            read_items(&std::fs::read_to_string(file).unwrap(), &mut items);
        }
        Self { items, text: INTRODUCTION.replace("REWRITE", REWRITE) }
    }
}

impl Page {
    fn write(mut self) -> String {
        let effective = serde_yaml::to_value(load(&skeleton(FORMS[0].0, FORMS[0].1))).unwrap();
        self.text.push_str("\n## The whole file\n\n");
        self.table(&self.items["Settings"].members.clone(), "", &effective);
        for section in self.items["Settings"].members.clone() {
            self.group(&section.kind, &section.name, &section.doc, 2);
        }
        self.text
    }

    /// The meaning of every key by its path, with `*` for names of one's own.
    fn keys(&self) -> BTreeMap<String, String> {
        let mut page = self.clone();
        page.text.clear();
        let written = page.write();
        let rows = written.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let meaning = |rest: &str| rest.split(" | ").nth(2).unwrap().trim_end_matches(" |").to_owned();
        rows.map(|(path, rest)| (path.replace("<name>", "*").replace("<kind>", "*"), meaning(rest))).collect()
    }

    /// A key with keys below it, unless it has none.
    fn group(&mut self, kind: &str, path: &str, doc: &str, level: usize) {
        let kind = kind.strip_prefix("Option<").and_then(|kind| kind.strip_suffix('>')).unwrap_or(kind);
        let (kind, path) = match kind.strip_prefix("BTreeMap<String, ").and_then(|kind| kind.strip_suffix('>')) {
            Some(of) if path.ends_with(".kinds") => (of, path.replace("kinds", "<kind>")),
            Some(of) => (of, format!("{path}.<name>")),
            None => (kind, path.to_owned()),
        };
        // What is written by hand is written as one text.
        let is_group = |item: &Item| !item.members.is_empty() && item.attributes.contains("Serialize");
        let Some(item) = self.items.get(kind).cloned().filter(is_group) else { return };
        if names(&item).is_some() {
            return;
        }
        // The type may say more than the key that holds it.
        let doc = if item.doc.len() > doc.len() { &item.doc } else { doc };
        let marks = "#".repeat(level);
        let _ = write!(self.text, "\n{marks} `{path}`\n\n{doc}\n\n");
        let tag = item.attributes.split_once("tag = \"").and_then(|(_, rest)| rest.split_once('"')).map(|(tag, _)| tag);
        let Some(tag) = tag else {
            self.table(&item.members, &path, &effective(&path, None));
            for member in &item.members {
                self.group(&member.kind, &format!("{path}.{}", member.name), &member.doc, level + 1);
            }
            return;
        };
        let forms: Vec<String> = item.members.iter().map(|form| format!("`{}`", snake_case(&form.name))).collect();
        self.header();
        let _ = writeln!(self.text, "| `{path}.{tag}` | one of {} | required | {} |", forms.join(", "), item.doc);
        for form in &item.members {
            let name = snake_case(&form.name);
            let _ = write!(self.text, "\n{marks}# `{path}` with `{tag}: {name}`\n\n{}\n", form.doc);
            let members = self.items[&form.kind].members.clone();
            if members.is_empty() {
                self.text.push_str("\nNothing else can be set.\n");
                continue;
            }
            self.text.push('\n');
            self.table(&members, &path, &effective(&path, Some(&name)));
            for member in members {
                self.group(&member.kind, &format!("{path}.{}", member.name), &member.doc, level + 2);
            }
        }
    }

    fn header(&mut self) {
        self.text.push_str("| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
    }

    fn table(&mut self, members: &[Member], path: &str, group: &Value) {
        self.header();
        for member in members {
            assert!(!member.doc.is_empty(), "`{path}.{}` has no doc comment", member.name);
            let whole = if path.is_empty() { member.name.clone() } else { format!("{path}.{}", member.name) };
            let flat = member.attributes.contains("flatten");
            let whole = if flat { whole.replace(&member.name, "<kind>") } else { whole };
            let place = Place::from(whole.replace("<name>", "file").replace("<kind>", "kind").as_str());
            let value = group.get(&member.name).filter(|_| !NONE_ALONE.contains(&whole.as_str()));
            let optional_group = member.kind.starts_with("Option<") && value.is_some_and(Value::is_mapping);
            let default = match value {
                _ if required(&place).is_some() => "required".to_owned(),
                _ if optional_group || flat => "none".to_owned(),
                Some(Value::Mapping(map)) if map.is_empty() && self.items.contains_key(&member.kind) => {
                    "none".to_owned()
                }
                Some(Value::Mapping(map)) if !map.is_empty() => "see below".to_owned(),
                Some(value) => format!("`{}`", serde_yaml::to_string(value).unwrap().trim_end()),
                None => "none".to_owned(),
            };
            let meaning = self.meaning(member).replace('|', "\\|");
            let _ = writeln!(self.text, "| `{whole}` | {} | {default} | {meaning} |", self.kind_in_words(&member.kind));
        }
    }

    /// What a key means, with what each name means that it may have, unless it tells them itself.
    fn meaning(&self, member: &Member) -> String {
        let kind = member.kind.trim_start_matches("Option<").trim_end_matches('>');
        let Some(item) = self.items.get(kind).filter(|item| names(item).is_some()) else { return member.doc.clone() };
        let named = |form: &Member| format!("`{}`", snake_case(&form.name));
        if item.members.iter().all(|form| member.doc.contains(&named(form))) {
            return member.doc.clone();
        }
        let forms = item.members.iter().map(|form| format!(" {}: {}", named(form), form.doc));
        format!("{}{}", member.doc, forms.collect::<String>())
    }

    fn kind_in_words(&self, kind: &str) -> String {
        if let Some(inner) = kind.strip_prefix("Option<").and_then(|kind| kind.strip_suffix('>')) {
            return self.kind_in_words(inner);
        }
        match kind {
            "String" | "Secret" => "text",
            "PathBuf" => "path",
            "SocketAddr" => "IP address and port",
            "bool" => "`true` or `false`",
            "u64" | "usize" => "whole number",
            "f64" => "number",
            "Span" => "time",
            "ByteSize" => "size",
            "Vec<String>" => "list of text",
            "Separator" => "one character, or `tab`",
            "Start" => "`earliest`, `latest` or a time",
            "Operation" => "`upsert`, `patch` or `delete`",
            "BTreeMap<String, String>" => "text by name",
            "BTreeMap<String, FieldKind>" => "types by name",
            "VersionSettings" => "text or group",
            map if map.starts_with("BTreeMap<") => "groups by name",
            other => {
                let item = self.items.get(other).unwrap_or_else(|| panic!("`{other}` has no words here"));
                return names(item).map_or_else(|| "group".to_owned(), |names| format!("one of {}", names.join(", ")));
            }
        }
        .to_owned()
    }
}

/// The names of an enum that holds nothing else.
fn names(item: &Item) -> Option<Vec<String>> {
    let plain = !item.members.is_empty() && item.members.iter().all(|member| member.kind.is_empty());
    plain.then(|| item.members.iter().map(|member| format!("`{}`", snake_case(&member.name))).collect())
}

/// A group as it takes effect when nothing is set in it that must not be.
fn effective(path: &str, form: Option<&str>) -> Value {
    let fits = |section: &str, written: &str| {
        path.starts_with(section) && form.is_none_or(|form| written.contains(&format!(": {form}")))
    };
    let (section, written) = FORMS.iter().rfind(|(section, written)| fits(section, written)).unwrap_or(&FORMS[0]);
    let whole = serde_yaml::to_value(load(&skeleton(section, written))).unwrap();
    let source = form.unwrap_or_else(|| match path.strip_prefix("sources.<name>.") {
        Some(path) => source_with(&whole, path).unwrap_or("file"),
        None => "file",
    });
    let path = path.replace("<name>", source).replace("<kind>", "kind");
    path.split('.').fold(whole, |value, key| value.get(key).cloned().unwrap_or(Value::Null))
}

fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}
