//! The configuration as a tree of plain values that remember where they came from.

use std::collections::BTreeMap;

use super::problem::{Place, Step};

/// A value of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it came from when that is not the file itself: an environment variable or `--set`. Such a text takes the type that
    /// is asked for (`"100"` is a number where a number is needed), and is never shown, because it may be a secret.
    pub origin: Option<String>,
}

const VARIABLE: &str = "the environment variable ";

/// The origin of a value from an environment variable.
pub fn variable(name: &str) -> String {
    format!("{VARIABLE}`{name}`")
}

/// Whether an origin is an environment variable.
pub fn is_variable(origin: &str) -> bool {
    origin.starts_with(VARIABLE)
}

/// The kinds of values.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// No value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Values by key.
    Map(BTreeMap<String, Node>),
}

impl Node {
    /// A value that stands in the file.
    pub fn plain(kind: Kind) -> Self {
        Self { kind, origin: None }
    }

    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// Where all values in this tree came from, when it is one place and not the file.
    pub fn origin(&self) -> Option<&str> {
        let mut inner: Box<dyn Iterator<Item = &Node>> = match &self.kind {
            Kind::Map(map) => Box::new(map.values()),
            Kind::List(list) => Box::new(list.iter()),
            _ => return self.origin.as_deref(),
        };
        let Some(first) = inner.next() else { return self.origin.as_deref() };
        let origin = first.origin()?;
        inner.all(|node| node.origin() == Some(origin)).then_some(origin)
    }

    /// The value at a place inside.
    pub fn at(&self, place: &Place) -> Option<&Node> {
        place.steps().iter().try_fold(self, |node, step| match (&node.kind, step) {
            (Kind::Map(map), Step::Key(key)) => map.get(key),
            (Kind::List(list), Step::Index(index)) => list.get(*index),
            _ => None,
        })
    }

    /// Takes out the value at a place inside; `None` when nothing is there.
    pub fn remove(&mut self, place: &Place) -> Option<Node> {
        let (last, parents) = place.steps().split_last()?;
        match (&mut self.walk(parents)?.kind, last) {
            (Kind::Map(map), Step::Key(key)) => map.remove(key),
            (Kind::List(list), Step::Index(index)) if *index < list.len() => Some(list.remove(*index)),
            _ => None,
        }
    }

    /// Puts a value under a key; answers whether the place above it is a map.
    pub fn insert(&mut self, place: &Place, value: Node) -> bool {
        let Some((Step::Key(key), parents)) = place.steps().split_last() else { return false };
        match self.walk(parents).map(|node| &mut node.kind) {
            Some(Kind::Map(map)) => {
                map.insert(key.clone(), value);
                true
            }
            _ => false,
        }
    }

    fn walk(&mut self, steps: &[Step]) -> Option<&mut Node> {
        steps.iter().try_fold(self, |node, step| match (&mut node.kind, step) {
            (Kind::Map(map), Step::Key(key)) => map.get_mut(key),
            (Kind::List(list), Step::Index(index)) => list.get_mut(*index),
            _ => None,
        })
    }
}

impl From<config::Value> for Node {
    fn from(value: config::Value) -> Self {
        use config::ValueKind;
        let origin = value.origin().map(str::to_owned);
        let kind = match value.kind {
            ValueKind::Nil => Kind::Null,
            ValueKind::Boolean(bool) => Kind::Bool(bool),
            ValueKind::I64(number) => Kind::Integer(number.into()),
            ValueKind::U64(number) => Kind::Integer(number.into()),
            ValueKind::I128(number) => Kind::Integer(number),
            // No layer makes one: YAML numbers end at 64 bits.
            ValueKind::U128(number) => Kind::Integer(i128::try_from(number).unwrap_or(i128::MAX)),
            ValueKind::Float(number) => Kind::Float(number),
            ValueKind::String(text) => Kind::Text(text),
            ValueKind::Array(list) => Kind::List(list.into_iter().map(Node::from).collect()),
            ValueKind::Table(map) => Kind::Map(map.into_iter().map(|(key, value)| (key, value.into())).collect()),
        };
        Self { kind, origin }
    }
}
