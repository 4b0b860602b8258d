//! What models that compute here have in common.

use std::sync::Arc;

use crate::actor::guard;
use crate::actor::offload::try_on_core;
use crate::document::Vector;

use super::provider::{Embeddings, Judgement};

/// Whether a character has no shape of its own, and says how others are joined or ordered: it vanishes without parting the word it is in.
pub fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0001}' | '\u{e0020}'..='\u{e007f}'
    )
}

/// Computes a batch off the arbiter. `embed` turns one text into its vector and a number of tokens.
pub async fn compute(
    texts: Vec<Arc<str>>,
    embed: impl Fn(&str) -> Result<(Vector, u64), String> + Send + 'static,
) -> Judgement {
    let computed = try_on_core(move || {
        let mut tokens = 0;
        let vectors = texts.iter().map(|text| {
            let (vector, count) = embed(text)?;
            tokens += count;
            Ok(vector)
        });
        Embeddings { vectors: vectors.collect(), tokens: Some(tokens) }
    });
    match computed.await {
        Ok(embeddings) => Judgement::Done(embeddings),
        // The model has a fault that a certain text shows: the caller finds out which.
        Err(panic) => {
            let reason = format!("the computation crashed: {}", guard::message(&*panic));
            Judgement::Retry { reason, after: None, pause: false }
        }
    }
}
