//! What people would write by hand: the same bodies posted at the same concurrency, and each answer decoded. Nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use crate::catalogue;
use crate::measure::{Case, Measured, Meter};

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    embedding: &'a str,
}

pub fn run(case: &Case, url: &str) -> Measured {
    // The client asks for one, although no call here is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bodies: VecDeque<Bytes> =
        (0..case.documents).step_by(case.batch).map(|from| body(from, case.documents.min(from + case.batch))).collect();
    let bodies = Arc::new(Mutex::new(bodies));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let meter = Meter::start();
        let mut loops = Vec::new();
        for _ in 0..case.concurrency {
            let (client, bodies, url) = (client.clone(), bodies.clone(), format!("{url}/embeddings"));
            loops.push(tokio::spawn(async move {
                let mut decoded = 0;
                loop {
                    let next = bodies.lock().expect("nobody panics").pop_front();
                    let Some(body) = next else { return decoded };
                    let request = client.post(&url).header("content-type", "application/json").body(body);
                    let answer = request.send().await.expect("an answer").bytes().await.expect("a body");
                    // On the other core, as the pipeline does: a loop that decodes in place is slower.
                    decoded += tokio::task::spawn_blocking(move || decode(&answer)).await.expect("it decodes");
                }
            }));
        }
        let mut decoded = 0;
        for one in loops {
            decoded += one.await.expect("it ends");
        }
        assert_eq!(decoded, case.documents);
        meter.stop(case.documents)
    })
}

fn decode(answer: &[u8]) -> usize {
    let answer: Answer = serde_json::from_slice(answer).expect("an answer to embeddings");
    let vectors = answer.data.iter().map(|item| -> Vec<f32> {
        let bytes = STANDARD.decode(item.embedding).expect("base64");
        bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect()
    });
    vectors.filter(|vector| std::hint::black_box(vector).len() == crate::provider::DIMENSIONS).count()
}

fn body(from: usize, to: usize) -> Bytes {
    let texts: Vec<String> = (from..to)
        .map(|number| {
            let record: serde_json::Value = serde_json::from_str(&catalogue::record(number)).expect("a record");
            format!("{} {}", record["title"].as_str().expect("a text"), record["description"].as_str().expect("a text"))
        })
        .collect();
    serde_json::json!({"model": "text-embedding-3-small", "input": texts, "encoding_format": "base64"})
        .to_string()
        .into()
}
