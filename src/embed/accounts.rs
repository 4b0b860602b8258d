//! What the calls of a batch cost, and for which reason each text was paid.

use std::sync::Arc;

use super::call::FinishedCall;
use crate::dedup::PendingText;
use crate::telemetry::counters::By;
use crate::telemetry::{Metrics, Reason, RequestStatus};

/// Counts the calls to one model.
pub struct Accounts {
    metrics: Arc<Metrics>,
    requests: By<RequestStatus>,
    price_per_token: f64,
}

impl Accounts {
    /// For this model, at this price in US dollars for a million tokens.
    pub fn new(metrics: Arc<Metrics>, model: &str, price_per_million_tokens: f64) -> Self {
        Self { requests: metrics.requests(model), metrics, price_per_token: price_per_million_tokens / 1e6 }
    }

    /// For the calls of a batch of these texts.
    pub(super) fn of(&self, batch: &[PendingText]) -> BatchAccounts<'_> {
        let entry = |pending: &PendingText| (pending.reason, pending.text.len().max(1) as u64);
        BatchAccounts { accounts: self, texts: batch.iter().map(entry).collect() }
    }
}

/// Counts the calls of one batch.
pub(super) struct BatchAccounts<'a> {
    accounts: &'a Accounts,
    /// Of each text, why it is paid and how many bytes it has.
    texts: Vec<(Reason, u64)>,
}

impl BatchAccounts<'_> {
    /// A call ended.
    pub(super) fn finished(&self, call: FinishedCall) {
        let accounts = self.accounts;
        accounts.metrics.embedding_latency.observe(call.latency.as_secs_f64());
        accounts.requests.of(call.status).inc();
        if call.status != RequestStatus::Ok {
            return;
        }
        let part = &self.texts[call.made_for];
        let of = |reason| part.iter().filter(move |text| text.0 == reason);
        let texts = split(call.texts as u64, Reason::ALL.into_iter().map(|reason| of(reason).count() as u64));
        let tokens = split(call.tokens, Reason::ALL.into_iter().map(|reason| of(reason).map(|text| text.1).sum()));
        for (reason, (texts, tokens)) in Reason::ALL.into_iter().zip(texts.zip(tokens)) {
            accounts.metrics.texts.of(reason).inc_by(texts);
            accounts.metrics.tokens.of(reason).inc_by(tokens);
            accounts.metrics.money.of(reason).inc_by(tokens as f64 * accounts.price_per_token);
        }
    }
}

/// Divides a whole number by shares so that the parts add up to it.
fn split(whole: u64, shares: impl Iterator<Item = u64> + Clone) -> impl Iterator<Item = u64> {
    let all: u64 = shares.clone().sum();
    let (mut passed, mut given) = (0, 0);
    shares.map(move |share| {
        passed += share;
        let until = (u128::from(whole) * u128::from(passed) / u128::from(all.max(1))) as u64;
        let part = until - given;
        given = until;
        part
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn parts_add_up_to_the_whole() {
        for whole in [0, 1, 2, 100, u64::MAX] {
            assert_eq!(split(whole, [1, 1, 1].into_iter()).sum::<u64>(), whole);
        }
        assert_eq!(split(100, [3, 1].into_iter()).collect::<Vec<_>>(), [75, 25]);
    }

    #[test]
    fn texts_are_divided_by_their_number_and_tokens_by_their_length_among_those_that_a_call_was_made_for() {
        let metrics = Arc::new(Metrics::new());
        let accounts = Accounts::new(metrics.clone(), "model", 1e6);
        let mut texts = vec![(Reason::Changed, 100); 9];
        texts.push((Reason::New, 9_000));
        let batch = BatchAccounts { accounts: &accounts, texts };
        let call = |texts, made_for, tokens| {
            batch.finished(FinishedCall {
                status: RequestStatus::Ok,
                latency: Duration::ZERO,
                texts,
                made_for,
                tokens,
            });
            [Reason::New, Reason::Changed].map(|reason| {
                (metrics.texts.of(reason).get(), metrics.tokens.of(reason).get(), metrics.money.of(reason).get())
            })
        };
        assert_eq!(call(5, 0..5, 30), [(0, 0, 0.0), (5, 30, 30.0)]);
        assert_eq!(call(5, 5..10, 2_000), [(1, 1_914, 1_914.0), (9, 116, 116.0)]);
        assert_eq!(
            call(1, 9..10, 4),
            [(2, 1_918, 1_918.0), (9, 116, 116.0)],
            "a harmless text, while the last is in doubt"
        );
    }
}
