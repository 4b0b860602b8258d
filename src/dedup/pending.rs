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
    pub texts_of_document: usize,
    /// Brings its vector to the documents that wait for it.
    pub flight: Flight,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::draft::{Draft, SharedDraft};
    use crate::dedup::flight::Boarding;
    use crate::dedup::{Claims, Flights};
    use crate::delivery::Receipt;
    use crate::document::fingerprint::Fingerprinter;

    impl PendingText {
        /// The texts of a new document, one per chunk, none of which is on its way yet.
        pub(crate) fn of_document(
            texts: &[&str],
            flights: &Arc<Flights>,
            claims: &Arc<Claims>,
            receipt: Receipt,
        ) -> Vec<Self> {
            let names: Vec<_> = texts.iter().map(|text| Fingerprinter::new("test").of(text)).collect();
            let chunks = names.iter().map(|name| (*name, None)).collect();
            let draft = SharedDraft::new(Draft::waiting(texts[0], chunks, claims, receipt));
            let pending = |(chunk, text): (usize, &&str)| {
                let Boarding::Lead(flight) = flights.board(names[chunk], draft.clone(), chunk) else {
                    panic!("`{text}` is on its way already");
                };
                let (text, texts_of_document) = (Arc::from(*text), texts.len());
                Self { text, priority: 0, immediate: false, reason: Reason::New, texts_of_document, flight }
            };
            texts.iter().enumerate().map(pending).collect()
        }
    }
}
