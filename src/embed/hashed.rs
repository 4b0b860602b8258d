//! Hashed character n-grams: vectors without a model, for any language.
//!
//! Every word is read as its runs of three to five letters, its ends included; each run is hashed to one of the vector's numbers and to a
//! sign. Texts that share spelling are near each other, typing errors and endings do little harm, and that is all: it knows
//! nothing of meaning, and `boots` and `wellingtons` have nothing in common.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::document::Vector;
use crate::document::vector::normalise;
use crate::settings::embedding::HASHED_DIMENSIONS;

use super::local;
use super::provider::{Embeddings, InputType, NoVector, Provider, ProviderError};
use super::space::Space;

const NAME: &str = "character-3-5-grams";

/// Letters in a run.
const RUNS: std::ops::RangeInclusive<usize> = 3..=5;

/// Marks the start and the end of a word; no letter and no digit, so that it is in no word.
const EDGE: char = ' ';

/// Raised when the same text would give another vector than before.
const REVISION: &str = "2";

/// The provider.
pub struct Hashed {
    space: Space,
}

impl Hashed {
    /// With so many numbers per vector: more keep more runs apart.
    ///
    /// # Errors
    /// When `dimensions` is not among [`HASHED_DIMENSIONS`]; names the setting.
    pub fn new(dimensions: usize) -> Result<Self, String> {
        if !HASHED_DIMENSIONS.contains(&dimensions) {
            let (least, most) = (HASHED_DIMENSIONS.start(), HASHED_DIMENSIONS.end());
            return Err(format!("embedding.dimensions: {dimensions} is not from {least} to {most}"));
        }
        Ok(Self { space: Space { model: format!("hashed/{NAME}"), revision: REVISION.into(), dimensions } })
    }
}

impl Provider for Hashed {
    fn space(&self) -> &Space {
        &self.space
    }

    fn embed(&self, texts: Vec<Arc<str>>, _: InputType) -> BoxFuture<'_, Result<Embeddings, ProviderError>> {
        let dimensions = self.space.dimensions;
        Box::pin(async move {
            let vectors = local::compute(texts, move |text| embed(text, dimensions).map_err(NoVector::Never)).await?;
            // The estimate that stands in for a count is near what a model would charge; a count of words is not.
            Ok(Embeddings { vectors, tokens: None })
        })
    }

    fn has_words(&self, text: &str) -> bool {
        text.contains(char::is_alphanumeric)
    }

    fn max_items(&self) -> usize {
        1024
    }
}

fn embed(text: &str, dimensions: usize) -> Result<Vector, String> {
    let mut runs = runs(text);
    runs.sort_unstable();
    let Some(first) = runs.first() else {
        return Err("this text has no letter and no digit".into());
    };
    let mut vector = vec![0f32; dimensions];
    // Two halves of one well-mixed number, so that the place and the sign do not depend on each other.
    let place = |run: u64| (run >> 1) as usize % dimensions;
    let sign = |run: u64| if run & 1 == 0 { 1.0 } else { -1.0 };
    for same in runs.chunk_by(|a, b| a == b) {
        // A run that comes ten times says little more than one that comes once.
        vector[place(same[0])] += sign(same[0]) * (1.0 + (same.len() as f32).ln());
    }
    if !normalise(&mut vector) {
        // In few dimensions the runs of a short text may cancel each other out: then one of them stands for it.
        vector[place(*first)] = sign(*first);
    }
    Ok(vector.into())
}

