//! The model that Vectide ships: a table of English word pieces, 128 numbers each. A text's vector is the sum of its pieces' rows, each
//! times its weight, scaled to length 1. `assets/model/README.md` tells how the table was made and what it is worth.

use std::sync::{Arc, LazyLock};

use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::document::Vector;
use crate::document::chunk::Tokenizer;
use crate::document::vector::normalise;

use super::local;
use super::provider::{Embeddings, InputType, NoVector, Provider, ProviderError};
use super::space::Space;
use super::wordpiece::Vocabulary;

const NAME: &str = "minilm-static-en-128";
const DIMENSIONS: usize = 128;

/// The first 8 bytes of the SHA-256 over the two files below; a test holds them to it. Another table is another space.
const REVISION: &str = "d1f8bf7b1abedccc";

static TENSORS: &[u8] = include_bytes!("../../assets/model/model.safetensors");
static VOCABULARY: &str = include_str!("../../assets/model/vocab.txt");

/// Built once, when the first built-in provider is.
static MODEL: LazyLock<Model> =
    LazyLock::new(|| Model::read(TENSORS).expect("the shipped table is whole, as a test shows"));

/// The built-in provider. English only: a text without a single known word piece has no vector.
pub struct Builtin {
    model: &'static Model,
    space: Space,
}

impl Builtin {
    /// The provider; the first call in a process reads the table.
    pub fn new() -> Self {
        let space = Space { model: format!("builtin/{NAME}"), revision: REVISION.into(), dimensions: DIMENSIONS };
        Self { model: &MODEL, space }
    }
}

impl Default for Builtin {
    fn default() -> Self {
        Self::new()
    }
}

impl Provider for Builtin {
    fn space(&self) -> &Space {
        &self.space
    }

    fn embed(&self, texts: Vec<Arc<str>>, _: InputType) -> BoxFuture<'_, Result<Embeddings, ProviderError>> {
        let model = self.model;
        Box::pin(async move {
            let found = local::compute(texts, |text| model.embed(text)).await?;
            let tokens = found.iter().flatten().map(|(_, pieces)| pieces).sum();
            let vectors =
                found.into_iter().map(|found| found.map(|(vector, _)| vector).map_err(NoVector::Never)).collect();
            Ok(Embeddings { vectors, tokens: Some(tokens) })
        })
    }

    fn tokenizer(&self) -> Option<Arc<dyn Tokenizer>> {
        Some(Arc::new(Pieces(self.model)))
    }

    fn has_words(&self, text: &str) -> bool {
        Pieces(self.model).count(text) > 0
    }

    fn max_items(&self) -> usize {
        1024
    }
}

