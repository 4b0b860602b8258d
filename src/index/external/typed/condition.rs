//! A filter over declared fields: with constants worked out, and `not` brought down to the single conditions.

use crate::index::filter::{self, Bound, Condition, Filter, Range, Scalar};
use crate::settings::field_kind::FieldKind;

use super::{Field, Fields, Values, float};

/// Which documents a filter lets through.
#[derive(Debug, PartialEq)]
pub enum Sought<'a> {
    /// All of them.
    Everything,
    /// None of them.
    Nothing,
    /// Those that the condition holds for.
    Where(Typed<'a>),
}

/// A condition as a system with typed fields can say it.
#[derive(Debug, PartialEq)]
pub enum Typed<'a> {
    /// All hold: at least two.
    All(Vec<Self>),
    /// At least one holds, of at least two.
    Any(Vec<Self>),
    /// The comparison holds for a field of the document.
    Is(&'a Field, Comparison),
    /// It does not hold, or the document lacks the field.
    Not(&'a Field, Comparison),
}

/// What a field is compared with. It holds for a list when it holds for any of its elements.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparison {
    /// One of these: at least one, ascending, of the field's type.
    OneOf(Values),
    /// A text between two bounds, of which at least one is set.
    Texts(Option<Bound<String>>, Option<Bound<String>>),
    /// A number between two bounds, of which at least one is set.
    Numbers(Option<Bound<f64>>, Option<Bound<f64>>),
    /// With nothing: it is enough that the document has the field.
    There,
}

impl Fields {
    /// The filter over these fields; without one, everything is sought.
    ///
    /// # Errors
    /// A field that is not declared, with what to do.
    pub fn filter(&self, filter: Option<&Filter>) -> Result<Sought<'_>, String> {
        filter.map_or(Ok(Sought::Everything), |filter| self.condition(filter.condition(), true))
    }

    /// `wanted`: whether the condition must hold, or must not.
    fn condition(&self, condition: &Condition, wanted: bool) -> Result<Sought<'_>, String> {
        match (condition, wanted) {
            (Condition::Not(condition), _) => self.condition(condition, !wanted),
            // None of them holds when each does not, and so the other way round.
            (Condition::All(all), true) | (Condition::Any(all), false) => {
                Ok(joined(self.conditions(all, wanted)?, Sought::Nothing, Sought::Everything, Typed::All))
            }
            (Condition::Any(any), true) | (Condition::All(any), false) => {
                Ok(joined(self.conditions(any, wanted)?, Sought::Everything, Sought::Nothing, Typed::Any))
            }
            (Condition::Field(field, predicate), _) => self.single(field, predicate, wanted),
        }
    }

    fn conditions(&self, conditions: &[Condition], wanted: bool) -> Result<Vec<Sought<'_>>, String> {
        conditions.iter().map(|condition| self.condition(condition, wanted)).collect()
    }

    fn single(&self, field: &filter::Field, predicate: &filter::Predicate, wanted: bool) -> Result<Sought<'_>, String> {
        let field = self.named(field).ok_or_else(|| {
            format!(
                "the filter names the field `{}`, which is not declared: this index filters by the fields that `index.metadata` lists with their \
                 types, like `index: {{ metadata: {{ category: text }} }}`",
                field.written
            )
        })?;
        let (comparison, wanted) = match predicate {
            filter::Predicate::OneOf(values) => (field.one_of(values), wanted),
            filter::Predicate::Within(range) => (field.within(range), wanted),
            filter::Predicate::Exists(exists) => (Some(Comparison::There), wanted == *exists),
        };
        Ok(match (comparison, wanted) {
            (Some(comparison), true) => Sought::Where(Typed::Is(field, comparison)),
            (Some(comparison), false) => Sought::Where(Typed::Not(field, comparison)),
            // A value of another type is in no document.
            (None, true) => Sought::Nothing,
            (None, false) => Sought::Everything,
        })
    }
}

/// `all` or `any` of these: one that `decides` does so alone, and one that is `idle` has nothing to say.
fn joined<'a>(
    conditions: Vec<Sought<'a>>,
    decides: Sought<'a>,
    idle: Sought<'a>,
    join: fn(Vec<Typed<'a>>) -> Typed<'a>,
) -> Sought<'a> {
    if conditions.contains(&decides) {
        return decides;
    }
    let condition = |sought| if let Sought::Where(typed) = sought { Some(typed) } else { None };
    let mut rest: Vec<Typed<'a>> = conditions.into_iter().filter_map(condition).collect();
    match rest.len() {
        0 => idle,
        1 => Sought::Where(rest.remove(0)),
        _ => Sought::Where(join(rest)),
    }
}

