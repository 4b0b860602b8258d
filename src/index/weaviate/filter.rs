//! A filter in Weaviate's language.
//!
//! Its index of texts takes white space off their ends, and knows no empty text. So texts with white space at an end are never in it, and
//! what a document has, and where it has an empty text, stands in a property of its own.

use uuid::Uuid;

use crate::index::external::typed::{Comparison, Field, Typed, Values};
use crate::index::filter::Bound;

use super::messages::{Filters, Numbers, Operand, Operator, Target, Texts};

/// The property that says which fields a document has, and which of them have an empty text: texts.
pub const THERE: &str = "vectide_there";

/// The mark of a field that has an empty text. No property can have this name.
pub fn has_empty(name: &str) -> String {
    format!("{name}:empty")
}

/// Whether the index of texts would take it for another.
pub fn is_padded(text: &str) -> bool {
    text.trim().len() != text.len()
}

/// The filter.
///
/// # Errors
/// What Weaviate cannot say.
pub fn translate(typed: &Typed) -> Result<Filters, String> {
    let all = |conditions: &[Typed]| conditions.iter().map(translate).collect::<Result<Vec<_>, _>>();
    Ok(match typed {
        Typed::All(conditions) => joined(Operator::And, all(conditions)?),
        Typed::Any(conditions) => joined(Operator::Or, all(conditions)?),
        Typed::Is(field, comparison) => is(field, comparison)?,
        Typed::Not(field, comparison) => joined(Operator::Not, vec![is(field, comparison)?]),
    })
}

/// One of these ids.
pub fn ids(ids: &[Uuid]) -> Filters {
    let values = ids.iter().map(Uuid::to_string).collect();
    single("_id", Operator::ContainsAny, Operand::Texts(Texts { values }))
}

fn is(field: &Field, comparison: &Comparison) -> Result<Filters, String> {
    let name = field.name.as_str();
    let of = |operator, operand| single(name, operator, operand);
    Ok(match comparison {
        Comparison::There => there(name.to_owned()),
        Comparison::OneOf(Values::Texts(texts)) => {
            let indexed: Vec<String> =
                texts.iter().filter(|text| !text.is_empty() && !is_padded(text)).cloned().collect();
            let empty = texts.iter().any(String::is_empty).then(|| there(has_empty(name)));
            let indexed =
                (!indexed.is_empty()).then(|| of(Operator::ContainsAny, Operand::Texts(Texts { values: indexed })));
            any(indexed.into_iter().chain(empty).collect())
        }
        Comparison::OneOf(Values::Numbers(numbers)) => {
            of(Operator::ContainsAny, Operand::Numbers(Numbers { values: numbers.clone() }))
        }
        Comparison::OneOf(Values::Booleans(booleans)) => {
            any(booleans.iter().map(|boolean| of(Operator::Equal, Operand::Boolean(*boolean))).collect())
        }
        Comparison::Numbers(Some(_), Some(_)) | Comparison::Texts(Some(_), Some(_)) if field.kind.is_list() => {
            return Err(format!(
                "the filter has a range with two ends over `{name}`, which is {}: Weaviate would look for an element above the one and another \
                 below the other; give one end, or declare the field without `[]`",
                field.kind
            ));
        }
        Comparison::Numbers(lower, upper) => {
            let end = |bound: &Option<Bound<f64>>, operators| {
                bound.as_ref().map(|bound| of(end(bound.inclusive, operators), Operand::Number(bound.at)))
            };
            both([end(lower, ABOVE), end(upper, BELOW)])
        }
        Comparison::Texts(lower, upper) => texts_within(name, lower.as_ref(), upper.as_ref())?,
    })
}

const ABOVE: [Operator; 2] = [Operator::GreaterThan, Operator::GreaterThanEqual];
const BELOW: [Operator; 2] = [Operator::LessThan, Operator::LessThanEqual];

fn end(inclusive: bool, operators: [Operator; 2]) -> Operator {
    operators[usize::from(inclusive)]
}

fn texts_within(name: &str, lower: Option<&Bound<String>>, upper: Option<&Bound<String>>) -> Result<Filters, String> {
    if [lower, upper].into_iter().flatten().any(|bound| is_padded(&bound.at)) {
        return Err(format!(
            "the filter has a range over `{name}` with white space at the end of a bound, which Weaviate takes off: leave it out"
        ));
    }
    let at = |bound: &Bound<String>, operators| {
        single(name, end(bound.inclusive, operators), Operand::Text(bound.at.clone()))
    };
    // Every text lies above the empty one, and none below.
    let nothing_below = upper.is_some_and(|upper| upper.at.is_empty());
    let indexed = (!nothing_below).then(|| {
        let lowest = Bound { at: "\0".to_owned(), inclusive: true };
        let lower = lower.map(|lower| if lower.at.is_empty() { &lowest } else { lower });
        both([lower.map(|lower| at(lower, ABOVE)), upper.map(|upper| at(upper, BELOW))])
    });
    let holds_empty = lower.is_none_or(|lower| lower.at.is_empty() && lower.inclusive)
        && upper.is_none_or(|upper| !upper.at.is_empty() || upper.inclusive);
    Ok(any(indexed.into_iter().chain(holds_empty.then(|| there(has_empty(name)))).collect()))
}

