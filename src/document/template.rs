//! From a document to the text that is embedded.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ValueKind};
use minijinja::{Environment, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter};
use parking_lot::Mutex;
use serde_json::Value as Json;

use super::Document;
use super::chunk::MAX_TEXT_BYTES;
use super::html::text_of_html;
use super::metadata::Metadata;
use crate::settings::DocumentSettings;

/// What one rendering may cost: a unit is about one instruction, or 64 bytes of text. A loop within a loop over a long list of a record
/// must end; no sensible template comes near it.
const FUEL: u64 = 1_000_000;

/// The name of the only template of the environment.
const TEXT: &str = "document.text";
/// The filter that turns the name of a field into the field: any name, where a variable is a word. No variable can hide a filter, and
/// no filter a variable.
const FIELD: &str = "field";
/// The filter that makes HTML a text, named as in Jinja.
const STRIPTAGS: &str = "striptags";
/// Stands before the name that [`FIELD`] looks up: no variable and no function of a template has a name with a space in it.
const ASKED: &str = "field ";
/// What to do about a template that is broken, maybe by a name.
const NAMES: &str =
    r#"names in a template are ASCII letters, digits and `_`; any other field is `{{ "Product Title" | field }}`"#;
const ADDED: &str = "the template is added when it is compiled";

/// The text template and the metadata list, ready for use. Shared by reference; rendering changes nothing.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    /// Every word of the template, sorted: the fields that it reads are among them, and no others of a document are given to it. Absent
    /// when one of the words is [`FIELD`], which may be asked for any field.
    words: Option<Vec<Arc<str>>>,
    metadata: Metadata,
}

impl Template {
    /// Compiles the template and checks the names of the metadata fields.
    pub fn new(settings: &DocumentSettings) -> Result<Self, String> {
        let environment = compiled(&settings.text).map_err(|error| format!("document.text: {error}"))?;
        let metadata = Metadata::new(settings)?;
        let words = words(&settings.text);
        let words = words.iter().all(|word| **word != *FIELD).then_some(words);
        Ok(Self { environment, words, metadata })
    }

    /// Why a text cannot be `document.text`.
    pub fn check(text: &str) -> Result<(), String> {
        compiled(text).map(drop)
    }

    /// Why a document has no text, for a person; `None` when it has one.
    pub fn why_no_text(&self, document: &Document) -> Option<String> {
        Some(match self.render(document) {
            Ok(Some(_)) => return None,
            Err(reason) => reason,
            Ok(None) => match &self.lacking(document)[..] {
                // It is missing within a field.
                [] => "its text lacks a value".to_owned(),
                [field] => format!("its text lacks `{field}`"),
                fields => format!("its text lacks some of `{}`", fields.join("`, `")),
            },
        })
    }

    /// The fields that the template asks a document for and that it lacks, sorted. Some of them it may do without.
    fn lacking(&self, document: &Document) -> Vec<String> {
        let mut lenient = self.environment.clone();
        lenient.set_undefined_behavior(UndefinedBehavior::Chainable);
        let asked = Asked::new(self.context(document));
        // It is asked, and not rendered for its text.
        let _ = lenient.get_template(TEXT).expect(ADDED).render(Value::from_dyn_object(asked.clone()));
        asked.in_vain().filter(|name| lenient.globals().all(|(global, _)| global != name)).collect()
    }

    fn context(&self, document: &Document) -> Context {
        Context(match &self.words {
            Some(words) => words.iter().filter_map(|name| Some((name.clone(), value(document.field(name)?)))).collect(),
            None => document.fields().map(|(name, json)| (Arc::from(name), value(json))).collect(),
        })
    }

    /// The text of a document, without white space around it. `None`: a field that the template needs is missing, so there is no text
    /// yet; or the document has no field at all, as after its deletion, whatever the template makes of that. An error: the template cannot
    /// be rendered with these values (a number where a list is needed), or the text is longer than [`MAX_TEXT_BYTES`].
    ///
    /// `null` is a missing value at any depth. Printing a missing value or looping over it needs it; `{% if x %}`, `x is defined` and
    /// `x | default('')` do not. Nothing is escaped.
    pub fn render(&self, document: &Document) -> Result<Option<String>, String> {
        if !document.has_fields() {
            return Ok(None);
        }
        let context = Value::from_object(self.context(document));
        let template = self.environment.get_template(TEXT).expect(ADDED);
        match template.render(context) {
            Ok(text) if text.len() > MAX_TEXT_BYTES => {
                Err(format!("the text has {} bytes; at most {MAX_TEXT_BYTES} are embedded", text.len()))
            }
            Ok(text) => Ok(Some(trimmed(text))),
            Err(error) if error.kind() == ErrorKind::UndefinedError => Ok(None),
            Err(error) => Err(format!("document.text cannot be rendered: {}", described(&error))),
        }
    }

