//! Places in the product at which a test may strike.

/// Reached by its name. Only tests and the feature `testkit` know what to do at it: see `testkit::faults`.
#[cfg(any(test, feature = "testkit"))]
macro_rules! fault_point {
    ($name:literal) => {
        $crate::testkit::faults::reach($name)
    };
}

/// Nothing.
#[cfg(not(any(test, feature = "testkit")))]
macro_rules! fault_point {
    ($name:literal) => {};
}