impl Field {
    /// `None` when no value of this type is among them.
    fn one_of(&self, values: &filter::Values) -> Option<Comparison> {
        let values = match self.kind {
            FieldKind::Text | FieldKind::Texts => {
                let mut texts: Vec<String> = values.texts.iter().cloned().collect();
                texts.sort_unstable();
                Values::Texts(texts)
            }
            FieldKind::Number | FieldKind::Numbers => {
                // Beyond 2^53 no whole number is in the index, and floats compare as floats.
                let mut numbers: Vec<f64> = values.numbers().map(float).collect();
                numbers.sort_unstable_by(f64::total_cmp);
                numbers.dedup();
                Values::Numbers(numbers)
            }
            FieldKind::Boolean | FieldKind::Booleans => {
                let mut booleans = values.booleans.clone();
                booleans.sort_unstable();
                booleans.dedup();
                Values::Booleans(booleans)
            }
        };
        (!values.is_empty()).then_some(Comparison::OneOf(values))
    }

    /// `None` when no value of this type is in it.
    fn within(&self, range: &Range) -> Option<Comparison> {
        match self.kind {
            FieldKind::Text | FieldKind::Texts => {
                let text = |scalar: &Scalar| match scalar {
                    Scalar::Text(text) => Some(text.clone()),
                    Scalar::Number(_) => None,
                };
                Some(Comparison::Texts(typed(range.lower.as_ref(), text)?, typed(range.upper.as_ref(), text)?))
            }
            FieldKind::Number | FieldKind::Numbers => {
                let number = |scalar: &Scalar| match scalar {
                    Scalar::Number(number) => number.as_f64().map(float),
                    Scalar::Text(_) => None,
                };
                Some(Comparison::Numbers(typed(range.lower.as_ref(), number)?, typed(range.upper.as_ref(), number)?))
            }
            FieldKind::Boolean | FieldKind::Booleans => None,
        }
    }
}