    /// The metadata of a document: a JSON object with the configured fields that the document has, each under its name as configured.
    /// Equal metadata gives equal text: the keys are sorted, at any depth.
    pub fn metadata(&self, document: &Document) -> String {
        self.metadata.of(document)
    }
}

/// An environment with the template in it, which was tried out.
fn compiled(text: &str) -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(print);
    environment.add_template_owned(TEXT, text.to_owned()).map_err(|error| {
        let line = error.line().filter(|_| text.contains('\n')).map(|line| format!(" in line {line}"));
        let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        let hint = if why.starts_with("unexpected end of input") { String::new() } else { format!("; {NAMES}") };
        format!("is not a valid minijinja template{}: {why}{hint}", line.unwrap_or_default())
    })?;
    environment.add_filter(FIELD, field);
    environment.add_filter(STRIPTAGS, text_of_html);
    // A function of the template language that is never called is a field of that name.
    let functions: Vec<String> = environment.globals().map(|(name, _)| name.to_owned()).collect();
    for function in functions.iter().filter(|name| !calls(text, name)) {
        environment.remove_global(function);
    }
    try_out(&mut environment)?;
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    Ok(environment)
}

/// An empty list prints nothing: it is what the language makes of a part of a missing text, as in `{{ description[:300] }}`.
fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    if value.kind() == ValueKind::Seq && value.len() == Some(0) { Ok(()) } else { escape_formatter(out, state, value) }
}

/// What [`FIELD`] does. A name that is missing names nothing.
fn field(state: &State, name: &Value) -> Value {
    let found = (!name.is_undefined()).then(|| state.lookup(&format!("{ASKED}{name}")));
    found.flatten().unwrap_or_default()
}

/// The words of a template that may be names, sorted. Also those in plain text: what a template reads cannot be told from its syntax alone
/// (minijinja's `undeclared_variables` leaves some out), and a word too many does no harm.
fn words(template: &str) -> Vec<Arc<str>> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: BTreeSet<&str> = template.split(|c| !is_part(c)).filter(|word| !word.is_empty()).collect();
    words.into_iter().map(Arc::from).collect()
}

fn calls(template: &str, function: &str) -> bool {
    let is_called = |at: usize| template[at + function.len()..].trim_start().starts_with('(');
    template.match_indices(function).any(|(at, _)| is_called(at) && is_code(template, at))
}

/// Whether this place of a template is read as code, and is not plain text, a comment or within quotes: only code is broken by a character
/// that the language does not have.
fn is_code(template: &str, at: usize) -> bool {
    let (before, behind) = template.split_at(at);
    Environment::new().template_from_named_str(TEXT, &format!("{before}`{behind}")).is_err()
}

/// Renders nothing, leniently: the compiler does not look names of filters up, and a misspelt one should not wait for a document.
fn try_out(environment: &mut Environment<'static>) -> Result<(), String> {
    use ErrorKind::{MissingArgument, TooManyArguments, UnknownFilter, UnknownFunction, UnknownTest};

    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    let asked = Asked::new(Context(Vec::new()));
    let template = environment.get_template(TEXT).expect(ADDED);
    match template.render(Value::from_dyn_object(asked.clone())) {
        Err(error)
            if matches!(
                error.kind(),
                MissingArgument | TooManyArguments | UnknownFilter | UnknownFunction | UnknownTest
            ) =>
        {
            Err(described(&error))
        }
        Ok(_) if asked.in_vain().next().is_none() => {
            Err("uses no field, so every document would have the same text; write fields as `{{ title }}`".to_owned())
        }
        // Anything else may be the fault of the missing values.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn trimmed(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    let leading = text.len() - text.trim_start().len();
    text.drain(..leading);
    text
}

/// The message with its causes, without the file name that the template never had.
fn described(error: &minijinja::Error) -> String {
    let mut text = error.to_string().replace(&format!(" (in {TEXT}:"), " (line ");
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("a String takes any text");
        cause = error.source();
    }
    text
}

/// The field that a template asks its context for.
fn named(key: &str) -> &str {
    key.strip_prefix(ASKED).unwrap_or(key)
}

/// A context that notes what it is asked for and does not have.
#[derive(Debug)]
struct Asked {
    context: Context,
    in_vain: Mutex<BTreeSet<String>>,
}

