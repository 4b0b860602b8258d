//! The layers of a configuration: the file, then the environment, then `--set`; the later one wins.

use std::collections::BTreeMap;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};

use super::expand::Environment;
use super::node::{Node, variable};
use super::problem::{Place, Problem};
use super::yaml;

/// Environment variables that set a key start with this; two underscores lead one level down.
const PREFIX: &str = "VECTIDE__";

/// How deep a variable or `--set` may lead; the deepest setting there is lies at half of it.
const MAX_STEPS: usize = 16;

/// Puts the layers on top of each other.
pub fn layered(
    file: serde_yaml::Value,
    environment: &Environment,
    overrides: &[String],
    problems: &mut Vec<Problem>,
) -> Node {
    let file = FileLayer(plain(file, &Place::root(), problems));
    let mut builder = Config::builder().add_source(file);
    for (name, value) in environment {
        let Some(keys) = name.strip_prefix(PREFIX) else { continue };
        let Some(value) = value else {
            problems.push(Problem::new("", format!("the environment variable `{name}` is not UTF-8")));
            continue;
        };
        let origin = variable(name);
        let keys = match steps(keys, "__") {
            Ok(keys) => keys.iter().map(|key| key.to_lowercase()).collect(),
            Err(why) => {
                problems.push(Problem::new("", format!("{origin} {why}")));
                continue;
            }
        };
        builder = builder.add_source(Setting { keys, text: value.clone(), origin });
    }
    for written in overrides {
        let Some((key, value)) = written.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            problems.push(Problem::new("", "`--set` needs `key=value`, like `--set batching.max_items=50`"));
            continue;
        };
        let keys = match steps(key.trim(), ".") {
            Ok(keys) => keys,
            Err(why) => {
                problems.push(Problem::new("", format!("a key of `--set` {why}")));
                continue;
            }
        };
        let origin = format!("`--set {}`", key.trim());
        builder = builder.add_source(Setting { keys, text: value.to_owned(), origin });
    }
    match builder.build() {
        Ok(config) => config.cache.into(),
        Err(error) => {
            problems.push(Problem::new("", error.to_string()));
            Config::default().cache.into()
        }
    }
}

/// The keys of a path, or what is wrong with it.
fn steps(path: &str, between: &str) -> Result<Vec<String>, String> {
    let steps: Vec<String> = path.split(between).take(MAX_STEPS + 1).map(str::to_owned).collect();
    if steps.len() > MAX_STEPS {
        Err(format!("goes more than {MAX_STEPS} levels deep"))
    } else if steps.iter().any(String::is_empty) {
        Err(format!("has nothing on one side of a `{between}`"))
    } else {
        Ok(steps)
    }
}

/// A YAML value that is known to be plain, as a tree.
pub fn node(value: serde_yaml::Value) -> Node {
    plain(value, &Place::root(), &mut Vec::new()).into()
}

/// The file as it stands.
#[derive(Debug, Clone)]
struct FileLayer(Value);

impl Source for FileLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        self.0.clone().into_table()
    }

    /// As it is: keys with dots in them, like kinds of events, are not paths.
    fn collect_to(&self, cache: &mut Value) -> Result<(), ConfigError> {
        *cache = self.0.clone();
        Ok(())
    }
}

/// One value from outside the file.
#[derive(Clone)]
struct Setting {
    keys: Vec<String>,
    text: String,
    origin: String,
}

/// Without the text, which may be a secret.
impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Source for Setting {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut cache = Value::new(None, Map::<String, Value>::new());
        self.collect_to(&mut cache)?;
        cache.into_table()
    }

    fn collect_to(&self, cache: &mut Value) -> Result<(), ConfigError> {
        let below = std::mem::replace(cache, Value::new(None, ValueKind::Nil));
        *cache = placed(below, &self.keys, self.value());
        Ok(())
    }
}

