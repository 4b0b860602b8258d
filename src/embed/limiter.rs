//! When the next call may go out: the account's limits per minute, and the pause that a provider asked for.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::settings::embedding::RateLimitSettings;

/// How long after a pause calls are still let out one after the other.
const RESUMING: Duration = Duration::from_secs(2);

/// The longest gap between two calls while resuming.
const RESUMING_GAP: Duration = Duration::from_millis(125);

/// Lets calls out in the order they came, as the limits and pauses allow. Shared by every call for documents to one provider.
#[derive(Debug)]
pub struct Limiter {
    start: Instant,
    gate: Arc<Mutex<Gate>>,
    /// Whoever holds this is next; tokio's mutex hands it on in order of arrival.
    turn: tokio::sync::Mutex<()>,
}

impl Limiter {
    /// For an account with these limits.
    pub fn new(limits: RateLimitSettings) -> Self {
        Self {
            start: Instant::now(),
            gate: Arc::new(Mutex::new(Gate::new(limits))),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The same limits with a queue of its own, for the calls of one generation: a call on a thread that hangs keeps its turn for ever.
    pub fn with_own_queue(&self) -> Self {
        Self { start: self.start, gate: self.gate.clone(), turn: tokio::sync::Mutex::default() }
    }

    /// Waits until a call with so many tokens may go out, and takes them from the limits. Dropping the future takes nothing.
    pub async fn acquire(&self, tokens: u64) {
        let _turn = self.turn.lock().await;
        loop {
            let now = self.start.elapsed();
            let Err(wait) = self.gate().admit(now, tokens, fastrand::f64()) else { return };
            // A pause may be lengthened meanwhile, so the gate is asked again.
            tokio::time::sleep(wait).await;
        }
    }

    /// Corrects the limits after a call: it was let out with `estimated` tokens and charged `charged`.
    pub fn correct(&self, estimated: u64, charged: u64) {
        let now = self.start.elapsed();
        self.gate().correct(now, estimated, charged);
    }

    /// Holds every call back for this long from now on. A pause that already lasts longer stays.
    pub fn pause(&self, length: Duration) {
        let now = self.start.elapsed();
        self.gate().pause(now.saturating_add(length));
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock()
    }
}

/// The rules, without a clock: `now` is the time since an arbitrary start and never goes back.
#[derive(Debug)]
struct Gate {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    paused_until: Duration,
    not_before: Duration,
}

impl Gate {
    fn new(limits: RateLimitSettings) -> Self {
        Self {
            requests: limits.requests_per_minute.map(Bucket::new),
            tokens: limits.tokens_per_minute.map(Bucket::new),
            paused_until: Duration::ZERO,
            not_before: Duration::ZERO,
        }
    }

    /// Takes a call with so many tokens from the limits, or says after what time to ask again. `random` is drawn evenly
    /// from 0 to 1 and spreads the calls that waited for the end of a pause.
    fn admit(&mut self, now: Duration, tokens: u64, random: f64) -> Result<(), Duration> {
        let held = self.paused_until.max(self.not_before).saturating_sub(now);
        let requests = self.requests.as_mut().map_or(Duration::ZERO, |bucket| bucket.wait(now, 1));
        let tokens_wait = self.tokens.as_mut().map_or(Duration::ZERO, |bucket| bucket.wait(now, tokens));
        let wait = held.max(requests).max(tokens_wait);
        if !wait.is_zero() {
            return Err(wait);
        }
        if let Some(bucket) = &mut self.requests {
            bucket.take(1.0);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.take(tokens as f64);
        }
        if !self.paused_until.is_zero() && now < self.paused_until + RESUMING {
            self.not_before = now + RESUMING_GAP.mul_f64(random);
        }
        Ok(())
    }

    fn correct(&mut self, now: Duration, estimated: u64, charged: u64) {
        if let Some(bucket) = &mut self.tokens {
            bucket.refill(now);
            bucket.take(charged as f64 - estimated as f64);
        }
    }

    fn pause(&mut self, until: Duration) {
        self.paused_until = self.paused_until.max(until);
    }
}

/// A token bucket that may go into debt, so that a cost larger than the bucket is let through when the bucket is full and paid
/// back by waiting.
#[derive(Debug)]
struct Bucket {
    /// One second's share, and at least one whole unit: providers enforce a limit a minute over shorter times too.
    capacity: f64,
    per_second: f64,
    level: f64,
    at: Duration,
}

impl Bucket {
    fn new(per_minute: u64) -> Self {
        // A limit of zero is refused by `embed::build`; here it must only not divide by zero.
        let per_second = per_minute.max(1) as f64 / 60.0;
        let capacity = per_second.max(1.0);
        Self { capacity, per_second, level: capacity, at: Duration::ZERO }
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.capacity);
        self.at = self.at.max(now);
    }

    /// How long until a cost may be taken: zero when it may be now.
    fn wait(&mut self, now: Duration, cost: u64) -> Duration {
        self.refill(now);
        let missing = (cost as f64).min(self.capacity) - self.level;
        if missing <= 1e-9 {
            return Duration::ZERO;
        }
        // Never a wait so short that a timer would round it to nothing.
        Duration::from_secs_f64(missing / self.per_second).max(Duration::from_millis(1))
    }

    fn take(&mut self, cost: f64) {
        self.level = (self.level - cost).min(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn limits(requests_per_minute: Option<u64>, tokens_per_minute: Option<u64>) -> RateLimitSettings {
        RateLimitSettings { requests_per_minute, tokens_per_minute }
    }

    /// Lets `costs` out as early as the gate allows and returns when each went.
    fn departures(gate: &mut Gate, costs: &[u64]) -> Vec<Duration> {
        let mut now = Duration::ZERO;
        let mut left = Vec::new();
        for cost in costs {
            while let Err(wait) = gate.admit(now, *cost, 0.5) {
                now += wait;
            }
            left.push(now);
        }
        left
    }

    #[test]
    fn without_limits_nothing_waits() {
        let mut gate = Gate::new(limits(None, None));
        assert!(departures(&mut gate, &[u64::MAX; 100]).iter().all(Duration::is_zero));
    }

    #[test]
    fn requests_are_paced() {
        let mut gate = Gate::new(limits(Some(120), None));
        let left = departures(&mut gate, &[1; 122]);
        assert_eq!(left[1], Duration::ZERO, "a second's share goes at once");
        assert!(left[121] >= S(59) && left[121] <= S(61), "{:?}", left[121]);
    }

    #[test]
    fn a_call_larger_than_the_minute_goes_out_and_is_paid_back() {
        let mut gate = Gate::new(limits(None, Some(600)));
        let left = departures(&mut gate, &[6_000, 1]);
        assert_eq!(left[0], Duration::ZERO, "it does not wait for room that never comes");
        assert!(left[1] >= S(599), "and the next waits until it is paid back: {:?}", left[1]);
    }

    #[test]
    fn a_wrong_estimate_is_corrected() {
        let mut gate = Gate::new(limits(None, Some(600)));
        assert!(gate.admit(S(0), 10, 0.0).is_ok());
        gate.correct(S(0), 10, 110);
        assert!(gate.admit(S(9), 1, 0.0).is_err(), "ten seconds of debt");
        assert!(gate.admit(S(11), 1, 0.0).is_ok());
        gate.correct(S(11), 1_000_000, 0);
        assert_eq!(gate.tokens.as_ref().unwrap().level, 10.0, "what comes back never overfills");
    }

    #[test]
    fn a_pause_only_grows_and_its_end_is_no_stampede() {
        let mut gate = Gate::new(limits(None, None));
        gate.pause(S(10));
        gate.pause(S(5));
        assert_eq!(gate.admit(S(1), 1, 0.5), Err(S(9)));
        let left = departures(&mut gate, &[1; 16]);
        assert_eq!(left[0], S(10));
        assert!(left.windows(2).all(|pair| pair[1] > pair[0]), "one after the other: {left:?}");
        assert!(left[15] < S(12));
        assert!(gate.admit(S(20), 1, 0.5).is_ok() && gate.admit(S(20), 1, 0.5).is_ok(), "later there is no gap");
    }

    /// Few calls that cost much, which the limit of tokens holds back, or many that cost little, which that of requests does.
    fn any_costs() -> impl Strategy<Value = Vec<u64>> {
        prop_oneof![prop::collection::vec(1u64..500, 1..200), prop::collection::vec(1u64..10, 1000)]
    }

    proptest! {
        #[test]
        fn no_minute_exceeds_the_limit_by_more_than_a_second_and_a_call(costs in any_costs()) {
            let mut gate = Gate::new(limits(Some(600), Some(6_000)));
            let left = departures(&mut gate, &costs);
            for (first, from) in left.iter().enumerate() {
                let until = left.partition_point(|at| *at < *from + S(60));
                let tokens: u64 = costs[first..until].iter().sum();
                prop_assert!(until - first <= 600 + 10 + 1, "{} requests in a minute", until - first);
                prop_assert!(tokens <= 6_000 + 100 + 2 * 500, "{tokens} tokens in a minute");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_go_out_in_the_order_they_came_and_a_longer_pause_is_kept() {
        let limiter = Arc::new(Limiter::new(limits(Some(60), None)));
        limiter.pause(S(10));
        let began = Instant::now();
        let left = Arc::new(Mutex::new(Vec::new()));
        let calls: Vec<_> = (0..5)
            .map(|n| {
                let (limiter, left) = (limiter.clone(), left.clone());
                tokio::spawn(async move {
                    limiter.acquire(1).await;
                    left.lock().push((n, began.elapsed().as_secs()));
                })
            })
            .collect();
        tokio::time::sleep(S(5)).await;
        limiter.pause(S(15));
        for call in calls {
            call.await.unwrap();
        }
        let left = left.lock().clone();
        assert_eq!(left.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(left[0].1 == 20 && left[4].1 >= 24, "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_gives_up_waiting_does_not_hold_the_others() {
        let limiter = Limiter::new(limits(Some(60), None));
        limiter.acquire(1).await;
        assert!(tokio::time::timeout(Duration::from_millis(10), limiter.acquire(1)).await.is_err());
        let began = Instant::now();
        limiter.acquire(1).await;
        assert!(began.elapsed() <= S(1), "the abandoned call took nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_on_a_thread_that_hangs_holds_up_nobody_of_the_next_generation() {
        let limiter = Limiter::new(limits(None, Some(60)));
        limiter.acquire(60).await;
        let hung = limiter.with_own_queue();
        let mut waiting = Box::pin(hung.acquire(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        let began = Instant::now();
        limiter.with_own_queue().acquire(1).await;
        assert!(began.elapsed() > Duration::from_secs(50), "the limits are the same");
    }
}
