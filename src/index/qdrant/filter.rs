//! Filters in Qdrant's own terms, as far as they go.
//!
//! Qdrant has no ranges of texts and does not tell an empty list from a field that is not there. So a condition becomes one that is at
//! least as wide; what it lets through beside that is sorted out by [`crate::index::external::sift`].

use serde_json::Number;

use crate::index::filter::{self, Bound, Field, MAX_EXACT, Predicate, Scalar, Values};

use super::messages::{Condition, FieldCondition, Filter, Ids, IsEmpty, Match, OneCondition, OneMatch, Range, Texts};

/// The most numbers and booleans of an `in` that are spelt out: each is a condition of its own.
const MAX_VALUES: usize = 1_024;

/// A filter that holds for every point that the condition holds for; `None` when all would have to pass.
pub fn wide(condition: &filter::Condition) -> Option<Filter> {
    Wide::of(condition).condition.map(|condition| match condition.one {
        Some(OneCondition::Filter(filter)) => filter,
        _ => Filter { must: vec![condition], ..Filter::default() },
    })
}

/// A condition that holds at least where the given one does.
struct Wide {
    /// `None` holds everywhere.
    condition: Option<Condition>,
    /// Whether it holds nowhere else: only then can it be negated.
    exact: bool,
}

impl Wide {
    const UNKNOWN: Self = Self { condition: None, exact: false };

    fn exactly(one: OneCondition) -> Self {
        Self { condition: Some(Condition { one: Some(one) }), exact: true }
    }

    fn nowhere() -> Self {
        Self::exactly(OneCondition::HasId(Ids::default()))
    }

    fn of(condition: &filter::Condition) -> Self {
        match condition {
            filter::Condition::All(conditions) => Self::all(conditions.iter().map(Self::of).collect()),
            filter::Condition::Any(conditions) => Self::any(conditions.iter().map(Self::of).collect()),
            filter::Condition::Not(condition) => match Self::of(condition) {
                Self { condition: Some(condition), exact: true } => {
                    Self::exactly(OneCondition::Filter(Filter { must_not: vec![condition], ..Filter::default() }))
                }
                Self { condition: None, exact: true } => Self::nowhere(),
                Self { exact: false, .. } => Self::UNKNOWN,
            },
            filter::Condition::Field(field, predicate) => {
                path(field).map_or(Self::UNKNOWN, |key| Self::field(key, predicate))
            }
        }
    }

    fn all(each: Vec<Self>) -> Self {
        let exact = each.iter().all(|wide| wide.exact);
        let must: Vec<_> = each.into_iter().filter_map(|wide| wide.condition).collect();
        if must.is_empty() {
            return Self { condition: None, exact };
        }
        Self { exact, ..Self::exactly(OneCondition::Filter(Filter { must, ..Filter::default() })) }
    }

    fn any(each: Vec<Self>) -> Self {
        let exact = each.iter().all(|wide| wide.exact);
        if each.is_empty() {
            return Self::nowhere();
        }
        match each.into_iter().map(|wide| wide.condition).collect::<Option<Vec<_>>>() {
            Some(should) => {
                Self { exact, ..Self::exactly(OneCondition::Filter(Filter { should, ..Filter::default() })) }
            }
            None => Self { condition: None, exact },
        }
    }

    fn field(key: String, predicate: &Predicate) -> Self {
        match predicate {
            Predicate::OneOf(values) => Self::one_of(&key, values),
            Predicate::Within(range) => match (range_of(range.lower.as_ref()), range_of(range.upper.as_ref())) {
                (Some(lower), Some(upper)) => Self::exactly(in_range(&key, lower, upper)),
                _ => Self::UNKNOWN,
            },
            Predicate::Exists(true) => Self::UNKNOWN,
            // It holds for an empty list too.
            Predicate::Exists(false) => Self { exact: false, ..Self::exactly(OneCondition::IsEmpty(IsEmpty { key })) },
        }
    }

    fn one_of(key: &str, values: &Values) -> Self {
        let numbers: Vec<_> = values.numbers().collect();
        if numbers.iter().any(|number| number.abs() >= MAX_EXACT as f64) || numbers.len() > MAX_VALUES {
            return Self::UNKNOWN;
        }
        let matches = |one| {
            let matches = Some(Match { one: Some(one) });
            OneCondition::Field(FieldCondition { key: key.to_owned(), matches, range: None })
        };
        let mut each = Vec::new();
        if !values.texts.is_empty() {
            let mut texts: Vec<_> = values.texts.iter().cloned().collect();
            texts.sort_unstable();
            each.push(Self::exactly(matches(OneMatch::Texts(Texts { texts }))));
        }
        each.extend(values.booleans.iter().map(|boolean| Self::exactly(matches(OneMatch::Boolean(*boolean)))));
        // Not as a match: that tells 1 from 1.0.
        let number = |at: f64| Self::exactly(in_range(key, Some((at, true)), Some((at, true))));
        each.extend(numbers.into_iter().map(number));
        Self::any(each)
    }
}