/// The tree with a value put where the keys lead. What has nothing below it gives way.
fn placed(node: Value, keys: &[String], value: Value) -> Value {
    let Some(first) = keys.first() else { return value };
    let position = first.parse::<usize>();
    let kind = match node.kind {
        ValueKind::Array(list) if position.as_ref().is_ok_and(|position| *position < list.len()) => {
            let mut value = Some(value);
            let place = |(index, item)| match value.take_if(|_| Ok(index) == position) {
                Some(value) => placed(item, &keys[1..], value),
                None => item,
            };
            ValueKind::Array(list.into_iter().enumerate().map(place).collect())
        }
        kind => {
            let mut map = if let ValueKind::Table(map) = kind { map } else { Map::new() };
            let (key, used) = existing_key(&map, keys).unwrap_or_else(|| (first.clone(), 1));
            let below = map.remove(&key).unwrap_or_else(|| Value::new(None, ValueKind::Nil));
            map.insert(key, placed(below, &keys[used..], value));
            ValueKind::Table(map)
        }
    };
    Value::new(None, kind)
}

impl Setting {
    /// The text, or what it stands for when it is written as a YAML list, map or quoted text. Other texts take their type
    /// from the key that reads them.
    fn value(&self) -> Value {
        let text = self.text.trim();
        let structured = text.starts_with(['[', '{', '"', '\'']) && !text.starts_with("{{");
        if structured && let Ok(parsed) = yaml::parse(text) {
            let mut problems = Vec::new();
            let value = plain(parsed, &Place::root(), &mut problems);
            // What has no plain form stays a text, and is refused by the key that reads it.
            if problems.is_empty() {
                return with_origin(value, &self.origin);
            }
        }
        Value::new(Some(&self.origin), ValueKind::String(self.text.clone()))
    }
}

fn with_origin(value: Value, origin: &String) -> Value {
    let kind = match value.kind {
        ValueKind::Table(map) => {
            ValueKind::Table(map.into_iter().map(|(key, value)| (key, with_origin(value, origin))).collect())
        }
        ValueKind::Array(list) => ValueKind::Array(list.into_iter().map(|value| with_origin(value, origin)).collect()),
        scalar => scalar,
    };
    Value::new(Some(origin), kind)
}

/// The key that the next steps name, and how many of them it takes: a variable's name has no capitals, dashes or dots, and
/// a key may (`product.created`). The longest that is there goes first.
fn existing_key(map: &Map<String, Value>, steps: &[String]) -> Option<(String, usize)> {
    let fold = |key: &str| key.to_lowercase().replace(['-', '.'], "_");
    (1..=steps.len()).rev().find_map(|used| {
        let dotted = steps[..used].join(".");
        if map.contains_key(&dotted) {
            return Some((dotted, used));
        }
        let folded = fold(&dotted);
        let mut alike = map.keys().filter(|key| fold(key) == folded);
        // Two keys that differ in such characters only: neither is meant more than the other.
        alike.next().filter(|_| alike.next().is_none()).map(|key| (key.clone(), used))
    })
}

/// YAML as plain values. Keys become texts; what has no plain form is a problem.
fn plain(value: serde_yaml::Value, place: &Place, problems: &mut Vec<Problem>) -> Value {
    use serde_yaml::Value as Yaml;
    let kind = match value {
        Yaml::Null => ValueKind::Nil,
        Yaml::Bool(value) => ValueKind::Boolean(value),
        Yaml::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => ValueKind::I64(number),
            (None, Some(number)) => ValueKind::U64(number),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Yaml::String(text) => ValueKind::String(text),
        Yaml::Sequence(list) => {
            let items = list.into_iter().enumerate();
            ValueKind::Array(items.map(|(index, item)| plain(item, &place.index(index), problems)).collect())
        }
        Yaml::Mapping(map) => {
            let mut table: BTreeMap<String, Value> = BTreeMap::new();
            for (key, item) in map {
                let key = match key {
                    Yaml::String(key) => key,
                    Yaml::Number(number) => number.to_string(),
                    Yaml::Bool(value) => value.to_string(),
                    _ => {
                        problems.push(Problem::new(place.clone(), "a key is not text; put it in quotes"));
                        continue;
                    }
                };
                let place = place.key(&key);
                let item = plain(item, &place, problems);
                if table.insert(key, item).is_some() {
                    problems.push(Problem::new(place, "appears twice; keep one"));
                }
            }
            ValueKind::Table(table.into_iter().collect())
        }
        Yaml::Tagged(tagged) => {
            problems.push(Problem::new(place.clone(), "has a YAML tag, which means nothing here; remove it"));
            return plain(tagged.value, place, problems);
        }
    };
    Value::new(None, kind)
}

