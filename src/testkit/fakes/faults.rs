//! What goes wrong at a fake, by order or by chance, and how many of its calls are under way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Answer;

/// What the next calls meet, in order; then all goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing: the call goes well.
    None,
    /// "Not now" for this call.
    Unavailable,
    /// "Not now" for all calls (429); for an index the same as `Unavailable`.
    TooMany,
    /// The provider sends this; for others the same as `Unavailable`.
    Answers(Answer),
    /// No answer for [`SLOW`], and then it is too late for one; for others the same as `Unavailable`.
    TimesOut,
    /// A panic before anything is done.
    PanicBefore,
    /// A panic after all was done, so that nobody learns of it.
    PanicAfter,
    /// It goes well, and takes [`SLOW`] longer.
    Slow,
    /// No answer, ever.
    Hang,
}

/// What [`Fault::Slow`] adds.
pub const SLOW: Duration = Duration::from_secs(10);

/// Faults that happen with a chance, drawn from a seed, and else as they were ordered.
#[derive(Default)]
pub struct Faults {
    ordered: Mutex<VecDeque<Fault>>,
    /// Chance of a fault per call, the faults to draw from, and what draws.
    drawn: Mutex<Option<(f64, Vec<Fault>, fastrand::Rng)>>,
    met: Mutex<BTreeMap<Fault, usize>>,
    lookout: Mutex<Option<Lookout>>,
}

type Lookout = Arc<dyn Fn() + Send + Sync>;

impl Faults {
    /// The next calls meet these, one each.
    pub fn order(&self, faults: impl IntoIterator<Item = Fault>) {
        self.ordered.lock().extend(faults);
    }

    /// From now on a call meets one of these with this chance.
    pub fn draw(&self, seed: u64, chance: f64, from: &[Fault]) {
        *self.drawn.lock() = Some((chance, from.to_vec(), fastrand::Rng::with_seed(seed)));
    }

    /// From now on all goes well.
    pub fn stop(&self) {
        *self.drawn.lock() = None;
        self.ordered.lock().clear();
    }

    /// How many calls met each fault so far.
    pub fn met(&self) -> BTreeMap<Fault, usize> {
        self.met.lock().clone()
    }

    /// From now on looks around at every call, before it does anything: for what must hold at any moment.
    pub fn look(&self, lookout: impl Fn() + Send + Sync + 'static) {
        *self.lookout.lock() = Some(Arc::new(lookout));
    }

    pub(super) fn next(&self) -> Fault {
        let lookout = self.lookout.lock().clone();
        if let Some(look) = lookout {
            look();
        }
        let fault = self.choose();
        *self.met.lock().entry(fault).or_default() += 1;
        fault
    }

    fn choose(&self) -> Fault {
        if let Some((chance, from, random)) = &mut *self.drawn.lock()
            && random.f64() < *chance
            && let Some(fault) = random.choice(from.iter())
        {
            return *fault;
        }
        self.ordered.lock().pop_front().unwrap_or(Fault::None)
    }
}

/// How many calls are under way, and the most that ever were.
#[derive(Debug, Default)]
pub struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl AtOnce {
    /// The most that ever were.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// One more, until what is returned is dropped.
    pub(super) fn enter(&self) -> impl Drop {
        struct Leaves<'a>(&'a AtOnce);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                self.0.now.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Leaves(self)
    }
}
