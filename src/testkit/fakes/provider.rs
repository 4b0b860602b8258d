//! A provider that answers at once, or as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::sync::watch;

use super::{AtOnce, Fault, Faults, SLOW};
use crate::document::fingerprint::Fingerprinter;
use crate::document::{Vector, vector};
use crate::embed::openai;
use crate::embed::provider::{Embeddings, InputType, Provider, ProviderError};
use crate::embed::space::Space;

/// A provider whose vectors tell their text.
pub struct FakeProvider {
    space: Space,
    /// How long a call takes.
    pub latency: Duration,
    /// What calls meet.
    pub faults: Faults,
    blocked: watch::Sender<bool>,
    refused: BTreeSet<String>,
    crashing: Mutex<BTreeSet<String>>,
    calls: Mutex<Vec<Vec<Arc<str>>>>,
    paid: Mutex<BTreeMap<Arc<str>, usize>>,
    in_vain: Mutex<BTreeMap<Arc<str>, usize>>,
    at_once: AtOnce,
    endpoint: openai::Endpoint,
}

/// What a server sends instead of vectors that can be used. Each is judged as the answers of real servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// This HTTP status with an error in its body; with 429 and 503 the wish to wait for two seconds.
    Status(u16),
    /// 200 and a page for people.
    Page,
    /// The connection ended in the middle of the body.
    CutOff,
    /// One vector too few.
    TooFew,
    /// One vector too many.
    TooMany,
    /// Two vectors for one text and none for another.
    Repeated,
    /// Vectors of another length.
    Dimensions,
    /// A number that is none.
    NotANumber,
    /// A number beyond all bounds.
    Infinite,
    /// A vector of nothing but zeros, for the first text.
    Zeros,
    /// A vector of hardly any length.
    Tiny,
}

impl Answer {
    /// All that are no status.
    pub const BROKEN: [Self; 10] = [
        Self::Page,
        Self::CutOff,
        Self::TooFew,
        Self::TooMany,
        Self::Repeated,
        Self::Dimensions,
        Self::NotANumber,
        Self::Infinite,
        Self::Zeros,
        Self::Tiny,
    ];

