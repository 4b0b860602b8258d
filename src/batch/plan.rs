//! Which texts go into the next batch, and when.
//!
//! Texts wait in lanes by priority. A lane's turn comes by the age of its oldest text: each `AGEING` of waiting counts as much
//! as one step of priority, so that back-fill yields to live changes and is never starved. Texts that are to be sent at once go before all
//! others, but for one place in ten.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::settings::BatchingSettings;
use crate::settings::embedding::RateLimitSettings;

/// How long a text must wait to be worth one step of priority.
const AGEING: Duration = Duration::from_secs(2);

/// The number of priorities.
pub const PRIORITIES: usize = 10;

/// One text in ten is taken by its worth alone: a steady stream of immediate texts would otherwise starve all others.
const ONE_OF: usize = 10;

/// A lane for every priority, and one more each for texts that are to be sent at once.
const LANES: usize = 2 * PRIORITIES;

/// What a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Texts; at least 1.
    pub items: usize,
    /// Tokens, estimated.
    pub tokens: u64,
    /// Bytes of text.
    pub bytes: usize,
    /// The longest that a text waits for others.
    pub max_wait: Duration,
}

impl Limits {
    /// What is configured, or what the provider takes in one call if that is less: every batch is sent as one. One call with more tokens
    /// than the account has in a minute is refused each time.
    pub fn new(settings: &BatchingSettings, provider_items: usize, rate_limit: RateLimitSettings) -> Self {
        let tokens = settings.max_tokens as u64;
        Self {
            items: settings.max_items.min(provider_items),
            tokens: rate_limit.tokens_per_minute.map_or(tokens, |most| tokens.min(most)),
            bytes: settings.max_bytes.as_usize(),
            max_wait: settings.max_wait.as_duration(),
        }
    }
}

/// What a text costs its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Estimated.
    pub tokens: u64,
    /// Bytes of text.
    pub bytes: usize,
}

/// Texts that wait, and the rule by which they leave.
#[derive(Debug)]
pub struct Lanes<T> {
    limits: Limits,
    lanes: [VecDeque<Waiting<T>>; LANES],
    waiting: usize,
    tokens: u64,
    bytes: usize,
    /// How many have left.
    taken: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    cost: Cost,
    since: Instant,
}

