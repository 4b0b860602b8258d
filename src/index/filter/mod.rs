//! Which documents count in a search, by their metadata.
//!
//! A filter is a JSON object. Each key names a metadata field and says what it must be; several keys must all hold.
//!
//! | filter | matches when |
//! |---|---|
//! | `{"category": "shoes"}` | the field is this text, number or boolean; `1` and `1.0` are one number |
//! | `{"price": {"gte": 10, "lt": 50}}` | the field lies in the range: `gt`, `gte`, `lt`, `lte`, over numbers or over texts |
//! | `{"brand": {"in": ["a", "b"]}}` | the field is one of these |
//! | `{"brand": {"exists": true}}` | the document has the field; `false`: it has not |
//! | `{"and": [f, g]}` | all hold |
//! | `{"or": [f, g]}` | at least one holds |
//! | `{"not": f}` | it does not hold |
//! | `{}` | always |
//!
//! Texts compare by their characters' code points, so RFC 3339 times of one offset and one precision compare as times.
//! A field that is a list matches when any of its elements does. A key that starts with `/` is a JSON pointer into
//! nested metadata: `{"/maker/country": "SE"}`; it also reaches a field that is called `and`: `{"/and": 1}`. A number
//! never equals a text, and a field that the document has not is neither equal to anything nor in any range. One that is `null` is the
//! same as none.

mod read;

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::{Number, Value};

use crate::document::{pointer_key, quoted};
use crate::settings::nearest::nearest;

/// Whole numbers nearer to zero are the same as floats, and no other number becomes one of them by rounding.
pub const MAX_EXACT: u64 = 1 << 53;

/// A condition on metadata. The module's text is the reference of its JSON form.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Condition);

/// One node of a filter. Outside indexes translate it into their own language.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All hold; always, when there are none.
    All(Vec<Condition>),
    /// At least one holds; never, when there are none.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// The predicate holds for a field; for one that is a list, when it holds for any of its elements.
    Field(Field, Predicate),
}

/// Where in the metadata to look.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// As the filter names it, to show.
    pub written: String,
    /// The keys on the way to it, the outermost first. Inside a list, one is a place, from 0.
    pub path: Vec<String>,
}

/// What a field must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// One of these.
    OneOf(Values),
    /// In this range.
    Within(Range),
    /// There and not null; or with `false` the opposite.
    Exists(bool),
}

/// The values of an `in`. There may be many, and each document is compared with them: texts are found by hash, numbers in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Values {
    /// Texts.
    pub texts: HashSet<String>,
    /// Whole numbers, ascending. A field that is a float of the same value equals one.
    pub integers: Vec<i128>,
    /// Numbers with a fraction or beyond 64 bits, ascending.
    pub floats: Vec<f64>,
    /// Booleans.
    pub booleans: Vec<bool>,
}

/// What lies between two bounds of one kind; at least one of them is set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Range {
    /// Nothing below it.
    pub lower: Option<Bound>,
    /// Nothing above it.
    pub upper: Option<Bound>,
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound<T = Scalar> {
    /// Where.
    pub at: T,
    /// Whether what is equal lies inside.
    pub inclusive: bool,
}

/// What has an order. A field of the other kind is in no range.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Numbers compare by value, whole or not.
    Number(Number),
    /// Texts compare by code points.
    Text(String),
}

impl Filter {
    /// Reads a filter from its JSON form.
    ///
    /// # Errors
    /// A sentence that names the place in the filter and what is allowed there.
    pub fn from_json(json: &Value) -> Result<Self, String> {
        read::read(json).map(Self)
    }

    /// This filter, with its pointers resolved against the names listed in `document.metadata`. Metadata stand under their names, so one
    /// that is named by a pointer into the record, `/product/brand`, is a single key of theirs, and what lies inside it is
    /// `/product/brand/country`.
    ///
    /// # Errors
    /// It asks for a field that is not listed, which no document has: a sentence that names the field.
    pub fn for_metadata(self, names: &[String]) -> Result<Self, String> {
        self.0.for_metadata(names).map(Self)
    }

