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
            let of_reason = batch.iter().filter(|text| text.reason == reason);
            let share = of_reason.map(|text| text.text.len().max(1) as u64).sum::<u64>();
            if share > 0 {
                shares.push((reason, share));
            }
        }
        BatchAccounts { accounts: self, shares }
    }
}

/// Counts the calls of one batch.
pub(super) struct BatchAccounts<'a> {
    accounts: &'a Accounts,
    /// The bytes of each reason in the batch.
    shares: Vec<(Reason, u64)>,
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
        let texts = split(call.texts as u64, &self.shares);
        let tokens = split(call.tokens, &self.shares);
        for ((reason, texts), (_, tokens)) in texts.zip(tokens) {
            accounts.metrics.texts.of(reason).inc_by(texts);
            accounts.metrics.tokens.of(reason).inc_by(tokens);
            accounts.metrics.money.of(reason).inc_by(tokens as f64 * accounts.price_per_token);
        }
    }
}

/// Divides a whole number by shares so that the parts add up to it.
fn split(whole: u64, shares: &[(Reason, u64)]) -> impl Iterator<Item = (Reason, u64)> {
    let all: u64 = shares.iter().map(|(_, share)| share).sum();
    let (mut passed, mut given) = (0, 0);
    shares.iter().map(move |(reason, share)| {
        passed += share;
        let until = (u128::from(whole) * u128::from(passed) / u128::from(all.max(1))) as u64;
        let part = until - given;
        given = until;
        (*reason, part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_whole() {
        let shares = [(Reason::New, 1), (Reason::Changed, 1), (Reason::Migrated, 1)];
        for whole in [0, 1, 2, 100, u64::MAX] {
            assert_eq!(split(whole, &shares).map(|(_, part)| part).sum::<u64>(), whole);
        }
        let parts: Vec<_> = split(100, &[(Reason::New, 3), (Reason::Changed, 1)]).collect();
        assert_eq!(parts, [(Reason::New, 75), (Reason::Changed, 25)]);
    }
}
