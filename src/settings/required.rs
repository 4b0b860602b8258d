//! Keys that have no default: what each is for, and an example.

use super::node::Node;
use super::problem::{Place, Step};

/// A key that must be there.
#[derive(Debug)]
pub struct Required {
    /// Where; `*` stands for any one key.
    pub path: &'static str,
    /// What it is for: the start of its doc comment, which a test compares.
    pub purpose: &'static str,
    /// A value as it may be written.
    pub example: &'static str,
}

/// All of them, the outer before the inner.
pub const REQUIRED: &[Required] = &[
    Required { path: "pipeline", purpose: "the pipeline's name", example: "products" },
    Required {
        path: "document",
        purpose: "how records become documents",
        example: r#"{ id: product_id, text: "{{ title }}" }"#,
    },
    Required { path: "document.id", purpose: "the field with the document's id", example: "product_id" },
    Required {
        path: "document.text",
        purpose: "the minijinja template of the text that is embedded",
        example: r#""{{ title }} {{ description }}""#,
    },
    Required {
        path: "document.version.field",
        purpose: "the field: a number or an RFC 3339 time",
        example: "timestamp",
    },
    Required {
        path: "document.events.field",
        purpose: "the field whose value names the kind of event",
        example: "type",
    },
    Required {
        path: "document.events.*.operation",
        purpose: "`upsert` (the whole document), `patch` (some fields), `delete`, or `ignore` (settled as filtered)",
        example: "upsert",
    },
    Required {
        path: "sources",
        purpose: "where records come from, by a name of your own",
        example: "{ catalogue: { type: file, path: products.jsonl } }",
    },
    Required {
        path: "sources.*.path",
        purpose: "a file, a folder (every file in it with a known ending) or a glob",
        example: "products.jsonl",
    },
    Required { path: "sources.*.brokers", purpose: "the brokers to ask first", example: r#"["localhost:9092"]"# },
    Required { path: "sources.*.topics", purpose: "the topics to read", example: "[product-events]" },
    Required { path: "sources.*.group", purpose: "the consumer group", example: "product-index" },
    Required { path: "sources.*.sasl.username", purpose: "the user", example: "indexer" },
    Required { path: "embedding", purpose: "what turns texts into vectors", example: "{ provider: builtin }" },
];

/// The entry of a key that must be there.
pub fn required(place: &Place) -> Option<&'static Required> {
    REQUIRED.iter().find(|required| {
        let pattern: Vec<&str> = required.path.split('.').collect();
        pattern.len() == place.steps().len()
            && pattern.iter().zip(place.steps()).all(|(name, step)| match step {
                Step::Key(key) => *name == "*" || name == key,
                Step::Index(_) => false,
            })
    })
}

impl Required {
    /// The problem's text when the key is not there.
    pub fn missing(&self) -> String {
        let key = self.path.rsplit('.').next().unwrap_or(self.path);
        format!("is missing: {}; for example `{key}: {}`", self.purpose, self.example)
    }

    /// The example as a value: it stands in for what is missing while the search for problems goes on.
    pub fn stand_in(&self) -> Node {
        let yaml = serde_yaml::from_str(self.example).expect("the examples are YAML, which a test checks");
        super::layers::node(yaml)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_a_value() {
        for required in REQUIRED {
            assert!(!required.stand_in().is_null(), "{}", required.path);
        }
    }

    #[test]
    fn a_star_stands_for_one_key() {
        let found = |path: &str| required(&Place::from(path)).map(|required| required.path);
        assert_eq!(found("sources.mine.path"), Some("sources.*.path"));
        assert_eq!(found("sources.path"), None);
        assert_eq!(found("chunking.overlap"), None);
    }
}