    /// What it says, to translate it.
    pub fn condition(&self) -> &Condition {
        &self.0
    }

    /// Whether a document with this metadata counts. Metadata that is no object has no fields.
    pub fn matches(&self, metadata: &Value) -> bool {
        self.0.matches(metadata)
    }
}

impl Condition {
    fn for_metadata(self, names: &[String]) -> Result<Self, String> {
        let all = |conditions: Vec<Self>| -> Result<Vec<_>, _> {
            conditions.into_iter().map(|inner| inner.for_metadata(names)).collect()
        };
        Ok(match self {
            Self::All(conditions) => Self::All(all(conditions)?),
            Self::Any(conditions) => Self::Any(all(conditions)?),
            Self::Not(condition) => Self::Not(Box::new(condition.for_metadata(names)?)),
            Self::Field(field, predicate) => Self::Field(field.for_metadata(names)?, predicate),
        })
    }

    fn matches(&self, metadata: &Value) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|condition| condition.matches(metadata)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.matches(metadata)),
            Self::Not(condition) => !condition.matches(metadata),
            Self::Field(field, predicate) => predicate.holds(field.of(metadata)),
        }
    }
}

impl Field {
    fn named(written: &str) -> Self {
        let path = match written.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(pointer_key).collect(),
            None => vec![written.to_owned()],
        };
        Self { written: written.to_owned(), path }
    }

    fn for_metadata(mut self, names: &[String]) -> Result<Self, String> {
        let within = |name: &&String| {
            let rest = self.written.strip_prefix(name.as_str());
            name.starts_with('/') && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let longest = names.iter().filter(within).max_by_key(|name| name.len());
        // Unless that was done before.
        if let Some(name) = longest.filter(|name| self.path.first() != Some(name)) {
            let keys = name.matches('/').count();
            self.path.splice(..keys, [name.clone()]);
        }
        if self.path.first().is_some_and(|first| names.contains(first)) {
            return Ok(self);
        }
        let meant = nearest(&self.written, names.iter().map(String::as_str));
        Err(format!(
            "filter: no document has a metadata field {}; the fields to filter by are those of `document.metadata`{}",
            quoted(&self.written),
            meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
        ))
    }

    /// Its path, if it consists of keys. `None` where only the metadata could tell: a number may be a key or a place in a list.
    pub fn keys(&self) -> Option<&[String]> {
        // The metadata themselves are no list.
        let may_be_place = |key: &String| key.bytes().all(|byte| byte.is_ascii_digit());
        (!self.path.iter().skip(1).any(may_be_place)).then_some(&self.path)
    }

    /// The field's value; `null` is the same as no field.
    fn of<'a>(&self, metadata: &'a Value) -> Option<&'a Value> {
        let inside = |value: &'a Value, key: &String| match value {
            Value::Object(fields) => fields.get(key),
            Value::Array(elements) => elements.get(place(key)?),
            _ => None,
        };
        self.path.iter().try_fold(metadata, inside).filter(|value| !value.is_null())
    }
}

/// A place in a list, as RFC 6901 writes it: without a sign, and without zeros in front.
fn place(key: &str) -> Option<usize> {
    key.parse().ok().filter(|place: &usize| place.to_string() == key)
}

impl Predicate {
    fn holds(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else { return *self == Self::Exists(false) };
        let one = |value: &Value| match self {
            Self::OneOf(values) => values.contain(value),
            Self::Within(range) => range.contains(value),
            Self::Exists(wanted) => *wanted,
        };
        match (self, value) {
            (Self::OneOf(_) | Self::Within(_), Value::Array(elements)) => elements.iter().any(one),
            _ => one(value),
        }
    }
}

