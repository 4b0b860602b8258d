//! Reads a filter from its JSON form.

use serde_json::{Map, Value};

use super::{Bound, Condition, Field, Predicate, Range, Scalar, Values};

/// How deep `and`, `or` and `not` may be nested. Each takes two of the levels that JSON may have (`decode::MAX_DEPTH`).
const MAX_DEPTH: usize = 30;
/// How many conditions a filter may have.
const MAX_CONDITIONS: usize = 1_024;
/// How many values the `in`s of a filter may list, all together.
const MAX_VALUES: usize = 10_000;

pub(super) fn read(json: &Value) -> Result<Condition, String> {
    Reader::default().condition(json, "", MAX_DEPTH)
}

/// Reads the JSON form and counts what it reads.
#[derive(Default)]
struct Reader {
    conditions: usize,
    values: usize,
}

impl Reader {
    fn condition(&mut self, json: &Value, path: &str, depth: usize) -> Result<Condition, String> {
        let Value::Object(keys) = json else {
            return Err(refuse(path, json, "a filter is an object like {\"category\": \"shoes\"}"));
        };
        if depth == 0 {
            return Err(format!("filter{path}: nested deeper than {MAX_DEPTH} levels"));
        }
        let mut all = Vec::with_capacity(keys.len());
        for (key, value) in keys {
            self.conditions += 1;
            if self.conditions > MAX_CONDITIONS {
                return Err(format!("filter{path}: more than {MAX_CONDITIONS} conditions in one filter"));
            }
            let path = format!("{path}.{key}");
            match key.as_str() {
                "and" => all.push(Condition::All(self.list(value, &path, depth)?)),
                "or" => all.push(Condition::Any(self.list(value, &path, depth)?)),
                "not" => all.push(Condition::Not(Box::new(self.condition(value, &path, depth - 1)?))),
                field => self.field(&Field::named(field), value, &path, &mut all)?,
            }
        }
        Ok(match <[Condition; 1]>::try_from(all) {
            Ok([only]) => only,
            Err(all) => Condition::All(all),
        })
    }

    fn list(&mut self, json: &Value, path: &str, depth: usize) -> Result<Vec<Condition>, String> {
        let Value::Array(filters) = json else {
            return Err(refuse(path, json, "here stands a list of filters"));
        };
        let each = filters.iter().enumerate();
        each.map(|(at, filter)| self.condition(filter, &format!("{path}[{at}]"), depth - 1)).collect()
    }

    fn field(
        &mut self,
        field: &Field,
        json: &Value,
        path: &str,
        conditions: &mut Vec<Condition>,
    ) -> Result<(), String> {
        let predicate = match json {
            Value::Object(operators) => return self.operators(field, operators, path, conditions),
            Value::Null => {
                return Err(format!("filter{path}: to find documents without it, say {{\"exists\": false}}"));
            }
            Value::Array(_) => return Err(format!("filter{path}: to allow several values, say {{\"in\": [..]}}")),
            scalar => {
                let mut values = Values::default();
                values.add(scalar);
                Predicate::OneOf(values)
            }
        };
        conditions.push(Condition::Field(field.clone(), predicate));
        Ok(())
    }

    fn operators(
        &mut self,
        field: &Field,
        operators: &Map<String, Value>,
        path: &str,
        conditions: &mut Vec<Condition>,
    ) -> Result<(), String> {
        const OPERATORS: &str = "the operators are in, exists, gt, gte, lt and lte; \
                                 to reach a nested field, use a JSON pointer like \"/maker/country\" as the key";
        if operators.is_empty() {
            return Err(format!("filter{path}: an empty object; {OPERATORS}"));
        }
        let mut range = Range::default();
        for (operator, value) in operators {
            let path = format!("{path}.{operator}");
            let predicate = match operator.as_str() {
                "in" => Predicate::OneOf(self.values_of(value, &path)?),
                "exists" => {
                    Predicate::Exists(value.as_bool().ok_or_else(|| refuse(&path, value, "here stands true or false"))?)
                }
                "gt" | "gte" | "lt" | "lte" => {
                    let at = Scalar::from_json(value)
                        .ok_or_else(|| refuse(&path, value, "a bound is a number or a text"))?;
                    let side = if operator.starts_with('g') { &mut range.lower } else { &mut range.upper };
                    if side.replace(Bound { at, inclusive: operator.ends_with('e') }).is_some() {
                        return Err(format!("filter{path}: the range has this bound twice, with and without equality"));
                    }
                    continue;
                }
                _ => return Err(format!("filter{path}: unknown; {OPERATORS}")),
            };
            conditions.push(Condition::Field(field.clone(), predicate));
        }
        match (&range.lower, &range.upper) {
            (None, None) => return Ok(()),
            (Some(lower), Some(upper)) if std::mem::discriminant(&lower.at) != std::mem::discriminant(&upper.at) => {
                return Err(format!("filter{path}: both bounds of a range must be numbers, or both texts"));
            }
            _ => conditions.push(Condition::Field(field.clone(), Predicate::Within(range))),
        }
        Ok(())
    }

