//! The obligation to settle one delivery.

use std::sync::Arc;

use parking_lot::Mutex;

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The index holds what it said.
    Indexed,
    /// It is kept, and its document is not in the index: it lacks a field of its text, or there was nothing to delete.
    Stored,
    /// It changed nothing.
    Unchanged,
    /// Others of its document were there before it, newer or of the same version, and won.
    Superseded,
    /// It can never be indexed, for this reason: it belongs in the dead letters.
    Rejected(Arc<str>),
    /// Nobody settled it: it must be delivered again.
    Lost,
}

/// Where the verdicts of one ingestor arrive. Many may arrive before the ingestor looks: it is woken once for all of them.
pub struct Verdicts {
    arrived: Mutex<Vec<(u64, Verdict)>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Verdicts {
    /// `wake` is called when the first verdict arrives after a [`Verdicts::take`]; it must not block.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { arrived: Mutex::default(), wake: Box::new(wake) })
    }

    /// All verdicts that arrived since the last call, with the number of their delivery.
    pub fn take(&self) -> Vec<(u64, Verdict)> {
        std::mem::take(&mut self.arrived.lock())
    }

    fn report(&self, delivery: u64, verdict: Verdict) {
        let first = {
            let mut arrived = self.arrived.lock();
            arrived.push((delivery, verdict));
            arrived.len() == 1
        };
        if first {
            (self.wake)();
        }
    }
}

/// The obligation to settle one delivery. Dropped unsettled (by a panic, a killed generation, a forgotten branch) it reports
/// [`Verdict::Lost`], so that silence is never taken for success.
#[must_use = "a receipt that is dropped reports its delivery as lost"]
pub struct Receipt {
    delivery: u64,
    /// Taken by `settle`, so that the drop that follows says nothing.
    verdicts: Option<Arc<Verdicts>>,
}

impl Receipt {
    /// A receipt for the delivery of this number.
    pub fn new(delivery: u64, verdicts: Arc<Verdicts>) -> Self {
        Self { delivery, verdicts: Some(verdicts) }
    }

    /// Says how the delivery ended.
    pub fn settle(mut self, verdict: Verdict) {
        if let Some(verdicts) = self.verdicts.take() {
            verdicts.report(self.delivery, verdict);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(verdicts) = self.verdicts.take() {
            verdicts.report(self.delivery, Verdict::Lost);
        }
    }
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receipt({})", self.delivery)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_receipt_reports_once_and_a_dropped_one_is_lost() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = wakes.clone();
        let verdicts = Verdicts::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        Receipt::new(1, verdicts.clone()).settle(Verdict::Indexed);
        drop(Receipt::new(2, verdicts.clone()));
        assert_eq!(wakes.load(Ordering::SeqCst), 1, "one wake serves all verdicts until they are taken");
        assert_eq!(verdicts.take(), [(1, Verdict::Indexed), (2, Verdict::Lost)]);
        Receipt::new(3, verdicts.clone()).settle(Verdict::Unchanged);
        assert_eq!(wakes.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_panic_while_a_receipt_is_held_loses_it() {
        let verdicts = Verdicts::new(|| {});
        let receipt = Receipt::new(7, verdicts.clone());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = receipt;
            panic!("in the middle of work");
        }));
        assert!(panicked.is_err());
        assert_eq!(verdicts.take(), [(7, Verdict::Lost)]);
    }
}