impl<T> Lanes<T> {
    /// Empty lanes.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { items: limits.items.max(1), ..limits };
        Self { limits, lanes: Default::default(), waiting: 0, tokens: 0, bytes: 0, taken: 0 }
    }

    /// Takes a text in. A priority above the highest lane waits in the highest.
    pub fn push(&mut self, item: T, cost: Cost, priority: u8, immediate: bool, now: Instant) {
        let lane = usize::from(priority).min(PRIORITIES - 1) + if immediate { PRIORITIES } else { 0 };
        self.waiting += 1;
        self.tokens += cost.tokens;
        self.bytes += cost.bytes;
        self.lanes[lane].push_back(Waiting { item, cost, since: now });
    }

    /// Drops every text. The limits stay.
    pub fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    /// From now on no text waits for others.
    pub fn hurry(&mut self) {
        self.limits.max_wait = Duration::ZERO;
    }

    /// When a batch is due if nothing more arrives; `None` when nothing waits. A time that has passed means now.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let oldest = self.oldest()?;
        if self.has_immediate() || self.is_full() {
            return Some(now);
        }
        Some(oldest + self.limits.max_wait)
    }

    /// The next batch, best texts first; `None` when none is due.
    pub fn seal(&mut self, now: Instant) -> Option<Vec<T>> {
        let due = self.due(now)?;
        if due > now {
            return None;
        }
        let mut batch = Vec::with_capacity(self.waiting.min(self.limits.items));
        let (mut tokens, mut bytes) = (0, 0);
        while batch.len() < self.limits.items {
            let Some(lane) = self.next_lane(now) else { break };
            let Some(next) = self.lanes[lane].front() else { break };
            // A text that is over a limit by itself goes alone, as the first of its batch.
            tokens += next.cost.tokens;
            bytes += next.cost.bytes;
            if !batch.is_empty() && (tokens > self.limits.tokens || bytes > self.limits.bytes) {
                break;
            }
            batch.extend(self.pop(lane));
        }
        Some(batch)
    }

    fn pop(&mut self, lane: usize) -> Option<T> {
        let next = self.lanes[lane].pop_front()?;
        self.waiting -= 1;
        self.taken = self.taken.wrapping_add(1);
        self.tokens -= next.cost.tokens;
        self.bytes -= next.cost.bytes;
        Some(next.item)
    }

    fn is_full(&self) -> bool {
        self.waiting >= self.limits.items || self.tokens >= self.limits.tokens || self.bytes >= self.limits.bytes
    }

    fn has_immediate(&self) -> bool {
        self.lanes[PRIORITIES..].iter().any(|lane| !lane.is_empty())
    }

    fn oldest(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.front()).map(|waiting| waiting.since).min()
    }

    /// The lane whose first text is worth most: its priority and a step for every [`AGEING`] that it waited. Texts that are to be
    /// sent at once go before all others, but for one in [`ONE_OF`].
    fn next_lane(&self, now: Instant) -> Option<usize> {
        let at_once_first = self.taken % ONE_OF != ONE_OF - 1;
        let worth = |lane: usize| {
            let first = self.lanes[lane].front()?;
            let age = now.saturating_duration_since(first.since).as_secs_f64() / AGEING.as_secs_f64();
            Some((at_once_first && lane >= PRIORITIES, (lane % PRIORITIES) as f64 + age))
        };
        let lanes = (0..LANES).filter_map(|lane| Some((lane, worth(lane)?)));
        lanes.max_by(|(_, a), (_, b)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(lane, _)| lane)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAIT: Duration = Duration::from_millis(50);

    fn lanes() -> Lanes<u32> {
        Lanes::new(Limits { items: 3, tokens: 100, bytes: 1000, max_wait: WAIT })
    }

    fn cost(tokens: u64) -> Cost {
        Cost { tokens, bytes: tokens as usize * 4 }
    }

    #[test]
    fn a_batch_fits_into_one_call_of_the_provider() {
        let settings = BatchingSettings::default();
        let items = |provider| Limits::new(&settings, provider, RateLimitSettings::default()).items;
        assert_eq!((items(20), items(1_000_000)), (20, settings.max_items));
    }

    #[test]
    fn a_batch_fits_into_a_minute_of_the_account() {
        let settings = BatchingSettings::default();
        let tokens = |tokens_per_minute| {
            Limits::new(&settings, 100, RateLimitSettings { tokens_per_minute, ..RateLimitSettings::default() }).tokens
        };
        assert_eq!(tokens(None), settings.max_tokens as u64);
        assert_eq!((tokens(Some(40_000)), tokens(Some(10_000_000))), (40_000, settings.max_tokens as u64));
    }

    #[test]
    fn waits_for_others_and_not_longer_than_it_may() {
        let (mut lanes, now) = (lanes(), Instant::now());
        assert_eq!(lanes.due(now), None);
        lanes.push(1, cost(1), 0, false, now);
        assert_eq!(lanes.due(now), Some(now + WAIT));
        assert_eq!(lanes.seal(now), None);
        assert_eq!(lanes.seal(now + WAIT), Some(vec![1]));
    }

    #[test]
    fn every_limit_seals() {
        let now = Instant::now();
        let mut by_items = lanes();
        (1..=4).for_each(|n| by_items.push(n, cost(1), 0, false, now));
        assert_eq!(by_items.seal(now), Some(vec![1, 2, 3]));
        assert_eq!(by_items.seal(now), None, "the rest waits");

        let mut by_tokens = lanes();
        by_tokens.push(1, cost(60), 0, false, now);
        by_tokens.push(2, cost(60), 0, false, now);
        assert_eq!(by_tokens.seal(now), Some(vec![1]));

        let mut by_bytes = lanes();
        by_bytes.push(1, Cost { tokens: 1, bytes: 600 }, 0, false, now);
        by_bytes.push(2, Cost { tokens: 1, bytes: 600 }, 0, false, now);
        assert_eq!(by_bytes.seal(now), Some(vec![1]));
    }

    #[test]
    fn an_oversized_text_goes_alone_and_blocks_nobody() {
        let (mut lanes, now) = (lanes(), Instant::now());
        lanes.push(1, cost(5), 0, false, now);
        lanes.push(2, cost(5000), 0, false, now);
        lanes.push(3, cost(5), 0, false, now);
        assert_eq!(lanes.seal(now), Some(vec![1]));
        assert_eq!(lanes.seal(now), Some(vec![2]));
        assert_eq!(lanes.seal(now + WAIT), Some(vec![3]));
    }

    #[test]
    fn an_immediate_text_goes_at_once_and_takes_others_along() {
        let (mut lanes, now) = (lanes(), Instant::now());
        lanes.push(1, cost(1), 0, false, now);
        lanes.push(2, cost(1), 0, false, now);
        lanes.push(3, cost(1), 0, true, now);
        assert_eq!(lanes.due(now), Some(now));
        assert_eq!(lanes.seal(now), Some(vec![3, 1, 2]));
        lanes.push(4, cost(1), 0, true, now);
        assert_eq!(lanes.seal(now), Some(vec![4]));
    }

    #[test]
    fn a_patient_text_behind_an_immediate_one_still_ages() {
        let (mut lanes, start) = (lanes(), Instant::now());
        lanes.push(1, cost(1), 0, false, start);
        lanes.push(2, cost(1), 0, true, start + WAIT / 2);
        assert_eq!(lanes.oldest(), Some(start));
    }

    #[test]
    fn texts_that_are_to_be_sent_at_once_leave_a_tenth_to_the_others() {
        let (mut lanes, mut now) = (lanes(), Instant::now());
        (0..100).for_each(|number| lanes.push(number, cost(1), 0, false, now));
        let mut patient = 0;
        for _ in 0..100 {
            (0..3).for_each(|_| lanes.push(1000, cost(1), 9, true, now));
            now += AGEING * 20;
            let batch = lanes.seal(now).unwrap();
            patient += batch.iter().filter(|number| **number < 1000).count();
        }
        assert_eq!(patient, 30);
    }

    #[test]
    fn a_higher_lane_goes_first_until_a_lower_one_has_waited_long_enough() {
        let (mut lanes, start) = (lanes(), Instant::now());
        lanes.push(1, cost(1), 0, false, start);
        let later = start + AGEING * 2;
        (2..=4).for_each(|n| lanes.push(n, cost(1), 1, false, later));
        assert_eq!(lanes.seal(later).unwrap(), [1, 2, 3], "two steps of age beat one of priority");
        lanes.push(5, cost(1), 0, false, later);
        lanes.push(6, cost(1), 9, false, later);
        assert_eq!(lanes.seal(later).unwrap(), [6, 4, 5]);
    }

    proptest! {
        /// Whatever arrives leaves exactly once, in batches within the limits unless a single text is over them.
        #[test]
        fn every_text_leaves_once_and_no_batch_is_over_its_limits(
            texts in prop::collection::vec((1u64..150, 0u8..12, any::<bool>(), 0u64..100), 0..60),
        ) {
            let (mut lanes, mut now) = (lanes(), Instant::now());
            let mut left = Vec::new();
            let mut collect = |sealed: Vec<u32>| {
                let tokens: u64 = sealed.iter().map(|n| texts[*n as usize].0).sum();
                prop_assert!(sealed.len() <= 3 && (tokens <= 100 || sealed.len() == 1));
                left.extend(sealed);
                Ok(())
            };
            for (number, (tokens, priority, immediate, wait)) in texts.iter().enumerate() {
                now += Duration::from_millis(*wait);
                lanes.push(number as u32, cost(*tokens), *priority, *immediate, now);
                while let Some(batch) = lanes.seal(now) {
                    collect(batch)?;
                }
            }
            while let Some(batch) = lanes.seal(now + WAIT) {
                collect(batch)?;
            }
            prop_assert!(lanes.waiting == 0 && lanes.tokens == 0 && lanes.bytes == 0);
            left.sort_unstable();
            prop_assert_eq!(left, (0..texts.len() as u32).collect::<Vec<_>>());
        }
    }
}