/// The hash of every run of every word.
fn runs(text: &str) -> Vec<u64> {
    // One way to write each letter: `ủ` comes as one character, and as `u` with its mark behind it. A mark that joins no letter (the accent
    // in `за́мок`, the dot that is left of `İ`) must not part its word.
    let lower = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        // Lower-cased last: NFKC makes capitals, as of `㏈`.
        let lower = text.nfkc().collect::<String>().to_lowercase();
        lower.chars().filter(|c| c.is_alphanumeric() || !(is_combining_mark(*c) || is_format(*c))).collect()
    };
    let mut hashes = Vec::with_capacity(3 * lower.len());
    let mut word = Vec::new();
    for letters in lower.split(|c: char| !c.is_alphanumeric()).filter(|letters| !letters.is_empty()) {
        word.clear();
        word.push(EDGE);
        word.extend(letters.chars());
        word.push(EDGE);
        for length in RUNS {
            hashes.extend(word.windows(length).map(hash));
        }
    }
    hashes
}

/// Whether a character has no shape of its own, and says how others are joined or ordered: it vanishes without parting the word it is in.
fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0001}' | '\u{e0020}'..='\u{e007f}'
    )
}

/// FNV-1a over the letters, then the finaliser of MurmurHash3, which FNV needs for its low bits. Written out here because
/// vectors are kept for years and no library promises that its hash stays.
fn hash(letters: &[char]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for letter in letters {
        hash = (hash ^ u64::from(u32::from(*letter))).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(text: &str) -> Vector {
        embed(text, 512).unwrap()
    }

    fn cosine(a: &str, b: &str) -> f32 {
        vector(a).iter().zip(vector(b).iter()).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn the_same_text_gives_the_same_vector_in_every_version() {
        let places: Vec<(usize, bool)> =
            vector("Ủng").iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(place, x)| (place, *x > 0.0)).collect();
        assert_eq!(places, [(18, false), (38, false), (99, true), (109, true), (123, true), (234, false)]);
    }

    #[test]
    fn a_text_whose_runs_cancel_each_other_out_has_a_vector() {
        for text in ["d e", "e d"] {
            assert_eq!(embed(text, 16).unwrap().iter().map(|x| x.abs()).sum::<f32>(), 1.0);
        }
        assert!(embed("-- !", 16).unwrap_err().contains("no letter"));
    }

    #[test]
    fn shared_spelling_is_near_in_any_language() {
        for (text, near, far) in [
            ("waterproof boots", "water-proof boot", "wireless headphones"),
            ("giày đi mưa", "Giày mưa chống nước", "tai nghe không dây"),
            ("резиновые сапоги", "сапог резиновый", "наушники"),
            ("防水雨靴", "雨靴 防水", "无线耳机"),
        ] {
            assert!(
                cosine(text, near) > cosine(text, far) + 0.1,
                "{text}: {} against {}",
                cosine(text, near),
                cosine(text, far)
            );
        }
        assert_eq!(vector("u\u{309}ng"), vector("ủng"), "however it is encoded");
        assert_eq!((vector("5 ㏈"), vector("№ 7")), (vector("5 db"), vector("no 7")), "whatever NFKC makes of it");
        for (marked, plain) in
            [("İstanbul", "istanbul"), ("за\u{301}мок", "замок"), ("wa\u{ad}ter\u{200b}proof", "waterproof")]
        {
            assert_eq!(vector(marked), vector(plain), "a mark parts no word");
        }
        assert!((cosine("Boots, RED", "red boots") - 1.0).abs() < 1e-5, "case, order and punctuation do not count");
    }

    #[test]
    fn vectors_have_length_one_or_there_is_a_reason() {
        for text in ["a", "1", "雨", "a longer text with several words"] {
            assert!((vector(text).iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5, "{text}");
        }
        for text in ["", "  ", "?!"] {
            assert_eq!(embed(text, 512).unwrap_err(), "this text has no letter and no digit");
        }
    }

    #[test]
    fn repetition_counts_less_than_linearly() {
        assert!(cosine("boots boots boots boots hat", "hat") > 0.25);
    }

    #[test]
    fn dimensions_have_bounds() {
        assert!(Hashed::new(16).is_ok() && Hashed::new(4096).is_ok());
        for wrong in [0, 15, 4097] {
            assert!(Hashed::new(wrong).err().unwrap().starts_with("embedding.dimensions: "));
        }
    }
}