/// A bound as a number and whether it lies inside, if there is one; `None` when Qdrant has none like it.
fn range_of(bound: Option<&Bound>) -> Option<Option<(f64, bool)>> {
    let Some(Bound { at, inclusive }) = bound else { return Some(None) };
    match at {
        Scalar::Number(number) => {
            let at = Number::as_f64(number).filter(|at| at.abs() < MAX_EXACT as f64)?;
            Some(Some((at, *inclusive)))
        }
        Scalar::Text(_) => None,
    }
}

fn in_range(key: &str, lower: Option<(f64, bool)>, upper: Option<(f64, bool)>) -> OneCondition {
    let when = |bound: Option<(f64, bool)>, inside: bool| bound.filter(|(_, it)| *it == inside).map(|(at, _)| at);
    let range =
        Range { lt: when(upper, false), lte: when(upper, true), gt: when(lower, false), gte: when(lower, true) };
    OneCondition::Field(FieldCondition { key: key.to_owned(), matches: None, range: Some(range) })
}

/// The field as a path; `None` where Qdrant would read the name in another way.
fn path(field: &Field) -> Option<String> {
    let keys = field.keys()?.iter().map(|key| {
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let unclear = key.is_empty() || key.contains('"');
        (!unclear).then(|| if plain { key.clone() } else { format!("\"{key}\"") })
    });
    Some(keys.collect::<Option<Vec<_>>>()?.join("."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn translated(json: &Value) -> Wide {
        Wide::of(crate::index::Filter::from_json(json).unwrap().condition())
    }

    fn texts(key: &str, texts: &[&str]) -> Condition {
        let texts = texts.iter().map(ToString::to_string).collect();
        let matches = Some(Match { one: Some(OneMatch::Texts(Texts { texts })) });
        Condition { one: Some(OneCondition::Field(FieldCondition { key: key.into(), matches, range: None })) }
    }

    fn filter(filter: Filter) -> Condition {
        Condition { one: Some(OneCondition::Filter(filter)) }
    }

    #[test]
    fn what_qdrant_can_say_is_said_exactly_and_can_be_negated() {
        let range = |range| Condition {
            one: Some(OneCondition::Field(FieldCondition { key: "a".into(), matches: None, range: Some(range) })),
        };
        let five = range(Range { gte: Some(5.0), lte: Some(5.0), ..Range::default() });
        let shoes = filter(Filter { should: vec![texts("a", &["x", "y"])], ..Filter::default() });
        for (json, expected) in [
            (json!({"a": {"in": ["y", "x"]}}), shoes.clone()),
            (json!({"a": 5}), filter(Filter { should: vec![five], ..Filter::default() })),
            (json!({"a": {"gt": 1.5, "lte": 3}}), range(Range { gt: Some(1.5), lte: Some(3.0), ..Range::default() })),
            (
                json!({"not": {"a": {"in": ["x", "y"]}}}),
                filter(Filter { must_not: vec![shoes.clone()], ..Filter::default() }),
            ),
            (json!({"or": []}), Condition { one: Some(OneCondition::HasId(Ids::default())) }),
            (json!({"not": {}}), Condition { one: Some(OneCondition::HasId(Ids::default())) }),
        ] {
            let found = translated(&json);
            assert!(found.exact && found.condition.as_ref() == Some(&expected), "{json}: {:?}", found.condition);
        }
    }

    #[test]
    fn what_qdrant_cannot_say_is_wider_and_its_negation_lets_all_pass() {
        let is_empty = Condition { one: Some(OneCondition::IsEmpty(IsEmpty { key: "a".into() })) };
        let beside = filter(Filter {
            must: vec![filter(Filter { should: vec![texts("b", &["x"])], ..Filter::default() })],
            ..Filter::default()
        });
        for (json, expected) in [
            (json!({"a": {"exists": false}}), Some(is_empty)),
            (json!({"a": {"exists": true}}), None),
            (json!({"a": {"gt": "x"}}), None),
            (json!({"a": 1_u64 << 53}), None),
            (json!({"a": {"lt": 1e300}}), None),
            (json!({"a\"b": 1}), None),
            (json!({"/a/0": 1}), None),
            (json!({"a": {"gt": "x"}, "b": "x"}), Some(beside)),
            (json!({"or": [{"a": {"gt": "x"}}, {"b": "x"}]}), None),
        ] {
            let found = translated(&json);
            assert!(!found.exact && found.condition == expected, "{json}: {:?}", found.condition);
            let negated = translated(&json!({ "not": json }));
            assert!(!negated.exact && negated.condition.is_none(), "{json}");
        }
    }

    #[test]
    fn names_that_are_no_words_are_quoted() {
        for (json, expected) in [
            (json!({"/maker/country": "x"}), "maker.country"),
            (json!({"/a~1b/c d": "x"}), "\"a/b\".\"c d\""),
            (json!({"a.b[0]": "x"}), "\"a.b[0]\""),
            (json!({"größe": "x"}), "\"größe\""),
        ] {
            let expected = filter(Filter { should: vec![texts(expected, &["x"])], ..Filter::default() });
            assert_eq!(translated(&json).condition, Some(expected), "{json}");
        }
    }
}
