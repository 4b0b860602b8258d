//! Places in the product at which a test may strike.

/// Reached by its name. Only tests and the feature `testkit` know what to do at it: see `testkit::faults`. A name with `?` behind it may
/// fail as well, as a disk does.
#[cfg(any(test, feature = "testkit"))]
macro_rules! fault_point {
    ($name:literal) => {
        $crate::testkit::faults::reach($name)
    };
    ($name:literal?) => {
        $crate::testkit::faults::pass($name)?
    };
}

/// Nothing.
#[cfg(not(any(test, feature = "testkit")))]
macro_rules! fault_point {
    ($name:literal) => {};
    ($name:literal?) => {};
}
