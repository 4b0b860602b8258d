//! A counter for each value of a label: found by its place in a list, so that no label is hashed per document.

use std::marker::PhantomData;

use prometheus::IntCounter;
use prometheus::core::{Atomic, GenericCounter, Number};

/// A label whose values are known beforehand.
pub trait Label: Copy + 'static {
    /// Every value, in the order of their places.
    const VALUES: &'static [Self];

    /// The value as metrics show it.
    fn text(self) -> &'static str;

    /// Its place among all values.
    fn place(self) -> usize;
}

/// One counter for each value of a label.
#[derive(Clone)]
pub struct By<L, C = IntCounter> {
    counters: Box<[C]>,
    label: PhantomData<L>,
}

impl<L: Label, C> By<L, C> {
    /// Makes the counter of each value.
    pub(super) fn new(counter: impl Fn(&'static str) -> C) -> Self {
        Self { counters: L::VALUES.iter().map(|value| counter(value.text())).collect(), label: PhantomData }
    }

    /// The counter of one value.
    pub fn of(&self, value: L) -> &C {
        &self.counters[value.place()]
    }
}

impl<L: Label, P: Atomic> By<L, GenericCounter<P>> {
    /// Over all values.
    pub fn sum(&self) -> P::T {
        let mut sum = P::T::from_i64(0);
        self.counters.iter().for_each(|counter| sum += counter.get());
        sum
    }
}
