//! Filters in Milvus' own language, as far as it goes.
//!
//! The language cannot say all of it, and its versions differ: whether `true` is 1, what a negation makes of a field that is not there,
//! which element of a list lies in a range. So a condition becomes an expression that is at least as wide: it holds wherever the condition
//! does. What it lets through beside that is sorted out by [`crate::index::external::sift`].

use serde_json::Number;

use crate::index::filter::{Bound, Condition, Field, MAX_EXACT, Predicate, Range, Scalar, Values};

/// Holds for no point: none has an empty id.
const NEVER: &str = r#"id == """#;

/// The most values of an `in` that are spelt out: for a thousand, servers take seconds.
const MAX_VALUES: usize = 256;

/// An expression that holds for every point that the condition holds for; `None` when all would have to pass.
pub fn wide(condition: &Condition) -> Option<String> {
    match condition {
        Condition::All(conditions) => joined(&conditions.iter().filter_map(wide).collect::<Vec<_>>(), " and "),
        Condition::Any(conditions) => {
            let each: Vec<_> = conditions.iter().map(wide).collect::<Option<_>>()?;
            Some(joined(&each, " or ").unwrap_or_else(|| NEVER.to_owned()))
        }
        // Wider than the negation would have to be narrower than what is negated.
        Condition::Not(_) | Condition::Field(_, Predicate::Exists(false)) => None,
        Condition::Field(field, predicate) => {
            let path = path(field)?;
            // Twice `not`: older servers take a bare `exists` for no boolean.
            let exists = format!("not (not exists {path})");
            Some(match predicate {
                Predicate::OneOf(values) => one_of(&path, values).unwrap_or(exists),
                Predicate::Within(range) => within(&path, range).unwrap_or(exists),
                Predicate::Exists(_) => exists,
            })
        }
    }
}

fn joined(expressions: &[String], by: &str) -> Option<String> {
    (!expressions.is_empty()).then(|| balanced(expressions, by))
}

/// In halves of halves: without parentheses servers nest every operand in the one before, and refuse what is a hundred deep.
fn balanced(expressions: &[String], by: &str) -> String {
    match expressions {
        [only] => only.clone(),
        _ => {
            let (left, right) = expressions.split_at(expressions.len() / 2);
            format!("({}{by}{})", balanced(left, by), balanced(right, by))
        }
    }
}

/// The field in the column of all metadata; `None` where servers would read the name in another way, or not find it: they compare it with
/// the key as it is written in JSON, where these characters are escaped.
fn path(field: &Field) -> Option<String> {
    let mut path = "metadata".to_owned();
    for key in field.keys()? {
        if key.is_empty() || key.contains(|character: char| matches!(character, '"' | '\\') || character.is_control()) {
            return None;
        }
        path.push_str(&format!("[{}]", quoted(key)?));
    }
    Some(path)
}

/// `None` where values are too many, or compare in ways that differ.
fn one_of(path: &str, values: &Values) -> Option<String> {
    let count = values.texts.len() + values.integers.len() + values.floats.len() + values.booleans.len();
    if count > MAX_VALUES {
        return None;
    }
    let mut scalars: Vec<String> = values.texts.iter().map(|text| quoted(text)).collect::<Option<_>>()?;
    scalars.sort_unstable();
    scalars.extend(values.booleans.iter().map(ToString::to_string));
    let numbers: Vec<f64> = values.numbers().map(exact).collect::<Option<_>>()?;
    scalars.extend(numbers.iter().map(|number| format!("{number:?}")));
    let mut elements = scalars.clone();
    // A field that is a whole number equals a float, but in a list older servers tell them apart.
    elements.extend(numbers.iter().filter(|number| number.fract() == 0.0).map(|number| format!("{}", *number as i64)));
    let mut each: Vec<_> = scalars.iter().map(|scalar| format!("{path} == {scalar}")).collect();
    if each.is_empty() {
        return Some(NEVER.to_owned());
    }
    each.push(format!("json_contains_any({path}, [{}])", elements.join(", ")));
    joined(&each, " or ")
}

fn within(path: &str, range: &Range) -> Option<String> {
    let bound = |bound: &Option<Bound>, operator: &str| match bound {
        None => Some(None),
        Some(Bound { at, inclusive }) => {
            let equal = if *inclusive { "=" } else { "" };
            Some(Some(format!("{path} {operator}{equal} {}", literal(at)?)))
        }
    };
    let bounds = [bound(&range.lower, ">")?, bound(&range.upper, "<")?];
    let range = joined(&bounds.into_iter().flatten().collect::<Vec<_>>(), " and ")?;
    // No server looks for an element of a list that lies in a range: all lists pass.
    Some(format!("({range} or not (not exists {path}[0]))"))
}