    fn judged(self, texts: &[Arc<str>], endpoint: &openai::Endpoint) -> Result<Embeddings, ProviderError> {
        let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
        let mut rows: Vec<String> = texts.iter().map(|text| format!("{:?}", FakeProvider::vector(text))).collect();
        let mut page = None;
        match self {
            Self::Status(code) => {
                status = StatusCode::from_u16(code).expect("a status of HTTP");
                headers.insert("retry-after", HeaderValue::from_static("2"));
                page = Some(r#"{"error": {"message": "the fake is told to fail"}}"#);
            }
            Self::Page => page = Some("<html>Back soon</html>"),
            Self::TooFew => drop(rows.pop()),
            Self::TooMany => rows.push(rows[0].clone()),
            Self::Dimensions => rows.iter_mut().for_each(|row| *row = "[1.0, 2.0, 3.0]".into()),
            Self::NotANumber => rows[0] = "[1.0, NaN, 3.0, 4.0]".into(),
            Self::Infinite => rows[0] = "[1.0, 1e999, 3.0, 4.0]".into(),
            Self::Zeros => rows[0] = "[0.0, 0.0, 0.0, 0.0]".into(),
            Self::Tiny => rows[0] = "[1e-20, 0.0, 0.0, 0.0]".into(),
            Self::CutOff | Self::Repeated => {}
        }
        let numbered = rows.iter().enumerate().map(|(number, row)| {
            let index = if self == Self::Repeated { 1 } else { number };
            format!(r#"{{"index": {index}, "embedding": {row}}}"#)
        });
        let vectors = format!(r#"{{"data": [{}]}}"#, numbered.collect::<Vec<_>>().join(", "));
        let mut body = page.unwrap_or(&vectors);
        if self == Self::CutOff {
            body = &body[..body.len() / 2];
        }
        openai::judge(status, &headers, &[body.to_owned().into()], texts.len(), endpoint, SystemTime::UNIX_EPOCH)
    }
}

impl Default for FakeProvider {
    fn default() -> Self {
        Self {
            space: Space { model: "fake".into(), revision: String::new(), dimensions: 4 },
            latency: Duration::from_millis(20),
            faults: Faults::default(),
            blocked: watch::Sender::new(false),
            refused: BTreeSet::new(),
            crashing: Mutex::default(),
            calls: Mutex::default(),
            paid: Mutex::default(),
            in_vain: Mutex::default(),
            at_once: AtOnce::default(),
            endpoint: endpoint(),
        }
    }
}

impl FakeProvider {
    /// Refuses every call with one of these texts in it, as a provider answers 400.
    pub fn refusing<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self { refused: texts.into_iter().map(str::to_owned).collect(), ..Self::default() }
    }

    /// From now on no call ends, until [`FakeProvider::unblock`].
    pub fn block(&self) {
        self.blocked.send_replace(true);
    }

    /// Lets all calls go on.
    pub fn unblock(&self) {
        self.blocked.send_replace(false);
    }

    /// From now on panics over every call with this text in it.
    pub fn crash_on(&self, text: &str) {
        self.crashing.lock().insert(text.to_owned());
    }

    /// The vector of a text: the same one always, and another for another text.
    pub fn vector(text: &str) -> Vector {
        let hash = Fingerprinter::new("fake").of(text);
        hash.as_bytes()
            .chunks(8)
            .map(|bytes| bytes.iter().fold(1.0, |sum, byte| sum * 3.0 % 4096.0 + f32::from(*byte)))
            .collect()
    }

    /// The texts of each call so far, in order.
    pub fn calls(&self) -> Vec<Vec<String>> {
        let texts = |call: &Vec<Arc<str>>| call.iter().map(|text| text.to_string()).collect();
        self.calls.lock().iter().map(texts).collect()
    }

    /// How often each text was paid for.
    pub fn paid(&self) -> BTreeMap<String, usize> {
        self.paid.lock().iter().map(|(text, times)| (text.to_string(), *times)).collect()
    }

    /// How often each text was paid for and lost with a panic.
    pub fn paid_in_vain(&self) -> BTreeMap<String, usize> {
        self.in_vain.lock().iter().map(|(text, times)| (text.to_string(), *times)).collect()
    }

    /// How many calls there were at once.
    pub fn at_once(&self) -> &AtOnce {
        &self.at_once
    }

    fn answer(&self, texts: Vec<Arc<str>>) -> Result<Embeddings, ProviderError> {
        let vectors = texts.iter().map(|text| Ok(Self::vector(text))).collect();
        self.paid_for(texts, Embeddings { vectors, tokens: None })
    }

    /// Counts the texts that have a vector now that can be used, unless the call is refused.
    fn paid_for(&self, texts: Vec<Arc<str>>, embeddings: Embeddings) -> Result<Embeddings, ProviderError> {
        if texts.iter().any(|text| self.refused.contains(&**text)) {
            return Err(ProviderError::Refused("the fake refuses a text".into()));
        }
        let mut paid = self.paid.lock();
        for (text, came) in texts.into_iter().zip(&embeddings.vectors) {
            if came.as_ref().is_ok_and(|numbers| vector::is_usable(numbers)) {
                *paid.entry(text).or_default() += 1;
            }
        }
        Ok(embeddings)
    }
}

/// What real answers of such vectors would be judged by.
fn endpoint() -> openai::Endpoint {
    let settings = serde_yaml::from_str("{ preset: openai-small, dimensions: 4, api_key: key }");
    openai::Endpoint::new(&settings.expect("these settings are right")).expect("these settings are enough")
}

impl Provider for FakeProvider {
    fn space(&self) -> &Space {
        &self.space
    }

    fn embed(&self, texts: Vec<Arc<str>>, _: InputType) -> BoxFuture<'_, Result<Embeddings, ProviderError>> {
        async move {
            let _under_way = self.at_once.enter();
            self.calls.lock().push(texts.clone());
            let fault = self.faults.next();
            tokio::time::sleep(self.latency).await;
            let _ = self.blocked.subscribe().wait_for(|blocked| !blocked).await;
            let crashes = texts.iter().any(|text| self.crashing.lock().contains(&**text));
            match fault {
                _ if crashes => panic!("the fake provider crashes on this text"),
                Fault::Unavailable => Answer::Status(500).judged(&texts, &self.endpoint),
                Fault::TooMany => Answer::Status(429).judged(&texts, &self.endpoint),
                Fault::Answers(answer) => {
                    answer.judged(&texts, &self.endpoint).and_then(|embeddings| self.paid_for(texts, embeddings))
                }
                Fault::TimesOut => {
                    tokio::time::sleep(SLOW).await;
                    Err(ProviderError::retry("the fake is told to be late"))
                }
                Fault::PanicBefore => panic!("the fake provider is told to panic"),
                Fault::PanicAfter => {
                    texts.iter().for_each(|text| *self.in_vain.lock().entry(text.clone()).or_default() += 1);
                    drop(self.answer(texts));
                    panic!("the fake provider is told to panic after it was paid")
                }
                Fault::Hang => std::future::pending().await,
                Fault::Slow => {
                    tokio::time::sleep(SLOW).await;
                    self.answer(texts)
                }
                Fault::None => self.answer(texts),
            }
        }
        .boxed()
    }

    fn max_items(&self) -> usize {
        1000
    }

    fn price_per_million_tokens(&self) -> f64 {
        1.0
    }
}
