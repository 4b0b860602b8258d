//! What a field of the metadata holds, for systems whose fields have types.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a field of the metadata holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum FieldKind {
    /// A text.
    #[serde(rename = "text")]
    Text,
    /// A number. Whole numbers from 2^53 on are refused: a 64-bit float does not keep them apart.
    #[serde(rename = "number")]
    Number,
    /// `true` or `false`.
    #[serde(rename = "boolean")]
    Boolean,
    /// A list of texts, or one.
    #[serde(rename = "text[]")]
    Texts,
    /// A list of numbers, or one.
    #[serde(rename = "number[]")]
    Numbers,
    /// A list of booleans, or one.
    #[serde(rename = "boolean[]")]
    Booleans,
}

impl FieldKind {
    /// Whether it may be a list.
    pub fn is_list(self) -> bool {
        matches!(self, Self::Texts | Self::Numbers | Self::Booleans)
    }
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Texts => "text[]",
            Self::Numbers => "number[]",
            Self::Booleans => "boolean[]",
        })
    }
}