impl Values {
    /// Takes one value in; false when it is none that a field can be compared with.
    fn add(&mut self, value: &Value) -> bool {
        match value {
            Value::String(text) => {
                self.texts.insert(text.clone());
            }
            Value::Number(number) => match (number.as_i128(), number.as_f64()) {
                (Some(integer), _) => self.integers.push(integer),
                (None, float) => self.floats.extend(float),
            },
            Value::Bool(boolean) => self.booleans.push(*boolean),
            Value::Null | Value::Array(_) | Value::Object(_) => return false,
        }
        true
    }

    /// Brings the numbers in their order: what [`Values::contain`] rests on.
    fn sorted(mut self) -> Self {
        self.integers.sort_unstable();
        self.floats.sort_unstable_by(f64::total_cmp);
        self
    }

    /// Its numbers as a system has them that knows floats only. Beyond 2^53 a whole number becomes the nearest one.
    pub fn numbers(&self) -> impl Iterator<Item = f64> {
        self.integers.iter().map(|integer| *integer as f64).chain(self.floats.iter().copied())
    }

    fn contain(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.texts.contains(text),
            Value::Number(number) => self.contain_number(number),
            Value::Bool(boolean) => self.booleans.contains(boolean),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }

    /// By the rule of [`compare`]. Integers in ascending order are in ascending order as floats too.
    fn contain_number(&self, number: &Number) -> bool {
        let Some(float) = number.as_f64() else { return false };
        let among_floats = || self.floats.binary_search_by(|own| order(*own, float)).is_ok();
        match number.as_i128() {
            Some(integer) => self.integers.binary_search(&integer).is_ok() || among_floats(),
            None => among_floats() || self.integers.binary_search_by(|own| order(*own as f64, float)).is_ok(),
        }
    }
}

/// The order of finite floats, in which -0 and 0 are equal.
fn order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

impl Range {
    fn contains(&self, value: &Value) -> bool {
        let beyond = |bound: &Option<Bound>, inside: Ordering| {
            bound.as_ref().is_none_or(|bound| match bound.at.order(value) {
                Some(Ordering::Equal) => bound.inclusive,
                Some(order) => order == inside,
                None => false,
            })
        };
        beyond(&self.lower, Ordering::Less) && beyond(&self.upper, Ordering::Greater)
    }
}

impl Scalar {
    fn from_json(json: &Value) -> Option<Self> {
        match json {
            Value::Number(number) => Some(Self::Number(number.clone())),
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// How this compares with a value; nothing when the kinds differ.
    fn order(&self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Number(own), Value::Number(other)) => compare(own, other),
            (Self::Text(own), Value::String(other)) => Some(own.as_str().cmp(other)),
            _ => None,
        }
    }
}

