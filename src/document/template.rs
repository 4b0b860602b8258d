//! From a document to the text that is embedded and the metadata that is stored beside it.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use super::Document;
use super::chunk::MAX_TEXT_BYTES;
use super::field::FieldName;
use crate::settings::DocumentSettings;

/// What one rendering may cost: about an instruction a unit, and 64 bytes of text a unit. A loop in a loop over a long list of
/// a record must end; no sensible template comes near it.
const FUEL: u64 = 1_000_000;

/// The name of the only template of the environment.
const TEXT: &str = "document.text";
const ADDED: &str = "the template is added when it is compiled";

/// The text template and the metadata list, ready for use. Shared by reference; rendering changes nothing.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    /// The fields that the template reads. Nothing else of a document is given to it.
    reads: Vec<Arc<str>>,
    /// Sorted by name, as the metadata is.
    metadata: Vec<FieldName>,
}

impl Template {
    /// Compiles the template and checks the names of the metadata fields.
    pub fn new(settings: &DocumentSettings) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(TEXT, settings.text.clone())
            .map_err(|error| format!("document.text: {}", described(&error)))?;
        try_out(&mut environment)?;
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        let template = environment.get_template(TEXT).expect(ADDED);
        let mut reads: Vec<Arc<str>> = template.undeclared_variables(false).into_iter().map(Arc::from).collect();
        reads.sort_unstable();
        let mut metadata = Vec::new();
        for name in &settings.metadata {
            metadata.push(FieldName::new(name).map_err(|error| format!("document.metadata: {error}"))?);
        }
        metadata.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        metadata.dedup();
        Ok(Self { environment, reads, metadata })
    }

    /// The names that the template reads and does not set itself, sorted: fields, and functions such as `range`.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        self.reads.iter().map(|name| &**name)
    }

    /// The text of a document, without white space around it. `None`: a field that the template needs is missing, so there is no text
    /// yet. An error: the template cannot be rendered with these values (a number where a list is needed), or the text is longer than
    /// [`MAX_TEXT_BYTES`].
    ///
    /// `null` is a missing value at any depth. Printing a missing value or looping over it needs it; `{% if x %}`, `x is defined` and
    /// `x | default('')` do not. Nothing is escaped.
    pub fn render(&self, document: &Document) -> Result<Option<String>, String> {
        let read = self.reads.iter().filter_map(|name| Some((name.clone(), value(document.field(name)?))));
        let context = Value::from_object(Context(read.collect()));
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
        struct Present<'a>(&'a [FieldName], &'a Document);
        impl Serialize for Present<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer
                    .collect_map(self.0.iter().filter_map(|name| Some((name.as_str(), name.of_document(self.1)?))))
            }
        }
        serde_json::to_string(&Present(&self.metadata, document)).expect("texts and JSON values always serialise")
    }
}

/// Renders nothing, leniently: the compiler does not look names of filters up, and a misspelt one should not wait for a document.
fn try_out(environment: &mut Environment<'static>) -> Result<(), String> {
    use ErrorKind::{MissingArgument, TooManyArguments, UnknownFilter, UnknownFunction, UnknownTest};

    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    let tried = environment.get_template(TEXT).expect(ADDED).render(());
    match tried {
        Err(error)
            if matches!(
                error.kind(),
                MissingArgument | TooManyArguments | UnknownFilter | UnknownFunction | UnknownTest
            ) =>
        {
            Err(format!("document.text: {}", described(&error)))
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

/// The fields that a template reads, of one document. Few, so a list is the fastest map.
#[derive(Debug)]
struct Context(Vec<(Arc<str>, Value)>);

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.iter().find(|(name, _)| **name == *key).map(|(_, value)| value.clone())
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
            ("{{ a | default('') }}{{ b | default('x') }}", json!({"b": null}), "x"),
            ("{% if a %}A{% else %}B{% endif %}{% if a is defined %}C{% endif %}", json!({}), "B"),
            ("{% for t in tags %}{{ t | upper }} {% endfor %}", json!({"tags": ["a", "b"]}), "A B"),
            ("{{ tags | join(', ') }}", json!({"tags": ["a", "b"]}), "a, b"),
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
            ("{{ a", &[][..], "document.text: syntax error"),
            ("{{ a | upppper }}", &[], "document.text: unknown filter"),
            ("{{ b }} {{ a.x | default('') | upppper }}", &[], "unknown filter"),
            ("{% if a is eevn %}{% endif %}", &[], "unknown test"),
            ("{{ raange(3) }}", &[], "unknown function"),
            ("a", &["/"], "document.metadata: `/` names no field"),
        ] {
            let error = Template::new(&settings(text, metadata)).unwrap_err();
            assert!(error.contains(reason), "{error} should say: {reason}");
        }
    }

    #[test]
    fn the_template_tells_what_it_reads() {
        let text = "{% set s = a.b %}{{ s }}{% for i in c %}{{ i }}{{ d | default(e) }}{% endfor %}";
        let template = Template::new(&settings(text, &[])).unwrap();
        assert_eq!(template.reads().collect::<Vec<_>>(), ["a", "c", "d", "e"]);
    }

    #[test]
    fn metadata_is_canonical() {
        let template = Template::new(&settings("t", &["price", "category", "/shop/name", "missing", "price"])).unwrap();
        let full = document(
            json!({"price": 1.5, "category": {"b": 1, "a": "\"x\""}, "shop": {"name": "n"}, "other": 1, "missing": null}),
        );
        assert_eq!(template.metadata(&full), r#"{"/shop/name":"n","category":{"a":"\"x\"","b":1},"price":1.5}"#);
        assert_eq!(template.metadata(&Document::default()), "{}");
    }
}
