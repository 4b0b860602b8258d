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
        let mut shares = Vec::new();
        for reason in Reason::ALL {
            let mut share = Share { reason, texts: 0, bytes: 0 };
            for text in batch.iter().filter(|text| text.reason == reason) {
                share.texts += 1;
                share.bytes += text.text.len().max(1) as u64;
            }
            if share.texts > 0 {
                shares.push(share);
            }
        }
        BatchAccounts { accounts: self, shares }
    }
}

/// Counts the calls of one batch.
pub(super) struct BatchAccounts<'a> {
    accounts: &'a Accounts,
    shares: Vec<Share>,
}

/// What of a batch is for one reason.
#[derive(Debug)]
struct Share {
    reason: Reason,
    texts: u64,
    bytes: u64,
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
        let texts = split(call.texts as u64, self.shares.iter().map(|share| share.texts));
        let tokens = split(call.tokens, self.shares.iter().map(|share| share.bytes));
        for (share, (texts, tokens)) in self.shares.iter().zip(texts.zip(tokens)) {
            accounts.metrics.texts.of(share.reason).inc_by(texts);
            accounts.metrics.tokens.of(share.reason).inc_by(tokens);
            accounts.metrics.money.of(share.reason).inc_by(tokens as f64 * accounts.price_per_token);
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
    fn texts_are_divided_by_their_number_and_tokens_by_their_length() {
        let metrics = Arc::new(Metrics::new());
        let accounts = Accounts::new(metrics.clone(), "model", 1e6);
        let shares = vec![
            Share { reason: Reason::New, texts: 1, bytes: 9_000 },
            Share { reason: Reason::Changed, texts: 9, bytes: 900 },
        ];
        let call = FinishedCall { status: RequestStatus::Ok, latency: Duration::ZERO, texts: 10, tokens: 2_200 };
        BatchAccounts { accounts: &accounts, shares }.finished(call);
        let paid = [Reason::New, Reason::Changed].map(|reason| {
            (metrics.texts.of(reason).get(), metrics.tokens.of(reason).get(), metrics.money.of(reason).get())
        });
        assert_eq!(paid, [(1, 2_000, 2_000.0), (9, 200, 200.0)]);
    }
}