fn literal(scalar: &Scalar) -> Option<String> {
    match scalar {
        Scalar::Number(number) => Some(format!("{:?}", exact(Number::as_f64(number)?)?)),
        Scalar::Text(text) => quoted(text),
    }
}

fn exact(float: f64) -> Option<f64> {
    (float.abs() < MAX_EXACT as f64).then_some(float)
}

/// `None` for what servers unquote in ways of their own.
fn quoted(text: &str) -> Option<String> {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if character.is_control() => return None,
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    Some(quoted)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::index::Filter;

    use super::*;

    fn expression(json: Value) -> Option<String> {
        wide(Filter::from_json(&json).unwrap().condition())
    }

    #[test]
    fn a_condition_becomes_an_expression_that_is_as_wide() {
        for (json, expected) in [
            (json!({}), None),
            (json!({"a": "x"}), Some(r#"(metadata["a"] == "x" or json_contains_any(metadata["a"], ["x"]))"#)),
            (json!({"a": -5}), Some(r#"(metadata["a"] == -5.0 or json_contains_any(metadata["a"], [-5.0, -5]))"#)),
            (json!({"a": 0.5}), Some(r#"(metadata["a"] == 0.5 or json_contains_any(metadata["a"], [0.5]))"#)),
            (
                json!({"a": {"in": [true, 1]}}),
                Some(
                    r#"(metadata["a"] == true or (metadata["a"] == 1.0 or json_contains_any(metadata["a"], [true, 1.0, 1])))"#,
                ),
            ),
            (json!({"a": {"in": []}}), Some(r#"id == """#)),
            (json!({"or": []}), Some(r#"id == """#)),
            (
                json!({"a": {"gte": 1, "lt": 2}}),
                Some(r#"((metadata["a"] >= 1.0 and metadata["a"] < 2.0) or not (not exists metadata["a"][0]))"#),
            ),
            (json!({"a": {"gt": "m"}}), Some(r#"(metadata["a"] > "m" or not (not exists metadata["a"][0]))"#)),
            (json!({"a": {"exists": true}}), Some(r#"not (not exists metadata["a"])"#)),
            (json!({"/a~1b/c": {"exists": true}}), Some(r#"not (not exists metadata["a/b"]["c"])"#)),
            (
                json!({"and": [{"a": {"exists": true}}, {"b": {"exists": true}}]}),
                Some(r#"(not (not exists metadata["a"]) and not (not exists metadata["b"]))"#),
            ),
            (
                json!({"or": [{"a": {"exists": true}}, {"b": {"exists": true}}]}),
                Some(r#"(not (not exists metadata["a"]) or not (not exists metadata["b"]))"#),
            ),
        ] {
            assert_eq!(expression(json.clone()).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn what_servers_read_differently_lets_all_pass_or_all_that_have_the_field() {
        let exists = r#"not (not exists metadata["a"])"#;
        for json in [
            json!({"a": (1_u64 << 53) + 2}),
            json!({"a": {"gt": 1e300}}),
            json!({"a": "\u{1}"}),
            json!({"a": {"in": (0..257).collect::<Vec<_>>()}}),
        ] {
            assert_eq!(expression(json.clone()).as_deref(), Some(exists), "{json}");
        }
        for json in [
            json!({"not": {"a": 1}}),
            json!({"a": {"exists": false}}),
            json!({"": 1}),
            json!({"/a/0": 1}),
            json!({"a\u{7}": 1}),
            json!({"a\n": 1}),
            json!({"a\"b": 1}),
            json!({"/a/b\\c": 1}),
            json!({"or": [{"a": 1}, {"not": {"a": 2}}]}),
        ] {
            assert_eq!(expression(json.clone()), None, "{json}");
        }
        // What can be said is said beside it.
        assert_eq!(expression(json!({"a": {"exists": true}, "not": {"b": 1}})).as_deref(), Some(exists));
    }

    #[test]
    fn texts_cannot_leave_their_quotes() {
        let hostile = expression(json!({"a'] == 1 or id != '": "\\\" or id != \"\n"})).unwrap();
        let expected = r#"metadata["a'] == 1 or id != '"] == "\\\" or id != \"\n""#;
        assert!(hostile.starts_with(&format!("({expected} or ")), "{hostile}");
    }
}