/// Counts the pieces that are in the table; all others add nothing to a vector.
struct Pieces(&'static Model);

impl Tokenizer for Pieces {
    fn count(&self, text: &str) -> usize {
        let mut count = 0;
        self.0.vocabulary.for_each_row(text, |_| count += 1);
        count
    }
}

struct Model {
    vocabulary: Vocabulary,
    /// What a row's numbers are times.
    weights: Vec<f32>,
    /// Signed bytes, as they lie in the file.
    rows: &'static [[u8; DIMENSIONS]],
}

/// The head of a safetensors file: where each tensor lies behind it.
#[derive(Deserialize)]
struct Head {
    weights: Tensor,
    embeddings: Tensor,
}

#[derive(Deserialize)]
struct Tensor {
    data_offsets: (usize, usize),
}

impl Model {
    /// Reads the table; `None` when it is not of the expected shape.
    fn read(file: &'static [u8]) -> Option<Self> {
        let (length, file) = file.split_first_chunk::<8>()?;
        let (head, data) = file.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let head: Head = serde_json::from_slice(head).ok()?;
        let tensor = |tensor: Tensor| data.get(tensor.data_offsets.0..tensor.data_offsets.1);
        let weights = tensor(head.weights)?.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let (rows, []) = tensor(head.embeddings)?.as_chunks() else { return None };
        let model = Self { vocabulary: Vocabulary::new(VOCABULARY), weights, rows };
        (model.weights.len() == rows.len() && VOCABULARY.lines().count() == rows.len()).then_some(model)
    }

    /// A text's vector and its number of known pieces.
    fn embed(&self, text: &str) -> Result<(Vector, u64), String> {
        let mut sum = [0f32; DIMENSIONS];
        let mut pieces = 0;
        self.vocabulary.for_each_row(text, |row| {
            pieces += 1;
            let weight = self.weights[row as usize];
            for (sum, number) in sum.iter_mut().zip(&self.rows[row as usize]) {
                *sum += weight * f32::from(number.cast_signed());
            }
        });
        if !normalise(&mut sum) {
            return Err("no word of this text is known to the built-in English model; other languages need \
                        `embedding.provider: hashed` (spelling only) or `openai`"
                .into());
        }
        Ok((Arc::from(sum), pieces))
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn vector(text: &str) -> Vector {
        MODEL.embed(text).unwrap().0
    }

    fn cosine(a: &str, b: &str) -> f32 {
        vector(a).iter().zip(vector(b).iter()).map(|(a, b)| a * b).sum()
    }

    fn rows(text: &str) -> Vec<&'static str> {
        let lines: Vec<_> = VOCABULARY.lines().collect();
        let mut found = Vec::new();
        MODEL.vocabulary.for_each_row(text, |row| found.push(lines[row as usize]));
        found
    }

    #[test]
    fn the_revision_names_this_table() {
        let hash = Sha256::new().chain_update(TENSORS).chain_update(VOCABULARY).finalize();
        let short: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(REVISION, short, "the table changed: vectors of two tables must never meet in one index");
    }

    #[test]
    fn every_whole_word_of_the_vocabulary_is_read_as_itself() {
        for (word, row) in VOCABULARY.lines().zip(0..).skip(1) {
            if !word.starts_with("##") {
                let mut found = Vec::new();
                MODEL.vocabulary.for_each_row(word, |row| found.push(row));
                assert_eq!(found, [row], "{word}");
            }
        }
    }

    #[test]
    fn texts_are_cut_as_bert_cuts_them() {
        assert_eq!(rows("Waterproof rain boots"), ["water", "##proof", "rain", "boots"]);
        assert_eq!(rows("Something DRY, for my feet!"), ["something", "dry", "for", "my", "feet"]);
        assert_eq!(rows("embeddings"), ["em", "##bed", "##ding", "##s"]);
        assert_eq!(rows("£100 – 20\u{a0}°C"), ["£100", "20", "°c"]);
        assert!(rows("防水雨靴").is_empty());
    }

    #[test]
    fn vectors_have_length_one_and_no_meaning_of_order() {
        for text in ["rain", "A long text about rain boots, hats and the wind.", "5"] {
            let length: f32 = vector(text).iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{text}: {length}");
        }
        assert!((cosine("rain boots", "boots rain") - 1.0).abs() < 1e-5);
    }

    #[test]
    fn meaning_is_found_without_a_shared_word() {
        let question = "something dry for my feet in the rain";
        let (near, far) = (cosine(question, "rain boots waterproof"), cosine(question, "wireless headphones"));
        assert!(near > far + 0.2, "{near} against {far}");
        let question = "keeps coffee hot on the way to work";
        assert!(cosine(question, "insulated travel mug") > cosine(question, "garden hose"));
    }

    #[tokio::test]
    async fn a_text_without_a_known_word_is_told_apart_from_its_batch_mates() {
        let provider = Builtin::new();
        let texts = vec!["rain boots".into(), "дождь".into(), "".into(), "hat".into()];
        let Embeddings { vectors, tokens } = provider.embed(texts, InputType::Document).await.unwrap();
        assert_eq!(vectors.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
        let reason = vectors[1].as_ref().unwrap_err().to_string();
        assert!(reason.starts_with("no word of this text is known to the built-in English model"), "{reason}");
        assert_eq!(tokens, Some(3));
        assert_eq!(provider.tokenizer().unwrap().count("rain boots"), 2);
        assert_eq!(provider.space().to_string(), "builtin/minilm-static-en-128 with 128 dimensions");
    }
}
