//! What the batcher gathers and the embedder sends.

use std::sync::Arc;

use super::flight::Flight;
use crate::telemetry::Reason;

/// A message of texts to the batcher.
pub struct Texts(pub Vec<PendingText>);

/// A text on its way to the provider.
pub struct PendingText {
    /// What is embedded.
    pub text: Arc<str>,
    /// See `Change::priority`.
    pub priority: u8,
    /// See `Change::immediate`.
    pub immediate: bool,
    /// Why it must be paid for.
    pub reason: Reason,
    /// How many texts its document waits for, this one among them.
    pub of: usize,
    /// Who waits for it.
    pub flight: Flight,
}
