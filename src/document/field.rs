//! How configuration names a field: by its key, or by a JSON pointer when it is nested.

use std::fmt;

use serde_json::{Number, Value};

use super::{Document, Fields};

/// The most characters of a value that an error quotes. Errors end up in logs and dead letters; a value may have megabytes.
const QUOTED_CHARS: usize = 80;

/// The name of a field: `title`, or `/product/title` (RFC 6901) for one inside another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldName {
    /// As it was configured.
    name: String,
    /// The key in the record.
    key: String,
    /// A JSON pointer inside the value of that key; empty for the value itself.
    rest: String,
}

impl FieldName {
    /// Reads a name. One that starts with `/` is a JSON pointer, anything else is a key as it stands. An error tells what is wrong
    /// without the name, which may come from the environment.
    pub fn new(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() {
            return Err("is empty; name a field, like `title`, or a nested one, like `/product/title`");
        }
        if name.contains('\0') {
            return Err("holds a NUL character, and no field can; remove it");
        }
        if name == "/" || name.starts_with("//") {
            return Err("names no field: write a key such as `title`, or a pointer such as `/product/title`");
        }
        if name.starts_with('/') && name.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
            return Err("is not a JSON pointer: write `~0` for `~` and `~1` for `/` inside a key");
        }
        let (key, rest) = match name.strip_prefix('/') {
            None => (name.to_owned(), ""),
            Some(pointer) => {
                let (key, rest) = pointer.find('/').map_or((pointer, ""), |slash| pointer.split_at(slash));
                (pointer_key(key), rest)
            }
        };
        Ok(Self { name: name.to_owned(), key, rest: rest.to_owned() })
    }

    /// The name as it was configured.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The keys that lead to the value, from the record inwards.
    pub(super) fn keys(&self) -> Vec<String> {
        let inner = self.rest.split('/').skip(1).map(pointer_key);
        std::iter::once(self.key.clone()).chain(inner).collect()
    }

    /// The JSON pointer to the value in a record, also where the name is a key.
    pub fn pointer(&self) -> String {
        self.keys().iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
    }

    /// The value in a record. `null` counts as missing.
    pub fn of<'a>(&self, fields: &'a Fields) -> Option<&'a Value> {
        self.within(fields.get(&self.key)?)
    }

    /// The value in a document. `null` counts as missing.
    pub fn of_document<'a>(&self, document: &'a Document) -> Option<&'a Value> {
        self.within(document.field(&self.key)?)
    }

    fn within<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.pointer(&self.rest).filter(|value| !value.is_null())
    }

    /// Takes the value out of a record, `null` too.
    pub fn take(&self, fields: &mut Fields) -> Option<Value> {
        // Whatever stands behind it in a list keeps its place.
        let in_list = |fields: &mut Fields| fields.get_mut(&self.key)?.pointer_mut(&self.rest).map(Value::take);
        self.remove(fields, &self.rest).or_else(|| in_list(fields))
    }

    /// Takes out of a record the objects that were around the value and are empty now.
    pub fn prune(&self, fields: &mut Fields) {
        let mut path = self.rest.as_str();
        while let Some((parent, _)) = path.rsplit_once('/') {
            let around = fields.get(&self.key).and_then(|value| value.pointer(parent));
            if !around.and_then(Value::as_object).is_some_and(Fields::is_empty) {
                break;
            }
            self.remove(fields, parent);
            path = parent;
        }
    }

    /// Takes out what lies at a path inside the value of the key, or the value itself.
    fn remove(&self, fields: &mut Fields, path: &str) -> Option<Value> {
        let Some((parent, last)) = path.rsplit_once('/') else {
            return fields.remove(&self.key);
        };
        let last = pointer_key(last);
        fields.get_mut(&self.key)?.pointer_mut(parent)?.as_object_mut()?.remove(&last)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A key as it stands in a JSON pointer, as it stands in an object. RFC 6901: first `~1` is `/`, and then `~0` is `~`.
pub fn pointer_key(written: &str) -> String {
    written.replace("~1", "/").replace("~0", "~")
}

/// Whether it stands for its neighbours too: whole numbers that do not fit 64 bits were read as the nearest float.
pub(super) fn is_rounded(number: &Number) -> bool {
    /// Below it whole numbers of either sign fit.
    const TWO_TO_THE_63RD: f64 = 9_223_372_036_854_775_808.0;
    number.is_f64() && number.as_f64().is_some_and(|float| float.abs() >= TWO_TO_THE_63RD)
}

/// A text for an error message, in backticks: cut when it is long, control characters escaped.
pub(crate) fn quoted(text: &str) -> String {
    let head: String = text.chars().take(QUOTED_CHARS).flat_map(printable).collect();
    if text.len() > QUOTED_CHARS && text.chars().nth(QUOTED_CHARS).is_some() {
        format!("`{head}..` ({} bytes)", text.len())
    } else {
        format!("`{head}`")
    }
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

/// A value for an error message: what it is, and the value where it is short by nature.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(fields) => format!("an object with {} fields", fields.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_name_finds_its_value_by_key_or_by_pointer() {
        let record = fields(json!({"a": 1, "b": {"c": [2, {"d/e": 3}]}, "/x": 4, "x": 5, "m~n": 6, "none": null}));
        for (name, found) in [
            ("a", Some(json!(1))),
            ("/a", Some(json!(1))),
            ("/b/c/0", Some(json!(2))),
            ("/b/c/1/d~1e", Some(json!(3))),
            ("/~1x", Some(json!(4))),
            ("/x", Some(json!(5))),
            ("/m~0n", Some(json!(6))),
            ("m~n", Some(json!(6))),
            ("b/c", None),
            ("/b/none", None),
            ("none", None),
        ] {
            let field = FieldName::new(name).unwrap();
            assert_eq!(field.of(&record), found.as_ref(), "{name}");
            let pointer = field.pointer();
            assert_eq!(FieldName::new(&pointer).unwrap().of(&record), found.as_ref(), "{name} {pointer}");
        }
        for (name, pointer) in
            [("a", "/a"), ("/a", "/a"), ("m~n", "/m~0n"), ("a/b", "/a~1b"), ("/a~1b/~01", "/a~1b/~01")]
        {
            assert_eq!(FieldName::new(name).unwrap().pointer(), pointer, "{name}");
        }
    }

    #[test]
    fn a_name_that_no_field_can_have_is_refused() {
        for (name, reason) in [
            ("", "is empty"),
            ("/", "names no field"),
            ("//a", "names no field"),
            ("a\0", "NUL"),
            ("/a\0", "NUL"),
            ("/a~", "not a JSON pointer"),
            ("/a~2", "not a JSON pointer"),
            ("/a~~0", "not a JSON pointer"),
        ] {
            let error = FieldName::new(name).unwrap_err();
            assert!(error.contains(reason), "{name}: {error} should say: {reason}");
        }
        assert!(FieldName::new("a~2").is_ok(), "a key is no pointer");
    }

    #[test]
    fn taking_a_value_leaves_its_neighbours() {
        let mut record = fields(json!({"a": 1, "b": {"c": 2, "d": {"e/f": 3}}}));
        let mut take = |name| FieldName::new(name).unwrap().take(&mut record);
        assert_eq!((take("/b/d/e~1f"), take("a"), take("/b/x/y")), (Some(json!(3)), Some(json!(1)), None));
        assert_eq!(record, fields(json!({"b": {"c": 2, "d": {}}})));
    }

    #[test]
    fn what_has_nothing_left_goes_up_to_what_has() {
        let mut record = fields(json!({"a": {"b": {}, "c": 1}, "d": {"e": {}}, "list": [{}, {}]}));
        for name in ["/a/b/x", "/d/e/x", "/list/0/x", "/gone/x", "a"] {
            FieldName::new(name).unwrap().prune(&mut record);
        }
        assert_eq!(record, fields(json!({"a": {"c": 1}, "list": [{}, {}]})), "a list keeps its places");
    }

    #[test]
    fn whole_numbers_beyond_64_bits_are_rounded_and_no_others() {
        for (json, rounded) in [
            ("-9223372036854775808", false),
            ("-9223372036854775809", true),
            ("18446744073709551615", false),
            ("18446744073709551616", true),
            ("1e300", true),
            ("0.5", false),
            ("4503599627370496.5", false),
        ] {
            assert_eq!(is_rounded(&serde_json::from_str(json).unwrap()), rounded, "{json}");
        }
    }

    #[test]
    fn long_and_unprintable_texts_are_quoted_safely() {
        assert_eq!(quoted("plain é"), "`plain é`");
        assert_eq!(quoted("a\u{0}\nb"), "`a\\u{0}\\nb`");
        let long = quoted(&"é".repeat(5_000_000));
        assert_eq!(long, format!("`{}..` (10000000 bytes)", "é".repeat(80)));
        assert_eq!(described(&json!("x".repeat(1000))), format!("the text `{}..` (1000 bytes)", "x".repeat(80)));
    }
}