impl Asked {
    fn new(context: Context) -> Arc<Self> {
        Arc::new(Self { context, in_vain: Mutex::default() })
    }

    fn in_vain(&self) -> impl Iterator<Item = String> {
        self.in_vain.lock().clone().into_iter()
    }
}

impl Object for Asked {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let name = named(key);
        let found = self.context.get(name);
        if found.is_none() {
            self.in_vain.lock().insert(name.to_owned());
        }
        found
    }
}

/// The fields that a template may read, of one document, sorted by name.
#[derive(Debug)]
struct Context(Vec<(Arc<str>, Value)>);

impl Context {
    fn get(&self, name: &str) -> Option<Value> {
        let found = self.0.binary_search_by(|(has, _)| (**has).cmp(name)).ok()?;
        Some(self.0[found].1.clone())
    }
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.get(named(key))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Value::from(name.clone())).collect())
    }
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::UNDEFINED,
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), ..) => Value::from(integer),
            (_, Some(integer), _) => Value::from(integer),
            (.., float) => float.map_or(Value::UNDEFINED, Value::from),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Json::Object(fields) => {
            let known = fields.iter().filter(|(_, json)| !json.is_null());
            known.map(|(name, json)| (name.as_str(), value(json))).collect::<BTreeMap<_, _>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Change, DocumentId, Operation, Version};

    fn settings(text: &str, metadata: &[&str]) -> DocumentSettings {
        serde_json::from_value(json!({"id": "id", "text": text, "metadata": metadata})).unwrap()
    }

    fn document(fields: Json) -> Document {
        Document::from(Change {
            id: DocumentId::new("d").unwrap(),
            operation: Operation::Upsert,
            version: Version::from_nanos(1),
            fields: serde_json::from_value(fields).unwrap(),
            priority: 0,
            immediate: false,
        })
    }

    fn render(text: &str, fields: Json) -> Result<Option<String>, String> {
        Template::new(&settings(text, &[])).unwrap().render(&document(fields))
    }

    #[test]
    fn renders_what_the_document_has() {
        for (template, fields, text) in [
            (
                "{{ title }} {{ description }}",
                json!({"title": "Boots", "description": "Dry & <warm>"}),
                "Boots Dry & <warm>",
            ),
            (" {{ a }}\n", json!({"a": "\u{a0}x\t"}), "x"),
            ("{{ a }}", json!({"a": ""}), ""),
            ("{{ a }}", json!({"a": "n\u{0}l"}), "n\u{0}l"),
            (
                "{{ a }} {{ b }} {{ c }} {{ d }}",
                json!({"a": 1, "b": -2.5, "c": true, "d": u64::MAX}),
                "1 -2.5 True 18446744073709551615",
            ),
            ("{{ a | default('') }}{{ b | default('x') }}", json!({"b": null, "c": 1}), "x"),
            ("{% if a %}A{% else %}B{% endif %}{% if a is defined %}C{% endif %}", json!({"b": 1}), "B"),
            ("{% for t in tags %}{{ t | upper }} {% endfor %}", json!({"tags": ["a", "b"]}), "A B"),
            ("{{ tags | join(', ') }}", json!({"tags": ["a", "b"]}), "a, b"),
            ("{{ tags }} {{ sizes }}", json!({"tags": ["a", 1], "sizes": []}), "['a', 1]"),
            ("{{ a }}{{ b[:300] }}{{ p.b[300:] }}{{ ('x-y' | field)[-2:] }}", json!({"a": "x", "p": {}}), "x"),
            ("{{ (b | default(''))[:300] | upper }}{{ a[:2] | upper }}", json!({"a": "xyz"}), "XY"),
            (
                "{{ p.size.eu }} {{ p['x-y'] }} {{ l[1] }}",
                json!({"p": {"size": {"eu": 42}, "x-y": 1}, "l": [1, 2]}),
                "42 1 2",
            ),
            (
                "{% for k, v in p | items %}{{ k }}={{ v }};{% endfor %}",
                json!({"p": {"b": 1, "a": 2, "n": null}}),
                "a=2;b=1;",
            ),
            (
                "{{ a | striptags | upper }} {{ b | default('') | striptags }} {{ c | striptags }}",
                json!({"a": "<p>x</p>", "c": 5}),
                "X  5",
            ),
            (
                "{% filter striptags %}{{ a }}{% endfilter %}{{ striptags }}",
                json!({"a": "<p>x</p>", "striptags": "y"}),
                "xy",
            ),
            ("{% set t = a %}{% for i in range(2) %}{{ t }}{% endfor %}", json!({"a": "x"}), "xx"),
        ] {
            assert_eq!(render(template, fields), Ok(Some(text.to_owned())), "{template}");
        }
    }

    #[test]
    fn a_needed_value_that_is_missing_makes_no_text_yet() {
        for (template, fields) in [
            ("{{ a }} {{ b }}", json!({"a": "x"})),
            ("{{ a }}", json!({"a": null})),
            ("{{ p.a }}", json!({"p": {"a": null}})),
            ("{{ p.a.b }}", json!({"p": {}})),
            ("{{ l[0] }}", json!({"l": [null]})),
            ("{{ l[3] }}", json!({"l": []})),
            ("{% for t in tags %}{{ t }}{% endfor %}", json!({})),
            ("{{ tags | join(', ') }}", json!({})),
            ("{{ a | upper }}", json!({})),
            ("{{ a | striptags }}", json!({})),
            ("{{ a | trim | default('x') }}", json!({})),
            ("x{{ a ~ 'y' }}", json!({})),
        ] {
            assert_eq!(render(template, fields), Ok(None), "{template}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_says_why() {
        for (template, fields, reason) in [
            ("{% for t in a %}{{ t }}{% endfor %}", json!({"a": 5}), "document.text cannot be rendered: "),
            ("a\n{{ a + 1 }}", json!({"a": "x"}), "(line 2)"),
            (
                "{% for x in l %}{% for x in l %}{% for x in l %}{{ x }}{% endfor %}{% endfor %}{% endfor %}",
                json!({"l": vec![1; 1000]}),
                "fuel",
            ),
            ("{{ a * 1000000000 }}", json!({"a": "x"}), "cannot be rendered"),
            (
                "{% for i in range(50) %}{{ a }}{% endfor %}",
                json!({"a": "x".repeat(1_000_000)}),
                "the text has 50000000 bytes; at most",
            ),
        ] {
            let error = render(template, fields).unwrap_err();
            assert!(error.contains(reason), "{error} should say: {reason}");
        }
    }

    #[test]
    fn a_broken_template_is_refused_when_it_is_compiled() {
        for (text, metadata, reason) in [
            (
                "{{ größe }}",
                &[][..],
                "unexpected character; names in a template are ASCII letters, digits and `_`; any other",
            ),
            ("{{ Product Title }}", &[], r#"other field is `{{ "Product Title" | field }}`"#),
            ("{{ 'a' | field('b') }}", &[], "document.text: too many arguments"),
            ("{{ 'a' | field(name='b') }}", &[], "document.text: too many arguments"),
            ("{{ field('a') }}", &[], "unknown function"),
            ("{{ a", &[], "document.text: is not a valid minijinja template: unexpected end of input"),
            ("same for all", &[], "document.text: uses no field"),
            ("{{ a | upppper }}", &[], "document.text: unknown filter"),
            ("{{ b }} {{ a.x | default('') | upppper }}", &[], "unknown filter"),
            ("{% if a is eevn %}{% endif %}", &[], "unknown test"),
            ("{{ raange(3) }}", &[], "unknown function"),
            ("{{ a }}", &["/"], "document.metadata: names no field"),
        ] {
            let error = Template::new(&settings(text, metadata)).unwrap_err();
            assert!(error.contains(reason), "{error} should say: {reason}");
        }
    }

    #[test]
    fn a_field_is_read_wherever_a_template_names_it() {
        for (template, fields, text) in [
            ("{{ title }} {{ body[:4] }}", json!({"title": "Hat", "body": "of wool"}), "Hat of w"),
            ("{% set title = title | upper %}{{ title }}", json!({"title": "Hat"}), "HAT"),
            ("{% with body = body | upper %}{{ body }}{% endwith %}", json!({"body": "wool"}), "WOOL"),
            ("{% filter replace('o', n) %}{{ body }}{% endfilter %}", json!({"body": "wool", "n": "0"}), "w00l"),
            ("{% set n = n + 1 %}{{ n }}", json!({"n": 1}), "2"),
            ("{{ range }} {{ dict['a'] }}", json!({"range": 5, "dict": {"a": 1}}), "5 1"),
            (
                "Research field ({{ field }}): {{ title }}",
                json!({"field": "wheat", "title": "Hat"}),
                "Research field (wheat): Hat",
            ),
            (
                "Price range ({{ range | default('any') }}) {{ title }}",
                json!({"title": "Hat"}),
                "Price range (any) Hat",
            ),
            ("{{-range\n(2) | join-}} {{ title[:range (1) | length] }}", json!({"title": "Hat"}), "01H"),
        ] {
            assert_eq!(render(template, fields), Ok(Some(text.to_owned())), "{template}");
        }
        for template in [
            "{{ title }} {{ range }}",
            "{{ title }} {{ dict }}",
            "{{ debug }}",
            "Price range ({{ range }}): {{ title }}",
            "{# by range (of {{ range }}) #}{{ range | upper }}",
            "{% raw %}range(2){% endraw %}{{ 'range(2)' }}{{ range }}",
        ] {
            assert_eq!(render(template, json!({"title": "Hat"})), Ok(None), "{template} lacks a field of that name");
        }
    }

    #[test]
    fn a_field_of_any_name_can_be_asked_for() {
        for (template, fields, text) in [
            (
                r#"{{ "Product Title" | field }} {{ 'größe' | field }} {{ a }}"#,
                json!({"Product Title": "Hat", "größe": 5, "a": 1}),
                Some("Hat 5 1"),
            ),
            (
                r#"{% for n in ["x-y", "z"] %}{{ n | field | upper }}{% endfor %}"#,
                json!({"x-y": "a", "z": "b"}),
                Some("AB"),
            ),
            ("{{ ('x-y' | field).z }}{{ 'w' | field | default('') }}", json!({"x-y": {"z": 1}}), Some("1")),
            ("{{ ('x-y' | field)[:2] }}", json!({"x-y": "wool"}), Some("wo")),
            ("{{ 'x-y' | field }}", json!({"x": 2, "y": 1}), None),
            ("{{ 'x-y' | field }}", json!({"x-y": null, "y": 1}), None),
            ("{{ a | field }}", json!({"a": "x-y", "x-y": "wool"}), Some("wool")),
            ("{{ a | field }}", json!({"x-y": "wool"}), None),
        ] {
            assert_eq!(render(template, fields), Ok(text.map(str::to_owned)), "{template}");
        }
    }

    #[test]
    fn no_name_of_the_template_stands_for_a_field_that_is_asked_for() {
        for (template, fields, text) in [
            ("{{ field }} {{ 'field' | field }}", json!({"field": "wheat"}), Some("wheat wheat")),
            ("{{ field }} {{ 'x-y' | field }}", json!({"x-y": 1}), None),
            (
                "{% for a in l %}{{ 'a' | field }}{{ 'l' | field | length }}{% endfor %}",
                json!({"l": [1], "a": 2}),
                Some("21"),
            ),
            ("{% for a in l %}{{ 'loop' | field }}{% endfor %}", json!({"l": [1]}), None),
            ("{% set a = 3 %}{{ 'a' | field }}{{ a }}", json!({"a": 2}), Some("23")),
            ("{% for i in range(1) %}{{ 'range' | field }}{% endfor %}", json!({"a": 1}), None),
            ("{{ 'field a' | field }}{{ 5 | field }}", json!({"field a": 1, "a": 2, "5": 3}), Some("13")),
            ("{{ 'field a' | field }}", json!({"a": 2}), None),
        ] {
            assert_eq!(render(template, fields), Ok(text.map(str::to_owned)), "{template}");
        }
    }

    #[test]
    fn a_document_without_fields_has_no_text_whatever_the_template_makes_of_it() {
        for template in ["Product: {{ a | default('') }}", "{{ a or 'untitled' }}", "{% if a %}{{ a }}{% endif %}"] {
            assert_eq!(render(template, json!({})), Ok(None), "{template}");
            assert_eq!(render(template, json!({"a": null})), Ok(None), "{template}");
            assert!(render(template, json!({"b": 1})).unwrap().is_some(), "{template}");
        }
    }

    #[test]
    fn what_a_document_lacks_is_told() {
        let text =
            "{% set s = a.b %}{{ s }}{% for i in c %}{{ i }}{% endfor %}{{ d | default(e) }}{{ f[:2] }}{{ range(2) }}";
        let template = Template::new(&settings(text, &[])).unwrap();
        assert_eq!(template.lacking(&document(json!({"a": {}, "d": 1}))), ["c", "e", "f"]);
        assert_eq!(template.lacking(&Document::default()), ["a", "c", "d", "e", "f"]);
        let template = Template::new(&settings("{{ 'x-y' | field }} {{ 'z' | field }}", &[])).unwrap();
        assert_eq!(template.lacking(&document(json!({"z": 1}))), ["x-y"]);
    }
}
