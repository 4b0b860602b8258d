//! (to come) Which documents count in a search, by their metadata.

/// A condition on metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {}
