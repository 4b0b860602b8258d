//! Answers of any bytes.

use std::time::SystemTime;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};

use super::endpoint::Endpoint;
use super::judge::judge;
use crate::testkit::hostile::attack;

const KEY: &str = "sk-hostile-key";
const TEXTS: usize = 2;
const DIMENSIONS: usize = 2;

#[test]
fn an_answer_is_sound_vectors_or_a_short_reason_without_the_key() {
    let settings = format!("{{ model: m, dimensions: {DIMENSIONS}, api_key: {KEY} }}");
    let endpoint = Endpoint::new(&serde_yaml::from_str(&settings).unwrap()).unwrap();
    attack("provider", |input| {
        let pieces: Vec<Bytes> = input.chunks(input.len() / 2 + 1).map(Bytes::copy_from_slice).collect();
        let mut headers = HeaderMap::new();
        for name in ["retry-after", "location", "x-ratelimit-reset-tokens"] {
            let start = &input[..input.len().min(100)];
            if let Ok(value) = HeaderValue::from_bytes(start) {
                headers.insert(name, value);
            }
        }
        for status in [200, 301, 400, 401, 404, 429, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            let judged = judge(status, &headers, &pieces, TEXTS, &endpoint, SystemTime::UNIX_EPOCH);
            let reasons = match judged {
                Ok(answer) => {
                    assert_eq!((status, answer.vectors.len()), (StatusCode::OK, TEXTS));
                    assert!(answer.vectors.iter().any(Result::is_ok));
                    for vector in answer.vectors.iter().flatten() {
                        assert_eq!(vector.len(), DIMENSIONS);
                        assert!(vector.iter().all(|number| number.is_finite()));
                        assert!(vector.iter().any(|number| *number != 0.0));
                    }
                    answer.vectors.into_iter().filter_map(Result::err).map(|reason| reason.to_string()).collect()
                }
                Err(error) => vec![error.to_string()],
            };
            for reason in reasons {
                assert!(!reason.is_empty() && reason.chars().count() < 800, "{reason}");
                assert!(!reason.contains(KEY) && !reason.contains(char::is_control), "{reason}");
            }
        }
    });
}
