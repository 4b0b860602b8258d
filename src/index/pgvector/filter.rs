//! A filter as a condition in SQL. Values are always parameters.
//!
//! `@>` answers what the index on `metadata` can find. For the rest, JSON paths compare by type, where a cast would fail on a document
//! whose field is of another type; in their lax mode `[*]` means the elements of a list, and for anything else the thing itself.

use serde_json::{Map, Number, Value, json};
use tokio_postgres::types::ToSql;

use crate::index::filter::{Bound, Condition, Field, Filter, Predicate, Range, Scalar, Values};

/// The only character that PostgreSQL's texts cannot hold, neither those of its rows nor those of a statement.
const NUL: char = '\0';

/// A condition that can stand after `WHERE`, and what stands for its parameters.
pub(super) struct Translated {
    pub(super) sql: String,
    pub(super) parameters: Vec<Box<dyn ToSql + Sync + Send>>,
}

/// `first`: the number of the first parameter that is free.
pub(super) fn translate(filter: Option<&Filter>, first: usize) -> Translated {
    let mut translation = Translation { first, parameters: Vec::new() };
    let sql = filter.map_or("true".to_owned(), |filter| translation.condition(filter.condition()));
    Translated { sql, parameters: translation.parameters }
}

struct Translation {
    first: usize,
    parameters: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Translation {
    fn parameter(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.parameters.push(Box::new(value));
        format!("${}", self.first + self.parameters.len() - 1)
    }

    /// Never null, so that `NOT` means not.
    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::All(all) => self.joined(all, " AND ", "true"),
            Condition::Any(any) => self.joined(any, " OR ", "false"),
            Condition::Not(not) => format!("NOT ({})", self.condition(not)),
            Condition::Field(field, Predicate::OneOf(values)) => match &field.path[..] {
                [name] => self.contains(name, values),
                _ => self.one_of(field, values),
            },
            Condition::Field(field, Predicate::Within(range)) => self.within(field, range),
            Condition::Field(field, Predicate::Exists(wanted)) => {
                let value = self.value(field);
                let operator = if *wanted { "<>" } else { "=" };
                format!("coalesce(jsonb_typeof({value}), 'null') {operator} 'null'")
            }
        }
    }

    fn joined(&mut self, conditions: &[Condition], between: &str, none: &str) -> String {
        if conditions.is_empty() {
            return none.to_owned();
        }
        let parts: Vec<String> =
            conditions.iter().map(|condition| format!("({})", self.condition(condition))).collect();
        parts.join(between)
    }

    /// The field's value; null when it is not there.
    fn value(&mut self, field: &Field) -> String {
        let path = &field.path;
        if path.iter().any(|key| key.contains(NUL)) {
            return "NULL::jsonb".to_owned();
        }
        let only_keys: Vec<usize> = (1..path.len()).filter(|place| is_place_to_postgres_alone(&path[*place])).collect();
        let path = self.parameter(path.clone());
        if only_keys.is_empty() {
            return format!("(metadata #> {path}::text[])");
        }
        let object = |place: usize| format!("jsonb_typeof(metadata #> ({path}::text[])[1:{place}]) = 'object'");
        let objects: Vec<String> = only_keys.into_iter().map(object).collect();
        format!("(CASE WHEN {} THEN metadata #> {path}::text[] END)", objects.join(" AND "))
    }

    /// A field that is one of the values, or a list that has one of them.
    fn contains(&mut self, name: &str, values: &Values) -> String {
        if name.contains(NUL) {
            return "false".to_owned();
        }
        let object = |value: Value| Value::Object(Map::from_iter([(name.to_owned(), value)])).to_string();
        let wanted: Vec<String> =
            listed(values).into_iter().flat_map(|value| [object(json!([value])), object(value)]).collect();
        match <[String; 2]>::try_from(wanted) {
            // The index is asked only for single values.
            Ok([in_list, alone]) => {
                let (in_list, alone) = (self.parameter(in_list), self.parameter(alone));
                format!("metadata @> {in_list}::text::jsonb OR metadata @> {alone}::text::jsonb")
            }
            Err(wanted) => {
                let wanted = self.parameter(wanted);
                format!("metadata @> ANY ({wanted}::text[]::jsonb[])")
            }
        }
    }

    fn one_of(&mut self, field: &Field, values: &Values) -> String {
        let value = self.value(field);
        let wanted: Vec<String> = listed(values).iter().map(Value::to_string).collect();
        let wanted = self.parameter(wanted);
        format!("EXISTS (SELECT FROM jsonb_path_query({value}, '$[*]') AS e WHERE e = ANY ({wanted}::text[]::jsonb[]))")
    }

    fn within(&mut self, field: &Field, range: &Range) -> String {
        let value = self.value(field);
        let (mut bounds, mut variables) = (Vec::new(), Map::new());
        for (bound, name, operator) in [(&range.lower, "lo", ">"), (&range.upper, "hi", "<")] {
            let Some(Bound { at, inclusive }) = bound else { continue };
            let (at, inclusive) = match at {
                Scalar::Number(number) => (Value::Number(number.clone()), *inclusive),
                // No text of a row has NUL, so none lies between the part before it and the whole.
                Scalar::Text(text) => match text.split_once(NUL) {
                    Some((before, _)) => (before.into(), operator == "<"),
                    None => (text.as_str().into(), *inclusive),
                },
            };
            let equal = if inclusive { "=" } else { "" };
            bounds.push(format!("@ {operator}{equal} ${name}"));
            variables.insert(name.to_owned(), at);
        }
        let variables = self.parameter(Value::Object(variables).to_string());
        let bounds = bounds.join(" && ");
        // In its lax mode a filter of a JSON path looks into a list that is an element.
        format!(
            "coalesce(jsonb_path_exists({value}, CASE jsonb_typeof({value}) WHEN 'array' THEN 'strict $[*] ? ({bounds})'::jsonpath \
             ELSE 'strict $ ? ({bounds})'::jsonpath END, {variables}::text::jsonb), false)"
        )
    }
}

