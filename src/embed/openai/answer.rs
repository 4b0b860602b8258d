//! The body of a successful answer: read in place, checked, and turned into vectors.

use std::borrow::Cow;
use std::fmt;

use base64_simd::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::document::Vector;

use super::outline::Outline;

/// Some servers on Windows begin every text with it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What was wrong with a body, or with one vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Another try may do better.
    Garbled(String),
    /// It does not tell which vector is of which text: there are too few or too many, or some for one text and none for another.
    Mixed {
        /// How many there are.
        came: usize,
        reason: String,
    },
    /// The vectors have another number of dimensions than the settings say: so many.
    Dimensions(usize),
}

/// What was read of a body.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// In the order of the texts; at least one of them is there, and of the others what is wrong with them.
    pub vectors: Vec<Result<Vector, String>>,
    /// Those that were charged.
    pub tokens: Option<u64>,
}

#[derive(serde::Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Vec<Item<'a>>,
    /// Only for the books: whatever it is, it makes no vector worse, and takes no memory.
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
struct Item<'a> {
    /// Absent at some servers, which then answer in order.
    index: Option<usize>,
    #[serde(borrow)]
    embedding: Numbers<'a>,
}

#[derive(serde::Deserialize)]
struct Usage<'a> {
    #[serde(borrow)]
    total_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_tokens: Option<&'a RawValue>,
}