#[cfg(test)]
mod tests {
    use super::super::node::Kind;
    use super::super::problem::Step;
    use super::*;

    fn set(yaml: &str, variables: &[(&str, &str)], overrides: &[&str]) -> Node {
        let environment = variables.iter().map(|(name, value)| (name.to_string(), Some(value.to_string()))).collect();
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        let mut problems = Vec::new();
        let node = layered(serde_yaml::from_str(yaml).unwrap(), &environment, &overrides, &mut problems);
        assert_eq!(problems, []);
        node
    }

    fn text(node: &Node, steps: &[&str]) -> String {
        let place = steps.iter().map(|step| Step::Key(step.to_string())).collect();
        match node.at(&place).map(|node| &node.kind) {
            Some(Kind::Text(text)) => text.clone(),
            other => panic!("{other:?} is no text"),
        }
    }

    #[test]
    fn the_later_layer_wins_and_the_others_stay() {
        let node = set(
            "a: { b: file, c: file, d: file }",
            &[("VECTIDE__A__B", "env"), ("VECTIDE__A__C", "env")],
            &["a.c=set"],
        );
        assert_eq!(["b", "c", "d"].map(|key| text(&node, &["a", key])), ["env", "set", "file"]);
    }

    #[test]
    fn a_later_set_wins_over_an_earlier_one() {
        let node = set("{}", &[], &["a={b: one, c: one}", "a.b=two"]);
        assert_eq!(["b", "c"].map(|key| text(&node, &["a", key])), ["two", "one"]);
    }

    #[test]
    fn keys_of_the_file_are_found_whatever_their_case_dashes_and_dots() {
        let yaml = "kinds: { product.created: { to: x }, My-Source: { to: x } }";
        let node = set(yaml, &[("VECTIDE__KINDS__MY_SOURCE__TO", "env")], &["kinds.product.created.to=set"]);
        assert_eq!(text(&node, &["kinds", "My-Source", "to"]), "env");
        assert_eq!(text(&node, &["kinds", "product.created", "to"]), "set");
    }

    #[test]
    fn an_item_of_a_list_is_set_by_its_position_and_a_plain_value_gives_way() {
        let node = set("{ list: [a, b], plain: x }", &[], &["list.1=c", "plain.below=y"]);
        let item = |index| node.at(&Place::from("list").index(index)).map(|node| node.kind.clone());
        assert_eq!([item(0), item(1)], ["a", "c"].map(|text| Some(Kind::Text(text.into()))));
        assert_eq!(text(&node, &["plain", "below"]), "y");
    }

    #[test]
    fn a_key_with_nothing_between_two_dots_is_a_problem() {
        let environment = [(PREFIX.to_owned(), Some("x".to_owned()))].into();
        let mut problems = Vec::new();
        let overrides = [".=5", "batching..max_items=5", "batching.=5"].map(str::to_owned);
        layered(serde_yaml::Mapping::new().into(), &environment, &overrides, &mut problems);
        let told: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
        let of_set = "a key of `--set` has nothing on one side of a `.`";
        let of_environment = "the environment variable `VECTIDE__` has nothing on one side of a `__`";
        assert_eq!(told, [of_environment, of_set, of_set, of_set]);
    }

    #[test]
    fn a_key_that_leads_too_deep_is_a_problem_and_no_more() {
        let deep = |between: &str| vec!["a"; 50_000].join(between);
        let environment = [(format!("{PREFIX}{}", deep("__")), Some("x".to_owned()))].into();
        let mut problems = Vec::new();
        layered(serde_yaml::Mapping::new().into(), &environment, &[format!("{}=x", deep("."))], &mut problems);
        assert_eq!(problems.len(), 2);
        assert!(problems.iter().all(|problem| problem.text.ends_with("goes more than 16 levels deep")));
    }

    #[test]
    fn a_template_is_a_text_and_not_a_map() {
        let node = set("{}", &[], &["document.text={{ title }}"]);
        assert_eq!(text(&node, &["document", "text"]), "{{ title }}");
    }

    #[test]
    fn what_a_setting_holds_is_not_in_its_debug_form() {
        let setting = Setting { keys: vec!["a".into()], text: "s3cret".into(), origin: String::new() };
        assert!(!format!("{setting:?}").contains("s3cret"));
    }
}
