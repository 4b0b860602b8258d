//! What all runs did together.

use std::ops::Add;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use crate::telemetry::Metrics;

use super::Ledger;
use super::error::LedgerError;

/// Counts over everything the ledger has seen, kept across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Texts sent to the provider.
    pub texts_sent: u64,
    /// Tokens sent to the provider, by its own count where it tells one.
    pub tokens_sent: u64,
    /// Texts that needed no call: a vector was at hand.
    pub cache_hits: u64,
    /// Money spent, in US dollars.
    pub money: f64,
    /// Events settled.
    pub events: u64,
}

impl Totals {
    /// What this run adds to them.
    pub fn of(metrics: &Metrics) -> Self {
        Self {
            texts_sent: metrics.texts.sum(),
            tokens_sent: metrics.tokens.sum(),
            cache_hits: metrics.cache_hits.sum(),
            money: metrics.money.sum(),
            events: metrics.events.settled(),
        }
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            texts_sent: self.texts_sent + more.texts_sent,
            tokens_sent: self.tokens_sent + more.tokens_sent,
            cache_hits: self.cache_hits + more.cache_hits,
            money: self.money + more.money,
            events: self.events + more.events,
        }
    }
}

impl Ledger {
    /// The sums over all runs.
    pub fn totals(&self) -> Result<Totals, LedgerError> {
        self.read("read the totals", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT texts, tokens, money, cache_hits, events FROM totals")?;
            Ok(statement.query_row([], |row| {
                let column = |index| row.get(index).map(i64::cast_unsigned);
                Ok(Totals {
                    texts_sent: column(0)?,
                    tokens_sent: column(1)?,
                    cache_hits: column(3)?,
                    money: row.get(2)?,
                    events: column(4)?,
                })
            })?)
        })
    }

    /// Adds to the sums over all runs.
    pub fn add_totals(&self, more: &Totals) -> Result<(), LedgerError> {
        self.change("add to the totals", |transaction| {
            let mut statement = transaction.prepare_cached(
                "UPDATE totals SET texts = texts + ?1, tokens = tokens + ?2, money = money + ?3,
                 cache_hits = cache_hits + ?4, events = events + ?5",
            )?;
            statement.execute(params![
                more.texts_sent.cast_signed(),
                more.tokens_sent.cast_signed(),
                more.money,
                more.cache_hits.cast_signed(),
                more.events.cast_signed()
            ])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::open;

    #[test]
    fn totals_add_up() {
        let (_folder, ledger) = open();
        let some = Totals { texts_sent: 1, tokens_sent: 20, cache_hits: 3, money: 0.25, events: 4 };
        ledger.add_totals(&some).unwrap();
        ledger.add_totals(&some).unwrap();
        assert_eq!(
            ledger.totals().unwrap(),
            Totals { texts_sent: 2, tokens_sent: 40, cache_hits: 6, money: 0.5, events: 8 }
        );
    }
}