/// A vector as it was sent: base64 of little-endian `f32`s, or an array by a server that does not know that or was not asked for it.
enum Numbers<'a> {
    /// Borrowed, it may stand for a string that the [`Outline`] has.
    Base64(Cow<'a, str>),
    Array(Vec<f32>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Numbers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Numbers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 or an array of numbers")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Numbers::Base64(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Numbers::Base64(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                // Not with room ahead: a hostile answer may have millions of vectors of one number.
                let mut numbers = Vec::new();
                // In JSON there is no other way to write that a number is none.
                while let Some(number) = array.next_element::<Option<f32>>()? {
                    numbers.push(number.unwrap_or(f32::NAN));
                }
                Ok(Numbers::Array(numbers))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Numbers::Array(Vec::new()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Reads the body of an answer to `count` texts, in the pieces in which it came. Every text has exactly one vector, and what can be used is
/// one of `dimensions` finite numbers that are not all zero.
///
/// # Errors
/// What is wrong with the body, or with all of its vectors.
pub fn read(body: &[Bytes], count: usize, dimensions: usize) -> Result<Answer, Fault> {
    let outline = Outline::of(body);
    let json = outline.json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&outline.json).trim_ascii_start();
    let body: Body = serde_json::from_slice(json).map_err(|error| not_an_answer(json, &error))?;
    let came = body.data.len();
    if came != count {
        return Err(Fault::Mixed { came, reason: format!("{came} vectors came for {count} texts") });
    }
    let mut vectors = vec![None; count];
    let mut bytes = Vec::with_capacity(4 * dimensions);
    for (position, item) in body.data.into_iter().enumerate() {
        let index = item.index.unwrap_or(position);
        let slot = vectors.get_mut(index).filter(|slot| slot.is_none());
        let mixed = || Fault::Mixed { came, reason: format!("the answer has the index {index} twice or out of range") };
        let slot = slot.ok_or_else(mixed)?;
        *slot = Some(match &item.embedding {
            Numbers::Base64(text) => {
                let taken = if let Cow::Borrowed(text) = text { outline.taken(text) } else { None };
                decode(taken.map_or(text.as_bytes(), |taken| taken), index, dimensions, &mut bytes)
            }
            Numbers::Array(numbers) => {
                check(numbers.iter().copied(), index, dimensions).map(|()| numbers.as_slice().into())
            }
        });
    }
    let vectors: Vec<Result<Vector, Fault>> = vectors.into_iter().flatten().collect();
    if !vectors.iter().any(Result::is_ok) {
        // Beside one that is garbled, another length is no wrong setting.
        let faults = vectors.into_iter().filter_map(Result::err);
        let worst = faults.min_by_key(|fault| matches!(fault, Fault::Dimensions(_)));
        return Err(worst.unwrap_or_else(|| Fault::Garbled("there are no vectors in it".into())));
    }
    // Nor is it beside vectors of the right length: it is the text's fault, or the server's.
    let said = |(index, vector): (usize, Result<Vector, Fault>)| {
        vector.map_err(|fault| match fault {
            Fault::Garbled(reason) | Fault::Mixed { reason, .. } => reason,
            Fault::Dimensions(came) => format!("vector {index} has {came} numbers instead of {dimensions}"),
        })
    };
    Ok(Answer { vectors: vectors.into_iter().enumerate().map(said).collect(), tokens: body.usage.and_then(tokens) })
}

/// The tokens that were charged, where the usage tells them. No text has none: 0 says that nobody counted.
fn tokens(usage: &RawValue) -> Option<u64> {
    let Usage { total_tokens, prompt_tokens } = serde_json::from_str(usage.get()).ok()?;
    let counts = [total_tokens, prompt_tokens].into_iter().flatten();
    let mut numbers = counts.filter_map(|count| serde_json::from_str::<f64>(count.get()).ok());
    numbers.find(|count| *count >= 1.0).map(|count| count as u64)
}

/// Without the place, which is one in the outline.
fn not_an_answer(json: &[u8], error: &serde_json::Error) -> Fault {
    let other = match json {
        [b'<', ..] => Some("it is a page; check `embedding.base_url`"),
        [0x1f, 0x8b, ..] => Some("it is compressed, which nobody asked for"),
        _ => None,
    };
    if let Some(other) = other {
        return Fault::Garbled(format!("the answer is not what `/embeddings` gives: {other}"));
    }
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = error.to_string();
    Fault::Garbled(format!("the answer is not what `/embeddings` gives: {}", reason.trim_end_matches(&place)))
}

/// The vector of this base64. `bytes` is reused from vector to vector: to check the numbers there, before they are copied to where
/// they stay, is faster.
fn decode(base64: &[u8], index: usize, dimensions: usize, bytes: &mut Vec<u8>) -> Result<Vector, Fault> {
    bytes.clear();
    // Servers differ on whether they pad.
    let padding = base64.iter().rev().take_while(|byte| **byte == b'=').count();
    let decoded = STANDARD_NO_PAD.decode_append(&base64[..base64.len() - padding], bytes);
    // The error of the library has nothing to add.
    decoded.map_err(|_| Fault::Garbled(format!("vector {index} is not base64")))?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        let length = bytes.len();
        return Err(Fault::Garbled(format!("vector {index} has {length} bytes, which are no whole numbers")));
    }
    let numbers = numbers.iter().map(|number| f32::from_le_bytes(*number));
    check(numbers.clone(), index, dimensions)?;
    Ok(numbers.collect())
}

/// Refuses a vector of another length, and one that has no direction.
fn check(numbers: impl ExactSizeIterator<Item = f32>, index: usize, dimensions: usize) -> Result<(), Fault> {
    const INFINITY: u32 = f32::INFINITY.to_bits();
    match numbers.len() {
        0 => return Err(Fault::Garbled(format!("vector {index} has no numbers"))),
        came if came != dimensions => return Err(Fault::Dimensions(came)),
        _ => {}
    }
    // On the bits, which the compiler can do for several numbers at a time.
    let (mut not_finite, mut not_zero) = (false, 0);
    for number in numbers {
        let bits = number.to_bits();
        not_finite |= bits & INFINITY == INFINITY;
        not_zero |= bits << 1;
    }
    if not_finite {
        return Err(Fault::Garbled(format!("vector {index} has a number that is not finite")));
    }
    if not_zero == 0 {
        return Err(Fault::Garbled(format!("vector {index} is all zeros")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::embed::openai::tests::base64_of;

    fn read_json(body: serde_json::Value, count: usize) -> Result<Answer, Fault> {
        read(&[body.to_string().into()], count, 2)
    }

    #[test]
    fn base64_and_arrays_in_any_order_are_understood() {
        let answer = read_json(
            json!({
                "object": "list", "model": "m",
                "data": [
                    { "object": "embedding", "index": 1, "embedding": [3, -0.25] },
                    { "object": "embedding", "index": 0, "embedding": base64_of(&[1.0, 2.0]) },
                ],
                "usage": { "prompt_tokens": 7, "total_tokens": 8 },
            }),
            2,
        );
        let answer = answer.unwrap();
        assert_eq!(answer.vectors, [Ok(Vector::from([1.0, 2.0])), Ok(Vector::from([3.0, -0.25]))]);
        assert_eq!(answer.tokens, Some(8));
        let bare = read_json(json!({ "data": [{ "embedding": [1, 0] }, { "embedding": [0, 1] }] }), 2).unwrap();
        assert_eq!((bare.vectors[1].as_ref().unwrap()[1], bare.tokens), (1.0, None), "without index and usage");
        let marked = format!("\u{feff}{}", json!({ "data": [{ "embedding": [1, 2] }] }));
        assert_eq!(read(&[marked.into()], 1, 2).unwrap().vectors, [Ok(Vector::from([1.0, 2.0]))]);
        let unpadded = json!({ "data": [{ "embedding": base64_of(&[1.0, 2.0]).trim_end_matches('=') }] });
        assert_eq!(read_json(unpadded, 1).unwrap().vectors, [Ok(Vector::from([1.0, 2.0]))]);
        let escaped = base64_of(&[f32::from_bits(0x3fff_ffff); 2]).replace('/', "\\/");
        assert!(escaped.contains('\\'));
        let escaped = format!(r#"{{"data":[{{"embedding":"{escaped}"}}]}}"#);
        let vectors = read(&[escaped.into()], 1, 2).unwrap().vectors;
        assert_eq!(vectors[0].as_ref().unwrap()[0].to_bits(), 0x3fff_ffff);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let one = |embedding: serde_json::Value| json!({ "data": [{ "index": 0, "embedding": embedding }] });
        let index = |a: usize, b: usize| json!({ "data": [{ "index": a, "embedding": [1, 0] }, { "index": b, "embedding": [1, 0] }] });
        for (body, count, words) in [
            (json!({}), 1, "missing field `data`"),
            (json!({ "data": "x" }), 1, "not what `/embeddings` gives"),
            (one(json!("?!")), 1, "not base64"),
            (one(json!("AAAA")), 1, "3 bytes"),
            (one(json!([0, -0.0])), 1, "all zeros"),
            (one(json!(base64_of(&[1.0, f32::NAN]))), 1, "not finite"),
            (one(json!(base64_of(&[1.0, f32::NEG_INFINITY]))), 1, "not finite"),
            (one(json!([1e300, 0])), 1, "out of range"),
            (one(json!(["a", "b"])), 1, "not what `/embeddings` gives"),
            (one(json!(null)), 1, "has no numbers"),
            (one(json!([1, null])), 1, "not finite"),
        ] {
            let Err(Fault::Garbled(reason)) = read_json(body.clone(), count) else { panic!("{body}") };
            assert!(reason.contains(words), "{body}: {reason}");
        }
        for (body, count, words) in [
            (json!({ "data": [] }), 1, "0 vectors came for 1 texts"),
            (index(0, 1), 1, "2 vectors came for 1 texts"),
            (index(0, 0), 2, "index 0 twice"),
            (index(0, 2), 2, "index 2 twice or out of range"),
        ] {
            let Err(Fault::Mixed { reason, .. }) = read_json(body.clone(), count) else { panic!("{body}") };
            assert!(reason.contains(words), "{body}: {reason}");
        }
        for (body, words) in [(&b"\n<html>"[..], "it is a page"), (b"\x1f\x8b\x08\0", "it is compressed")] {
            let Err(Fault::Garbled(reason)) = read(&[body.into()], 1, 2) else { panic!("{words}") };
            assert!(reason.contains("not what `/embeddings` gives") && reason.contains(words), "{reason}");
        }
        assert_eq!(read_json(one(json!([1, 2, 3])), 1), Err(Fault::Dimensions(3)));
        let empty = Fault::Garbled("vector 0 has no numbers".into());
        assert_eq!(read_json(one(json!("")), 1), Err(empty), "which is no number of dimensions to set");
        let two = json!({ "data": [{ "embedding": [1, 2, 3] }, { "embedding": [0, 0] }] });
        assert_eq!(read_json(two, 2), Err(Fault::Garbled("vector 1 is all zeros".into())), "nor is it beside this");
    }

    #[test]
    fn beside_what_cannot_be_used_the_other_vectors_of_an_answer_are_taken() {
        let data =
            [json!([1, 2, 3]), json!([0, 0]), json!([1, 2]), json!(""), json!("?!"), json!([null, null]), json!(null)];
        let data = data.map(|embedding| json!({ "embedding": embedding }));
        let vectors = read_json(json!({ "data": data }), 7).unwrap().vectors;
        let said = |vector: Result<Vector, String>| vector.map(|vector| vector.to_vec());
        assert_eq!(
            vectors.into_iter().map(said).collect::<Vec<_>>(),
            [
                Err("vector 0 has 3 numbers instead of 2".into()),
                Err("vector 1 is all zeros".into()),
                Ok(vec![1.0, 2.0]),
                Err("vector 3 has no numbers".into()),
                Err("vector 4 is not base64".into()),
                Err("vector 5 has a number that is not finite".into()),
                Err("vector 6 has no numbers".into()),
            ]
        );
    }

    #[test]
    fn a_strange_usage_is_none_and_spoils_no_vector() {
        for (usage, tokens) in [
            (json!({ "total_tokens": 12.0 }), Some(12)),
            (json!({ "total_tokens": null, "prompt_tokens": 3 }), Some(3)),
            (json!({ "total_tokens": 0, "prompt_tokens": 3 }), Some(3)),
            (json!({ "total_tokens": 0, "prompt_tokens": 0 }), None),
            (json!({ "total_tokens": -1 }), None),
            (json!({ "total_tokens": "12" }), None),
            (json!({ "total_tokens": "12", "prompt_tokens": 3 }), Some(3)),
            (json!("free"), None),
            (json!([]), None),
        ] {
            let answer = read_json(json!({ "data": [{ "embedding": [1, 0] }], "usage": usage }), 1).unwrap();
            assert_eq!((answer.vectors.len(), answer.tokens), (1, tokens), "{usage}");
        }
    }

    proptest! {
        #[test]
        fn vectors_survive_base64_bit_by_bit(numbers in prop::collection::vec(prop::num::f32::NORMAL, 1..50)) {
            let body = json!({ "data": [{ "index": 0, "embedding": base64_of(&numbers) }] }).to_string();
            let answer = read(&[body.into()], 1, numbers.len()).unwrap();
            prop_assert_eq!(&**answer.vectors[0].as_ref().unwrap(), &numbers[..]);
        }
    }
}