/// Integers compare exactly; as soon as one side has a fraction, both compare as 64-bit floats.
fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn filter(json: &Value) -> Filter {
        Filter::from_json(json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn what_matches_what() {
        let shoe = json!({
            "category": "shoes", "price": 49.5, "stock": 3, "sale": true, "brand": null, "sizes": [38, 39.0, "XL"],
            "none": [], "added": "2026-03-01T10:00:00Z", "maker": {"country": "SE", "a/b": 1}, "and": 7,
            "big": 9_007_199_254_740_993_u64,
        });
        for (json, expected) in [
            (json!({}), true),
            (json!({"category": "shoes"}), true),
            (json!({"category": "shoe"}), false),
            (json!({"category": "shoes", "sale": false}), false),
            (json!({"category": "shoes", "sale": true}), true),
            (json!({"stock": 3.0}), true),
            (json!({"stock": "3"}), false),
            (json!({"big": 9_007_199_254_740_993_u64}), true),
            (json!({"big": 9_007_199_254_740_992_u64}), false),
            (json!({"missing": "x"}), false),
            (json!({"price": {"gte": 10, "lt": 50}}), true),
            (json!({"price": {"gte": 10, "lt": 49.5}}), false),
            (json!({"price": {"lte": 49.5}}), true),
            (json!({"price": {"gt": 49.5}}), false),
            (json!({"price": {"gt": "1"}}), false),
            (json!({"missing": {"gt": 0}}), false),
            (json!({"added": {"gte": "2026-03-01", "lt": "2026-04-01"}}), true),
            (json!({"added": {"gte": "2026-03-02"}}), false),
            (json!({"category": {"in": ["boots", "shoes"]}}), true),
            (json!({"stock": {"in": [1, 2, 3]}}), true),
            (json!({"sale": {"in": ["true"]}}), false),
            (json!({"category": {"in": []}}), false),
            (json!({"category": {"exists": true}}), true),
            (json!({"none": {"exists": true}}), true),
            (json!({"brand": {"exists": true}}), false),
            (json!({"brand": {"exists": false}}), true),
            (json!({"missing": {"exists": false}}), true),
            (json!({"sizes": 39}), true),
            (json!({"sizes": "XL"}), true),
            (json!({"sizes": 40}), false),
            (json!({"sizes": {"gt": 38, "lt": 40}}), true),
            (json!({"none": 1}), false),
            (json!({"/maker/country": "SE"}), true),
            (json!({"/maker/a~1b": 1}), true),
            (json!({"maker": "SE"}), false),
            (json!({"/sizes/0": 38}), true),
            (json!({"/sizes/00": 38}), false),
            (json!({"/sizes/+1": 39}), false),
            (json!({"/sizes/3": {"exists": false}}), true),
            (json!({"/and": 7}), true),
            (json!({"and": [{"category": "shoes"}, {"stock": 4}]}), false),
            (json!({"or": [{"category": "boots"}, {"stock": 3}]}), true),
            (json!({"and": []}), true),
            (json!({"or": []}), false),
            (json!({"not": {"category": "boots"}}), true),
            (json!({"not": {"missing": 1}, "stock": 3}), true),
            (json!({"price": {"gte": 10, "exists": true, "in": [49.5]}}), true),
            (json!({"price": {"gte": 10, "in": [50]}}), false),
        ] {
            assert_eq!(filter(&json).matches(&shoe), expected, "{json}");
        }
        assert!(!filter(&json!({"a": 1})).matches(&json!("no object")));
    }

    #[test]
    fn metadata_that_are_named_by_a_pointer_are_found_by_that_name() {
        let names = ["/product/brand", "/product/brand/since", "maker", "/product/a~b", "/other"].map(str::to_owned);
        let metadata = json!({
            "/product/brand": {"name": "acme"}, "/product/brand/since": 1900, "maker": {"country": "SE"}, "/product/a~b": 1,
            "/other": 1,
        });
        let matches = |filter: Value| {
            let resolved = Filter::from_json(&filter).unwrap().for_metadata(&names).unwrap();
            assert_eq!(resolved.clone().for_metadata(&names).as_ref(), Ok(&resolved));
            resolved.matches(&metadata)
        };
        for filter in [
            json!({"/product/brand/name": "acme"}),
            json!({"/product/brand/since": 1900}),
            json!({"/product/brand": {"exists": true}}),
            json!({"/product/a~b": 1}),
            json!({"/maker/country": "SE"}),
            json!({"/~1other": 1}),
            json!({"or": [{"/product/brand/since": 1}, {"and": [{"/product/brand/name": "acme"}]}]}),
        ] {
            assert!(matches(filter.clone()), "{filter}");
            assert!(!matches(json!({"not": filter})), "not {filter}");
        }
    }

    #[test]
    fn a_field_that_is_not_listed_is_refused_wherever_it_is_asked_for() {
        let names = ["brand", "/product/brand"].map(str::to_owned);
        for (filter, named) in [
            (
                json!({"brnd": "acme"}),
                "field `brnd`; the fields to filter by are those of `document.metadata`; did you mean `brand`?",
            ),
            (json!({"not": {"colour": "red"}}), "field `colour`; the fields"),
            (
                json!({"or": [{"brand": "acme"}, {"and": [{"/maker/country": {"exists": false}}]}]}),
                "field `/maker/country`;",
            ),
            (json!({"/product": {"exists": true}}), "field `/product`;"),
        ] {
            let error = Filter::from_json(&filter).unwrap().for_metadata(&names).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        for filter in [json!({}), json!({"/brand/since": 1900}), json!({"/product/brand/since": 1900})] {
            Filter::from_json(&filter).unwrap().for_metadata(&names).unwrap();
        }
    }

    #[test]
    fn a_field_has_keys_unless_a_number_may_be_one_or_a_place() {
        let keys = |field: &str| Field::named(field).keys().map(<[String]>::to_vec);
        assert_eq!(keys("a/b.c"), Some(vec!["a/b.c".to_owned()]));
        assert_eq!((keys("0"), keys("/0")), (Some(vec!["0".to_owned()]), keys("0")));
        assert_eq!(keys("/maker/a~1b~0/c"), Some(vec!["maker".to_owned(), "a/b~".to_owned(), "c".to_owned()]));
        assert_eq!((keys("/sizes/0"), keys("/a//b")), (None, None));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            Just("and".to_owned()),
            Just("or".to_owned()),
            Just("not".to_owned()),
            Just("in".to_owned()),
            Just("gt".to_owned()),
            Just("exists".to_owned()),
            "[/~a-c]{0,3}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 48, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map(key.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn some_filter() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![(0..4_i64).prop_map(Value::from), "[a-c]".prop_map(Value::from)];
        let leaf = ("[a-c]", scalar, 0..4_u8).prop_map(|(name, value, kind)| match kind {
            0 => json!({name: value}),
            1 => json!({name: {"in": [value, 1]}}),
            2 => json!({name: {"gte": value}}),
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

    fn some_metadata() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![Just(Value::Null), (0..4_i64).prop_map(Value::from), "[a-c]".prop_map(Value::from)];
        let value = prop_oneof![scalar.clone(), proptest::collection::vec(scalar, 0..3).prop_map(Value::from)];
        proptest::collection::hash_map("[a-c]", value, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        /// A list is searched by order; one comparison after the other would find the same.
        #[test]
        fn a_number_is_in_a_list_when_it_equals_one_of_it(
            list in proptest::collection::vec(number(), 0..20),
            sought in number(),
        ) {
            let expected = list.iter().any(|own| compare(own, &sought) == Some(Ordering::Equal));
            let found = filter(&json!({"n": {"in": list}})).matches(&json!({"n": sought}));
            prop_assert_eq!(found, expected);
        }
    }

    /// Numbers of all kinds that lie close together, at zero and where floats have gaps.
    fn number() -> impl Strategy<Value = Number> {
        let near = (0..4_u64, prop_oneof![Just(0), Just(1 << 53), Just(u64::MAX - 5_000)]);
        (near, 0..4).prop_map(|((step, base), kind)| match kind {
            0 => Number::from(base + step),
            1 => Number::from(-(step as i64)),
            2 => Number::from_f64(-((base + step) as f64) / 2.0).expect("it is finite"),
            _ => Number::from_f64((base + step) as f64).expect("it is finite"),
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(json in any_json(), metadata in any_json()) {
            match Filter::from_json(&json) {
                Ok(filter) => { filter.matches(&metadata); }
                Err(error) => prop_assert!(error.starts_with("filter")),
            }
        }

        #[test]
        fn logic_holds(a in some_filter(), b in some_filter(), metadata in some_metadata()) {
            let matches = |json: Value| filter(&json).matches(&metadata);
            let (left, right) = (matches(a.clone()), matches(b.clone()));
            prop_assert_eq!(matches(json!({"not": {"not": a}})), left);
            prop_assert_eq!(matches(json!({"not": {"and": [a, b]}})), !left || !right);
            prop_assert_eq!(matches(json!({"or": [{"not": a}, {"not": b}]})), !left || !right);
            prop_assert_eq!(matches(json!({"not": {"or": [a, b]}})), !left && !right);
        }
    }
}