/// Whether a key means a place in a list to PostgreSQL, which counts from the end and takes signs, zeros and white space before a number,
/// and not to RFC 6901.
fn is_place_to_postgres_alone(key: &str) -> bool {
    let digits = key.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (digits.len() < key.len() || (digits.len() > 1 && digits.starts_with('0')))
}

/// The values that a row can have.
fn listed(values: &Values) -> Vec<Value> {
    let Values { texts, integers, floats, booleans } = values;
    let integer = |integer: &i128| {
        let number = i64::try_from(*integer).map(Number::from).or_else(|_| u64::try_from(*integer).map(Number::from));
        number.ok().map(Value::Number)
    };
    let texts = texts.iter().filter(|text| !text.contains(NUL)).map(|text| json!(text));
    texts
        .chain(integers.iter().filter_map(integer))
        .chain(floats.iter().map(|float| json!(float)))
        .chain(booleans.iter().map(|boolean| json!(boolean)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(json: Value) -> (String, usize) {
        let filter = Filter::from_json(&json).unwrap();
        let Translated { sql, parameters } = translate(Some(&filter), 3);
        (sql, parameters.len())
    }

    #[test]
    fn values_are_parameters_and_the_index_serves_single_ones() {
        let one = "metadata @> $3::text::jsonb OR metadata @> $4::text::jsonb".to_owned();
        assert_eq!(sql(json!({"na'me": "x'; DROP TABLE"})), (one, 2));
        assert_eq!(sql(json!({"a": {"in": [1, 2]}})), ("metadata @> ANY ($3::text[]::jsonb[])".to_owned(), 1));
        assert_eq!(sql(json!({"a": {"in": []}})), ("metadata @> ANY ($3::text[]::jsonb[])".to_owned(), 1));
    }

    #[test]
    fn what_no_row_can_hold_is_not_asked_for() {
        let (one, _) = sql(json!({"a": {"in": ["x", "y\u{0}"]}}));
        assert_eq!(one, sql(json!({"a": "x"})).0);
        assert_eq!(sql(json!({"a\u{0}": 1})), ("false".to_owned(), 0));
        assert_eq!(sql(json!({"/a\u{0}/b": 1})).0, sql(json!({"/a\u{0}/b": 2})).0);
        assert!(sql(json!({"/a/b\u{0}": {"exists": true}})).0.contains("NULL::jsonb"));
        // Between `m` and what begins with `m` and NUL there is no text.
        assert!(sql(json!({"a": {"gte": "m\u{0}x"}})).0.contains("@ > $lo"));
        assert!(sql(json!({"a": {"lt": "m\u{0}x"}})).0.contains("@ <= $hi"));
    }

    #[test]
    fn only_a_number_as_rfc_6901_writes_it_is_a_place_in_a_list() {
        for key in ["-1", "+1", "01", "00", " 1", "\t-07"] {
            assert!(is_place_to_postgres_alone(key), "{key:?}");
        }
        for key in ["0", "1", "10", "", "-", "a1", "1a", "1 ", "--1"] {
            assert!(!is_place_to_postgres_alone(key), "{key:?}");
        }
        let guarded = "jsonb_typeof(metadata #> ($3::text[])[1:1]) = 'object'";
        assert!(sql(json!({"/a/-1": {"exists": true}})).0.contains(guarded));
        assert!(!sql(json!({"/a/1": {"exists": true}})).0.contains("jsonb_typeof(metadata #> ("));
    }

    #[test]
    fn nothing_is_ever_null() {
        let (range, parameters) = sql(json!({"not": {"/a/b": {"gt": 1, "lte": 2}}}));
        let expected = "NOT (coalesce(jsonb_path_exists((metadata #> $3::text[]), CASE jsonb_typeof((metadata #> $3::text[])) WHEN 'array' \
                        THEN 'strict $[*] ? (@ > $lo && @ <= $hi)'::jsonpath ELSE 'strict $ ? (@ > $lo && @ <= $hi)'::jsonpath END, \
                        $4::text::jsonb), false))";
        assert_eq!((range.as_str(), parameters), (expected, 2));
        assert_eq!(translate(None, 1).sql, "true");
        assert_eq!(sql(json!({"and": []})).0, "true");
        assert_eq!(sql(json!({"or": []})).0, "false");
    }
}
