//! A process that is killed in the middle of its work: what it had promised is there, and the next one ends in the index that the
//! events make.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::pipeline::Running;
use crate::provider::Provider;
use crate::rounds::rounds;
use crate::story::Story;
use crate::telling::{Telling, Through};

/// Of each kind of source.
const ROUNDS: u64 = 6;
const EVENTS: usize = 1500;

/// When to kill.
#[derive(Debug)]
enum Moment {
    /// While calls are out that nobody answers: once so many texts more were sent.
    Sent(usize),
    /// While a run gets all it asks for: after so many points more.
    Written(u64),
    /// So long after the start.
    After(Duration),
}

impl Moment {
    fn any(random: &mut fastrand::Rng) -> Self {
        match random.u32(..3) {
            0 => Self::Sent(random.usize(1..150)),
            1 => Self::Written(random.u64(1..150)),
            _ => Self::After(Duration::from_millis(random.u64(..500))),
        }
    }

    /// Starts a process and waits for the moment, or until there is nothing left to tell.
    fn of_a_run(self, telling: &mut Telling, provider: &Provider) -> Running {
        let points = |telling: &Telling| telling.pipeline.number("SELECT next_point FROM counts").unwrap_or(1);
        let (sent, written) = (provider.sent().len(), points(telling));
        if let Self::Sent(more) = self {
            provider.close_at(sent + more);
        }
        let mut run = telling.start();
        let start = Instant::now();
        run.wait_until(&format!("{self:?}"), || {
            let come = match self {
                Self::Sent(more) => provider.sent().len() >= sent + more,
                Self::Written(more) => points(telling) >= written + more,
                Self::After(time) => start.elapsed() >= time,
            };
            come || telling.is_over()
        });
        run
    }
}

fn killed_at_any_moment(test: &str, through: Through) {
    rounds(test, "VECTIDE_CRASH", ROUNDS, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let story = Story::new(seed, EVENTS);
        let provider = Provider::new();
        let mut telling = Telling::new(&story, through, &provider);
        for _ in 0..random.usize(1..=3) {
            let run = Moment::any(&mut random).of_a_run(&mut telling, &provider);
            telling.signal(&run, "KILL");
            assert_eq!(run.end().code, None);
            provider.finish();
            telling.assert_kept();
        }
        telling.finish();
    });
}

#[test]
fn killed_at_any_moment_it_keeps_what_it_read_of_a_file() {
    killed_at_any_moment("killed_at_any_moment_it_keeps_what_it_read_of_a_file", Through::File);
}

#[test]
fn killed_at_any_moment_it_keeps_what_it_settled_of_standard_input() {
    killed_at_any_moment("killed_at_any_moment_it_keeps_what_it_settled_of_standard_input", Through::Stdin);
}

#[test]
fn killed_at_any_moment_it_keeps_what_it_answered_202() {
    killed_at_any_moment("killed_at_any_moment_it_keeps_what_it_answered_202", Through::Http);
}

#[test]
fn killed_again_and_again_it_ends_in_the_same_index_and_pays_again_only_for_what_was_on_its_way() {
    const KILLS: usize = 8;
    let mut random = fastrand::Rng::with_seed(7);
    let story = Story::new(1, 12_000);
    let provider = Provider::new();
    let pipeline = Story::pipeline(&provider);
    pipeline.write("input.jsonl", story.lines.concat());
    let mut killed = Vec::new();
    for kill in 0..KILLS {
        let mut run;
        if kill % 2 == 0 {
            // While calls are out that nobody answers.
            let sent = provider.sent().len() + random.usize(20..150);
            provider.close_at(sent);
            run = pipeline.start();
            run.wait_until("so many texts were sent", || provider.sent().len() >= sent);
        } else {
            // Between the writes of a run that gets all it asks for.
            let indexed = pipeline.indexed() + random.u64(1..100);
            run = pipeline.start();
            run.wait_until("so many documents are indexed", || pipeline.indexed() >= indexed);
        }
        run.signal("KILL");
        assert_eq!(run.end().code, None);
        provider.finish();
        killed.push((provider.sent().len(), provider.kept_by(&pipeline)));
    }
    pipeline.run_well();
    story.assert_told(&pipeline);
    let sent = provider.sent();
    for (kill, (before, kept)) in killed.iter().enumerate() {
        let again: Vec<_> = sent[*before..].iter().filter(|text| kept.contains(*text)).collect();
        assert!(again.is_empty(), "kept before kill {kill} and paid for again: {again:?}");
    }
    let last = &sent[killed[KILLS - 1].0..];
    let once: HashSet<&String> = last.iter().collect();
    assert_eq!(once.len(), last.len(), "without a kill, no text is paid for twice");
    assert!(!killed[1].1.is_empty(), "kills came before the first write");
    assert!(!last.is_empty(), "kills came behind the last write");

    let paid = sent.len();
    pipeline.run_well();
    assert_eq!(provider.sent().len(), paid, "a run with nothing new pays nothing");
}
