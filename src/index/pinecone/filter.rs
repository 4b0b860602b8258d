//! A filter in Pinecone's language, which has no `not`: what does not hold is said of the single fields.

use serde_json::{Value, json};

use crate::index::external::typed::{Comparison, Field, Typed, Values};
use crate::index::filter::Bound;

use super::record::EMPTY;

/// The filter.
///
/// # Errors
/// What Pinecone cannot say.
pub fn translate(typed: &Typed) -> Result<Value, String> {
    let all = |conditions: &[Typed]| conditions.iter().map(translate).collect::<Result<Vec<_>, _>>();
    Ok(match typed {
        Typed::All(conditions) => json!({ "$and": all(conditions)? }),
        Typed::Any(conditions) => json!({ "$or": all(conditions)? }),
        Typed::Is(field, comparison) => is(field, comparison)?,
        Typed::Not(field, comparison) => is_not(field, comparison)?,
    })
}

fn is(field: &Field, comparison: &Comparison) -> Result<Value, String> {
    let name = &field.name;
    Ok(match comparison {
        Comparison::OneOf(Values::Booleans(booleans)) => {
            json!({ "$or": booleans.iter().map(|boolean| json!({ name: { "$eq": boolean } })).collect::<Vec<_>>() })
        }
        Comparison::OneOf(values) => json!({ name: { "$in": values } }),
        Comparison::Numbers(lower, upper) => {
            let bounds = [end("$gt", lower), end("$lt", upper)].into_iter().flatten();
            json!({ name: bounds.collect::<serde_json::Map<_, _>>() })
        }
        Comparison::Texts(..) => return Err(text_range(name)),
        Comparison::There if field.kind.is_list() => {
            json!({ "$or": [{ name: { "$exists": true } }, { empty(name): { "$exists": true } }] })
        }
        Comparison::There => json!({ name: { "$exists": true } }),
    })
}

fn is_not(field: &Field, comparison: &Comparison) -> Result<Value, String> {
    let name = &field.name;
    let lacking = json!({ name: { "$exists": false } });
    Ok(match comparison {
        Comparison::OneOf(Values::Booleans(booleans)) => {
            let mut any = vec![lacking];
            any.extend(
                [true, false].into_iter().filter(|b| !booleans.contains(b)).map(|b| json!({ name: { "$eq": b } })),
            );
            json!({ "$or": any })
        }
        Comparison::OneOf(values) => json!({ "$or": [lacking, { name: { "$nin": values } }] }),
        Comparison::Numbers(lower, upper) => {
            // Every value is a number, so what is not between is beside.
            let beside = |operator, bound: &Option<Bound<f64>>| {
                let outside = bound.as_ref().map(|bound| Bound { at: bound.at, inclusive: !bound.inclusive });
                end(operator, &outside).map(|(operator, at)| json!({ name: { operator: at } }))
            };
            let mut any = vec![lacking];
            any.extend([beside("$lt", lower), beside("$gt", upper)].into_iter().flatten());
            json!({ "$or": any })
        }
        Comparison::Texts(..) => return Err(text_range(name)),
        Comparison::There if field.kind.is_list() => {
            json!({ "$and": [lacking, { empty(name): { "$exists": false } }] })
        }
        Comparison::There => lacking,
    })
}

/// The key that says that a record has an empty list.
pub fn empty(name: &str) -> String {
    format!("{EMPTY}{name}")
}

fn end(operator: &str, bound: &Option<Bound<f64>>) -> Option<(String, Value)> {
    let bound = bound.as_ref()?;
    let operator = if bound.inclusive { format!("{operator}e") } else { operator.to_owned() };
    Some((operator, bound.at.into()))
}

fn text_range(name: &str) -> String {
    format!(
        "the filter has a range over the texts of `{name}`, and Pinecone compares numbers only: keep it as a number in the metadata, such as \
         seconds since 1970 for a time"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::index::Filter;
    use crate::index::external::typed::{Fields, Sought};

    use super::*;

    fn translated(filter: Value) -> Result<Value, String> {
        let declared: BTreeMap<_, _> =
            serde_yaml::from_str("{ category: text, price: number, sale: boolean, tags: 'text[]' }").unwrap();
        let fields = Fields::new(&declared);
        let filter = Filter::from_json(&filter).unwrap();
        let Ok(Sought::Where(typed)) = fields.filter(Some(&filter)) else { panic!() };
        translate(&typed)
    }

    #[test]
    fn every_operator_and_its_opposite() {
        for (filter, expected) in [
            (json!({"category": "shoes"}), json!({"category": {"$in": ["shoes"]}})),
            (json!({"price": {"in": [1, 2.5]}}), json!({"price": {"$in": [1.0, 2.5]}})),
            (json!({"sale": true}), json!({"$or": [{"sale": {"$eq": true}}]})),
            (json!({"price": {"gte": 10, "lt": 50}}), json!({"price": {"$gte": 10.0, "$lt": 50.0}})),
            (json!({"price": {"exists": true}}), json!({"price": {"$exists": true}})),
            (
                json!({"tags": {"exists": true}}),
                json!({"$or": [{"tags": {"$exists": true}}, {"vectide_empty_tags": {"$exists": true}}]}),
            ),
            (
                json!({"tags": {"exists": false}}),
                json!({"$and": [{"tags": {"$exists": false}}, {"vectide_empty_tags": {"$exists": false}}]}),
            ),
            (
                json!({"not": {"category": "shoes"}}),
                json!({"$or": [{"category": {"$exists": false}}, {"category": {"$nin": ["shoes"]}}]}),
            ),
            (
                json!({"not": {"price": {"gte": 10, "lt": 50}}}),
                json!({"$or": [{"price": {"$exists": false}}, {"price": {"$lt": 10.0}}, {"price": {"$gte": 50.0}}]}),
            ),
            (json!({"not": {"sale": true}}), json!({"$or": [{"sale": {"$exists": false}}, {"sale": {"$eq": false}}]})),
            (
                json!({"or": [{"price": 1}, {"and": [{"category": "a"}, {"price": 2}]}]}),
                json!({"$or": [
                    {"price": {"$in": [1.0]}}, {"$and": [{"category": {"$in": ["a"]}}, {"price": {"$in": [2.0]}}]},
                ]}),
            ),
        ] {
            assert_eq!(translated(filter.clone()), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn a_range_over_texts_is_refused() {
        for filter in [json!({"category": {"gt": "a"}}), json!({"not": {"tags": {"lt": "b"}}})] {
            let error = translated(filter).unwrap_err();
            assert!(error.contains("numbers only"), "{error}");
        }
    }
}