    fn values_of(&mut self, json: &Value, path: &str) -> Result<Values, String> {
        let Value::Array(list) = json else {
            return Err(refuse(path, json, "here stands a list of texts, numbers or booleans"));
        };
        self.values += list.len();
        if self.values > MAX_VALUES {
            return Err(format!("filter{path}: {} values are listed; at most {MAX_VALUES} in one filter", self.values));
        }
        let mut values = Values::default();
        for (at, value) in list.iter().enumerate() {
            if !values.add(value) {
                return Err(refuse(&format!("{path}[{at}]"), value, "a value is a text, a number or a boolean"));
            }
        }
        Ok(values.sorted())
    }
}

fn refuse(path: &str, found: &Value, allowed: &str) -> String {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("filter{path}: found {found}; {allowed}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::decode::strict_text;

    #[test]
    fn what_is_refused_is_named_with_its_place_and_what_is_allowed() {
        for (json, place, allowed) in [
            (json!("shoes"), "filter:", "a filter is an object"),
            (json!({"and": {"a": 1}}), "filter.and:", "a list of filters"),
            (json!({"or": [{"a": 1}, 5]}), "filter.or[1]:", "a filter is an object"),
            (json!({"not": {"a": {"near": 5}}}), "filter.not.a.near:", "in, exists, gt, gte, lt and lte"),
            (json!({"a": null}), "filter.a:", "{\"exists\": false}"),
            (json!({"a": ["b"]}), "filter.a:", "{\"in\": [..]}"),
            (json!({"a": {}}), "filter.a:", "in, exists"),
            (json!({"a": {"in": "b"}}), "filter.a.in:", "a list of texts"),
            (json!({"a": {"in": ["b", {}]}}), "filter.a.in[1]:", "a text, a number or a boolean"),
            (json!({"a": {"exists": 1}}), "filter.a.exists:", "true or false"),
            (json!({"a": {"gt": true}}), "filter.a.gt:", "a number or a text"),
            (json!({"a": {"gt": 1, "lt": "z"}}), "filter.a:", "both"),
            (json!({"a": {"gt": 1, "gte": 1}}), "filter.a.gte:", "twice"),
        ] {
            let error = read(&json).expect_err(&json.to_string());
            assert!(error.starts_with(place) && error.contains(allowed), "{json}: {error}");
        }
    }

    #[test]
    fn depth_and_size_are_limited() {
        let nested = |levels| (0..levels).fold(json!({"a": 1}), |inner, _| json!({"not": inner}));
        assert!(read(&nested(MAX_DEPTH - 1)).is_ok());
        assert!(read(&nested(MAX_DEPTH)).unwrap_err().contains("deeper than 30"));
        let widest = (1..MAX_DEPTH).fold(json!({"a": {"in": [1]}}), |inner, _| json!({"and": [inner]}));
        assert!(read(&strict_text(&widest.to_string()).unwrap()).is_ok(), "what is promised can be written");

        let wide = |conditions| json!({"or": vec![json!({"a": 1}); conditions]});
        assert!(read(&wide(MAX_CONDITIONS - 1)).is_ok());
        assert!(read(&wide(MAX_CONDITIONS)).unwrap_err().contains("1024"));

        let values = |count| json!({"a": {"in": vec![1; count]}});
        assert!(read(&values(MAX_VALUES)).is_ok());
        let two = json!({"or": [values(MAX_VALUES / 2), values(MAX_VALUES / 2 + 1)]});
        assert!(read(&two).unwrap_err().contains("10001"), "of all lists together");
        assert!(read(&values(MAX_VALUES + 1)).unwrap_err().contains("10001"));
    }
}