fn there(mark: String) -> Filters {
    single(THERE, Operator::ContainsAny, Operand::Texts(Texts { values: vec![mark] }))
}

/// No document has this mark.
fn never() -> Filters {
    there("!".to_owned())
}

fn both(ends: [Option<Filters>; 2]) -> Filters {
    let mut ends: Vec<Filters> = ends.into_iter().flatten().collect();
    if ends.len() == 1 { ends.remove(0) } else { joined(Operator::And, ends) }
}

fn any(mut filters: Vec<Filters>) -> Filters {
    match filters.len() {
        0 => never(),
        1 => filters.remove(0),
        _ => joined(Operator::Or, filters),
    }
}

fn joined(operator: Operator, filters: Vec<Filters>) -> Filters {
    Filters { operator: operator.into(), filters, ..Filters::default() }
}

fn single(property: &str, operator: Operator, operand: Operand) -> Filters {
    let target = Target { property: property.to_owned() };
    Filters { operator: operator.into(), filters: Vec::new(), operand: Some(operand), target: Some(target) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use crate::index::Filter;
    use crate::index::external::typed::{Fields, Sought};

    use super::*;

    fn translated(filter: Value) -> Result<String, String> {
        let declared: BTreeMap<_, _> =
            serde_yaml::from_str("{ category: text, price: number, sale: boolean, tags: 'text[]', sizes: 'number[]' }")
                .unwrap();
        let fields = Fields::new(&declared);
        let filter = Filter::from_json(&filter).unwrap();
        let Ok(Sought::Where(typed)) = fields.filter(Some(&filter)) else { panic!() };
        translate(&typed).map(|filters| shown(&filters))
    }

    fn shown(filters: &Filters) -> String {
        let operator = format!("{:?}", filters.operator());
        match &filters.target {
            Some(target) => {
                let operand = match filters.operand.as_ref().unwrap() {
                    Operand::Text(text) => format!("{text:?}"),
                    Operand::Boolean(boolean) => boolean.to_string(),
                    Operand::Number(number) => number.to_string(),
                    Operand::Texts(texts) => format!("{:?}", texts.values),
                    Operand::Numbers(numbers) => format!("{:?}", numbers.values),
                };
                format!("{} {operator} {operand}", target.property)
            }
            None => format!("{operator}({})", filters.filters.iter().map(shown).collect::<Vec<_>>().join(", ")),
        }
    }

    #[test]
    fn every_operator() {
        for (filter, expected) in [
            (json!({"category": "shoes"}), "category ContainsAny [\"shoes\"]"),
            (json!({"price": {"in": [1, 2.5]}}), "price ContainsAny [1.0, 2.5]"),
            (json!({"sale": true}), "sale Equal true"),
            (json!({"sale": {"in": [true, false]}}), "Or(sale Equal false, sale Equal true)"),
            (json!({"price": {"gte": 10, "lt": 50}}), "And(price GreaterThanEqual 10, price LessThan 50)"),
            (json!({"sizes": {"gt": 10}}), "sizes GreaterThan 10"),
            (
                json!({"category": {"lt": "m"}}),
                "Or(category LessThan \"m\", vectide_there ContainsAny [\"category:empty\"])",
            ),
            (
                json!({"category": {"gte": "m", "lte": "n"}}),
                "And(category GreaterThanEqual \"m\", category LessThanEqual \"n\")",
            ),
            (json!({"tags": {"exists": false}}), "Not(vectide_there ContainsAny [\"tags\"])"),
            (json!({"not": {"category": "shoes"}}), "Not(category ContainsAny [\"shoes\"])"),
            (
                json!({"or": [{"price": 1}, {"and": [{"category": "a"}, {"price": 2}]}]}),
                "Or(price ContainsAny [1.0], And(category ContainsAny [\"a\"], price ContainsAny [2.0]))",
            ),
        ] {
            assert_eq!(translated(filter.clone()).as_deref(), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn empty_texts_and_those_with_white_space_at_an_end() {
        for (filter, expected) in [
            (json!({"category": ""}), "vectide_there ContainsAny [\"category:empty\"]"),
            (
                json!({"category": {"in": ["", "a"]}}),
                "Or(category ContainsAny [\"a\"], vectide_there ContainsAny [\"category:empty\"])",
            ),
            (json!({"category": " a"}), "vectide_there ContainsAny [\"!\"]"),
            (json!({"category": {"gt": ""}}), "category GreaterThanEqual \"\\0\""),
            (
                json!({"category": {"gte": ""}}),
                "Or(category GreaterThanEqual \"\\0\", vectide_there ContainsAny [\"category:empty\"])",
            ),
            (json!({"category": {"lt": ""}}), "vectide_there ContainsAny [\"!\"]"),
            (json!({"category": {"lte": ""}}), "vectide_there ContainsAny [\"category:empty\"]"),
        ] {
            assert_eq!(translated(filter.clone()).as_deref(), Ok(expected), "{filter}");
        }
        assert!(translated(json!({"category": {"gt": "a "}})).unwrap_err().contains("white space"));
    }

    #[test]
    fn a_range_with_two_ends_over_a_list_is_refused() {
        for filter in [json!({"sizes": {"gt": 1, "lt": 3}}), json!({"not": {"tags": {"gt": "a", "lt": "c"}}})] {
            assert!(translated(filter).unwrap_err().contains("two ends"));
        }
    }
}