/// `None` when the bound is of another type; `Some(None)` when there is none.
fn typed<T>(bound: Option<&Bound>, read: impl Fn(&Scalar) -> Option<T>) -> Option<Option<Bound<T>>> {
    let Some(bound) = bound else { return Some(None) };
    Some(Some(Bound { at: read(&bound.at)?, inclusive: bound.inclusive }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn fields() -> Fields {
        let declared = "{ a: text, b: number, c: 'text[]', d: 'number[]', e: boolean, and: number }";
        Fields::new(&serde_yaml::from_str::<BTreeMap<_, _>>(declared).unwrap())
    }

    /// What a system that keeps its promises would answer.
    fn holds(typed: &Typed, has: &[(&Field, Values)]) -> bool {
        let of = |field: &Field| has.iter().find(|(own, _)| *own == field).map(|(_, values)| values);
        match typed {
            Typed::All(all) => all.iter().all(|typed| holds(typed, has)),
            Typed::Any(any) => any.iter().any(|typed| holds(typed, has)),
            Typed::Is(field, comparison) => of(field).is_some_and(|values| is(comparison, values)),
            Typed::Not(field, comparison) => !of(field).is_some_and(|values| is(comparison, values)),
        }
    }

    fn inside<T: PartialOrd>(value: &T, lower: &Option<Bound<T>>, upper: &Option<Bound<T>>) -> bool {
        lower.as_ref().is_none_or(|lower| *value > lower.at || lower.inclusive && *value == lower.at)
            && upper.as_ref().is_none_or(|upper| *value < upper.at || upper.inclusive && *value == upper.at)
    }

    fn is(comparison: &Comparison, values: &Values) -> bool {
        match (comparison, values) {
            (Comparison::There, _) => true,
            (Comparison::OneOf(Values::Texts(wanted)), Values::Texts(texts)) => {
                texts.iter().any(|text| wanted.contains(text))
            }
            (Comparison::OneOf(Values::Numbers(wanted)), Values::Numbers(numbers)) => {
                numbers.iter().any(|n| wanted.contains(n))
            }
            (Comparison::OneOf(Values::Booleans(wanted)), Values::Booleans(own)) => {
                own.iter().any(|b| wanted.contains(b))
            }
            (Comparison::Texts(lower, upper), Values::Texts(texts)) => {
                texts.iter().any(|text| inside(text, lower, upper))
            }
            (Comparison::Numbers(lower, upper), Values::Numbers(numbers)) => {
                numbers.iter().any(|n| inside(n, lower, upper))
            }
            _ => panic!("a comparison of another type than the field's: {comparison:?} {values:?}"),
        }
    }

    #[test]
    fn constants_are_worked_out_and_not_goes_down() {
        let fields = fields();
        let typed = |json: Value| fields.filter(Some(&Filter::from_json(&json).unwrap())).unwrap();
        assert_eq!(fields.filter(None), Ok(Sought::Everything));
        assert_eq!(typed(json!({})), Sought::Everything);
        assert_eq!(typed(json!({"or": []})), Sought::Nothing);
        assert_eq!(typed(json!({"a": 1})), Sought::Nothing, "no text is a number");
        assert_eq!(typed(json!({"not": {"a": {"gt": 1}}})), Sought::Everything);
        assert_eq!(typed(json!({"e": {"gt": 1}})), Sought::Nothing);
        assert_eq!(typed(json!({"or": [{"a": 1}, {"e": true}]})), typed(json!({"e": true})));
        assert_eq!(typed(json!({"and": [{"a": "x"}, {"or": []}]})), Sought::Nothing);
        assert_eq!(typed(json!({"/a": "x"})), typed(json!({"a": "x"})));
        let Sought::Where(Typed::Any(both)) = typed(json!({"not": {"a": "x", "b": {"exists": false}}})) else {
            panic!()
        };
        assert!(
            matches!(&both[..], [Typed::Not(a, _), Typed::Is(b, Comparison::There)] if a.name == "a" && b.name == "b")
        );
    }

    #[test]
    fn what_is_not_declared_is_refused_by_the_name_that_was_written() {
        for written in ["colour", "/maker/colour", "/maker"] {
            let filter = Filter::from_json(&json!({"not": {written: "red"}})).unwrap();
            let filter = filter.for_metadata(&["colour", "/maker"].map(str::to_owned)).unwrap();
            let error = fields().filter(Some(&filter)).unwrap_err();
            assert!(error.contains(&format!("`{written}`")) && error.contains("index.metadata"), "{error}");
        }
    }

    fn number() -> impl Strategy<Value = Value> {
        let near = (-2..3_i64, prop_oneof![Just(0), Just(1 << 53), Just(-(1 << 53)), Just(i64::MAX - 5)]);
        (near, 0..3).prop_map(|((step, base), kind)| match kind {
            0 => json!(base + step),
            1 => json!((base + step) as f64),
            _ => json!((base + step) as f64 / 2.0),
        })
    }

    fn metadata() -> impl Strategy<Value = Value> {
        let text = || "[a-c]{0,2}".prop_map(Value::from);
        let texts = prop_oneof![
            text(),
            proptest::collection::vec(prop_oneof![text(), Just(Value::Null)], 0..3).prop_map(Value::from)
        ];
        let numbers = prop_oneof![number(), proptest::collection::vec(number(), 0..3).prop_map(Value::from)];
        let own = (
            proptest::option::of(text()),
            proptest::option::of(number()),
            proptest::option::of(texts),
            proptest::option::of(numbers),
            proptest::option::of(any::<bool>()),
        );
        own.prop_map(|(a, b, c, d, e)| json!({"a": a, "b": b, "c": c, "d": d, "e": e}))
    }

    fn some_filter() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![number(), "[a-c]{0,2}".prop_map(Value::from)];
        let one = prop_oneof![scalar.clone(), any::<bool>().prop_map(Value::from)];
        let leaf = ("[a-e]", one, scalar, 0..5_u8).prop_map(|(name, value, bound, kind)| match kind {
            0 => json!({name: value}),
            1 => json!({name: {"in": [value, bound]}}),
            2 => json!({name: {"gte": bound}}),
            3 => json!({name: {"lt": bound}}),
            _ => json!({name: {"exists": true}}),
        });
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|all| json!({"and": all})),
                proptest::collection::vec(inner.clone(), 0..3).prop_map(|any| json!({"or": any})),
                inner.prop_map(|not| json!({"not": not})),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_says_what_the_filter_says(filter in some_filter(), metadata in metadata()) {
            let fields = fields();
            // What the index refuses is not in it.
            let Ok(has) = fields.read(&metadata.to_string()) else { return Ok(()) };
            let filter = Filter::from_json(&filter).unwrap();
            let holds = match fields.filter(Some(&filter)).unwrap() {
                Sought::Everything => true,
                Sought::Nothing => false,
                Sought::Where(typed) => holds(&typed, &has),
            };
            prop_assert_eq!(holds, filter.matches(&metadata));
        }
    }
}
