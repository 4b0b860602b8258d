//! Streams, faults and kills that follow from a seed. CI runs 200 seeds; `VECTIDE_SIMULATION_SEEDS=5000` runs more, and
//! `VECTIDE_SIMULATION_SEED=17` one alone.

use std::env;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::actor::guard::BUDGET;
use crate::document::fingerprint::Fingerprinter;
use crate::testkit::fakes::{Answer, Faults};
use crate::testkit::faults::{self, IN_THE_LEDGER, Strike};

const SEEDS: u64 = 200;
/// What the provider refuses to embed. Documents with these texts have no others, and are in no index.
const REFUSED: [&str; 3] = ["refused 0", "refused 1", "refused 2"];

fn seeds() -> Range<u64> {
    let number = |name: &str| {
        let value = env::var(name).ok()?;
        Some(value.parse::<u64>().unwrap_or_else(|_| panic!("{name}={value} is no number")))
    };
    match number("VECTIDE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("VECTIDE_SIMULATION_SEEDS").unwrap_or(SEEDS),
    }
}

/// Runs a test for every seed; one that fails says how to run it alone.
pub(super) fn for_each_seed(test: &str, mut run: impl FnMut(u64)) {
    struct HowToRunAlone<'a>(u64, &'a str);
    impl Drop for HowToRunAlone<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let Self(seed, test) = self;
                eprintln!("this seed alone: VECTIDE_SIMULATION_SEED={seed} cargo test --all-features --lib {test}");
            }
        }
    }
    for seed in seeds() {
        let _alone = HowToRunAlone(seed, test);
        run(seed);
    }
}

/// Creates, updates, patches and deletes of a few documents that share a few texts, some given twice, in any order.
pub(super) fn stream(random: &mut fastrand::Rng) -> Vec<Value> {
    let mut events = Vec::new();
    let (ids, texts) = (random.choice([6, 40]).unwrap(), random.choice([9, 60]).unwrap());
    for _ in 0..random.usize(1..120) {
        let op = ["put", "put", "patch", "now", "delete"][random.usize(0..5)];
        let mut event = json!({ "op": op, "id": format!("d{}", random.u32(0..ids)), "v": random.u32(1..60) });
        if op != "delete" {
            if random.u8(0..4) > 0 {
                // Some are long enough to be cut.
                event["text"] = format!("text {} ", random.u32(0..texts)).repeat(random.usize(1..90)).into();
            }
            if random.bool() {
                event["tag"] = random.u32(0..5).into();
            }
            if random.u8(0..10) == 0 {
                event["text"] = Value::Null;
            }
        }
        events.push(event);
    }
    for _ in 0..events.len() / 4 {
        let again = events[random.usize(0..events.len())].clone();
        events.push(again);
    }
    random.shuffle(&mut events);
    events
}

#[test]
fn any_order_and_batching_of_a_stream_gives_the_same_index_and_pays_for_a_text_once() {
    for_each_seed("any_order_and_batching", |seed| {
        World::run(seed, async |world| {
            let mut random = fastrand::Rng::with_seed(seed);
            let pipeline = Pipeline::new(&world, FakeProvider::default()).await;
            let events = stream(&mut random);
            let (one, other) = events.split_at(random.usize(0..events.len()));
            let scripts = [script(one, random.usize(1..40)), script(other, random.usize(1..40))];
            pipeline.run(&[&scripts[0], &scripts[1]]).await;
            pipeline.assert_in_step(&events);
            assert_eq!(pipeline.paid_again(), 0);
            // The same again from other sources: nothing is new, so nothing is embedded and nothing is written.
            let (calls, writes) = (pipeline.provider.calls().len(), pipeline.index.writes().len());
            let again = script(&events, 50);
            let rerun = pipeline.resources.ledger.forget_positions("script-0");
            rerun.unwrap();
            pipeline.run(&[&again]).await;
            assert_eq!(pipeline.provider.calls().len(), calls);
            assert_eq!(pipeline.index.writes().len(), writes);
        });
    });
}

/// In half of all streams, puts documents among the others of which the provider will have none.
fn add_refused(events: &mut Vec<Value>, random: &mut fastrand::Rng) {
    let number = if random.bool() { random.usize(1..4) } else { 0 };
    for _ in 0..number {
        let text = random.choice(REFUSED).unwrap();
        let event = json!({ "op": "put", "id": format!("of {text}"), "v": random.u32(1..60), "text": text });
        events.insert(random.usize(0..=events.len()), event);
    }
}

fn is_refused(event: &Value) -> bool {
    event["text"].as_str().is_some_and(|text| REFUSED.contains(&text))
}

/// One folder and one provider, and the processes that work with them one after the other.
struct Simulation {
    seed: u64,
    random: fastrand::Rng,
    events: Vec<Value>,
    scripts: [Script; 2],
    window: Room,
    folder: TempDir,
    provider: Arc<FakeProvider>,
    /// What the ledger meets in this life.
    armed: Option<Strike>,
    /// How often a text was paid for until a process was killed that left no vector of it, calls that panicked aside.
    lost: BTreeMap<String, usize>,
    tally: Tally,
}

/// How often each thing happened, by its name.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, what: impl Into<String>, times: u64) {
        *self.0.entry(what.into()).or_default() += times;
    }

    fn faults(&mut self, at: &str, faults: &Faults) {
        faults.met().into_iter().for_each(|(fault, times)| self.count(format!("{at} {fault:?}"), times as u64));
    }
}

/// What goes on for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weather {
    TooManyCalls,
    ProviderDown,
    IndexDown,
    IndexBlocked,
    DiskFull,
}

impl Weather {
    const ALL: [Self; 5] =
        [Self::TooManyCalls, Self::ProviderDown, Self::IndexDown, Self::IndexBlocked, Self::DiskFull];

    async fn pass(self, over: &Pipeline, lasts: Duration) {
        let during = |faults: &Faults, fault| faults.draw(0, 1.0, &[fault]);
        let (provider, index, ledger) = (&over.provider, &over.index, &over.resources.ledger);
        match self {
            Self::TooManyCalls => during(&provider.faults, Fault::TooMany),
            Self::ProviderDown => during(&provider.faults, Fault::Unavailable),
            Self::IndexDown => during(&index.faults, Fault::Unavailable),
            Self::IndexBlocked => index.block(),
            Self::DiskFull => ledger.fill_disk(),
        }
        tokio::time::sleep(lasts).await;
        match self {
            Self::TooManyCalls | Self::ProviderDown => provider.faults.draw(0, 0.0, &[]),
            Self::IndexDown => index.faults.draw(0, 0.0, &[]),
            Self::IndexBlocked => index.unblock(),
            Self::DiskFull => ledger.free_disk(),
        }
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut events = stream(&mut random);
        add_refused(&mut events, &mut random);
        let (one, other) = events.split_at(random.usize(0..events.len()));
        let scripts = [script(one, random.usize(1..40)), script(other, random.usize(1..40))];
        let window = Room { records: random.usize(1..60), bytes: random.usize(200..20_000) };
        Self {
            seed,
            random,
            events,
            scripts,
            window,
            folder: tempfile::tempdir().unwrap(),
            provider: Arc::new(FakeProvider::refusing(REFUSED)),
            armed: None,
            lost: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    fn run(mut self) -> Tally {
        for _ in 0..self.random.usize(0..4) {
            let longest = self.random.choice([400, 30_000]).unwrap();
            let lives = Duration::from_millis(self.random.u64(0..longest));
            if self.live(Some(lives)) {
                break;
            }
        }
        assert!(self.live(None), "nothing but a kill or a spent budget of restarts keeps it from its end");
        self.tally
    }

    /// One process, until it has nothing left to do, is killed, or would have to be built anew. Answers whether it did everything.
    fn live(&mut self, lives: Option<Duration>) -> bool {
        let mut ended = false;
        World::live(self.seed, async |_| {
            let pipeline = Pipeline::within(&self.folder, self.provider.clone()).await;
            pipeline.index.recall();
            self.count_lost(&pipeline);
            self.order_faults(&pipeline, lives.is_none());
            let bounds = self.watch_bounds(&pipeline);
            let (sources, mut failures) = pipeline.start(self.window, &[&self.scripts[0], &self.scripts[1]]);
            let weather: Vec<_> = (0..self.random.usize(0..3))
                .map(|_| {
                    let weather = self.random.choice(Weather::ALL).unwrap();
                    let [begins, lasts] = [500, 60_000].map(|most| Duration::from_millis(self.random.u64(0..most)));
                    self.tally.count(format!("{weather:?}"), 1);
                    (weather, begins, lasts)
                })
                .collect();
            let passes = async {
                for (weather, begins, lasts) in weather {
                    tokio::time::sleep(begins).await;
                    weather.pass(&pipeline, lasts).await;
                }
                std::future::pending().await
            };
            let killed = async {
                match lives {
                    Some(lives) => tokio::time::sleep(lives).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = rest(&sources) => ended = true,
                Some(_) = failures.recv() => self.tally.count("given up", 1),
                () = killed => self.tally.count("killed", 1),
                () = passes => {}
            }
            if let Some(strike) = self.armed.take() {
                self.tally.count(format!("ledger {strike:?}"), faults::disarm() as u64);
            }
            bounds.assert_kept(&pipeline);
            self.tally.count("restarts", pipeline.panics());
            self.tally.count("writes refused by a full disk", pipeline.index.refused() as u64);
            self.tally.faults("index", &pipeline.index.faults);
            if ended {
                self.assert_all_is_well(&pipeline);
            }
        });
        ended
    }

    /// What is paid for and not in the ledger was on its way when the process before was killed.
    fn count_lost(&mut self, pipeline: &Pipeline) {
        let fingerprinter = Fingerprinter::new(&pipeline.resources.provider.space().key());
        let (paid, in_vain) = (self.provider.paid(), self.provider.paid_in_vain());
        let fingerprints: Vec<_> = paid.keys().map(|text| fingerprinter.of(text)).collect();
        let kept = pipeline.resources.ledger.vectors(&fingerprints).unwrap();
        for ((text, times), _) in paid.into_iter().zip(kept).filter(|(_, kept)| kept.is_none()) {
            let in_vain = in_vain.get(&text).copied().unwrap_or(0);
            self.lost.insert(text, times - in_vain);
        }
    }

    /// Four panics at most outside the sources: with five a change would be taken for the cause.
    fn order_faults(&mut self, pipeline: &Pipeline, last: bool) {
        let bad_status = [429, 500, 502, 503, 401].map(Answer::Status);
        let answers = Answer::BROKEN.into_iter().chain(bad_status).map(Fault::Answers);
        let provider: Vec<_> = answers.chain([Fault::TimesOut, Fault::Slow]).collect();
        let outside = [Fault::Unavailable, Fault::Slow];
        let panics = [Fault::PanicBefore, Fault::PanicAfter];
        self.provider.faults.stop();
        // A call that panics takes along what the other half of a batch that was refused has paid for.
        let refuses = self.events.iter().any(is_refused);
        let faults = self.faults(20, &provider, if refuses { &[] } else { &panics });
        self.provider.faults.order(faults);
        // Either the index panics or the ledger below it.
        let in_the_ledger = self.random.bool();
        self.arm_the_ledger(in_the_ledger);
        let faults = self.faults(30, &outside, if in_the_ledger { &[] } else { &panics });
        pipeline.index.faults.order(faults);
        for number in 0..self.scripts.len() {
            self.scripts[number].faults().stop();
            if !last && self.random.u8(0..8) == 0 {
                self.scripts[number].faults().order([Fault::PanicBefore; BUDGET + 1]);
            }
            let faults = self.faults(10, &outside, &panics);
            self.scripts[number].faults().order(faults);
        }
    }

    fn arm_the_ledger(&mut self, panics: bool) {
        for _ in 0..self.random.usize(0..3) {
            let strike = if panics { Strike::Panic } else { Strike::Fail };
            let times = if panics { 1 } else { self.random.usize(1..4) };
            faults::arm(self.random.choice(IN_THE_LEDGER).unwrap(), strike, self.random.usize(0..20), times);
            self.armed = Some(strike);
        }
    }

    /// For so many calls, a fifth of them and two panics at most.
    fn faults(&mut self, calls: usize, from: &[Fault], panics: &[Fault]) -> Vec<Fault> {
        let random = &mut self.random;
        let mut faults: Vec<_> = (0..calls)
            .map(|_| if random.u8(0..5) == 0 { random.choice(from).copied().unwrap() } else { Fault::None })
            .collect();
        for _ in 0..random.usize(0..3) {
            if let Some(panic) = random.choice(panics) {
                faults[random.usize(0..calls)] = *panic;
            }
        }
        faults
    }

    fn watch_bounds(&self, pipeline: &Pipeline) -> Bounds {
        let length = |event: &Value| event.to_string().len();
        let chunks = |event: &Value| pipeline.resources.chunker.cut(event["text"].as_str()?).len().into();
        let bounds = Bounds {
            window: self.window,
            largest: self.events.iter().map(length).max().unwrap_or(0),
            chunks: self.events.iter().filter_map(chunks).max().unwrap_or(0),
            broken: Arc::default(),
        };
        let faults = [&self.provider.faults, &pipeline.index.faults];
        faults.into_iter().chain(self.scripts.iter().map(Script::faults)).for_each(|faults| {
            faults.look(bounds.lookout(pipeline));
        });
        bounds
    }

    /// These documents are in the dead letters, and no others; and they are not in the index.
    fn assert_are_dead_letters(&mut self, pipeline: &Pipeline, refused: &[Value]) {
        let refused: BTreeSet<String> = refused.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        let dead = dead(pipeline);
        self.tally.count("dead letters", dead.len() as u64);
        assert_eq!(dead.into_iter().collect::<BTreeSet<_>>(), refused);
        let ids: Vec<_> = refused.iter().map(|id| DocumentId::new(id).unwrap()).collect();
        assert_eq!(pipeline.index.holds(&ids), BTreeMap::new());
    }

    fn assert_all_is_well(&mut self, pipeline: &Pipeline) {
        let (refused, taken): (Vec<_>, Vec<_>) = self.events.iter().cloned().partition(is_refused);
        pipeline.assert_holds_the_truth(&taken);
        self.assert_are_dead_letters(pipeline, &refused);
        assert_eq!(pipeline.index.strays(), [0; 0], "points of no document, or documents without their points");
        assert_eq!(pipeline.resources.metrics.embedding_queue.get(), 0, "no text is on its way");
        for (number, script) in self.scripts.iter().enumerate() {
            let committed = pipeline.resources.ledger.positions(&format!("script-{number}")).unwrap();
            let committed = committed.iter().map(|position| position.offset).max().unwrap_or(0);
            assert_eq!(committed, script.len() as u64, "everything is committed");
            self.tally.faults("source", script.faults());
        }
        let in_vain = self.provider.paid_in_vain();
        for (text, times) in self.provider.paid() {
            self.tally.count("texts paid for", times as u64);
            self.tally.count("texts paid for again", times as u64 - 1);
            let times_of = |texts: &BTreeMap<String, usize>| texts.get(&text).copied().unwrap_or(0);
            let (in_vain, lost) = (times_of(&in_vain), times_of(&self.lost));
            // The text that the pipeline asks for when it doubts another is of no document.
            assert!(
                times <= 1 + in_vain + lost || !text.starts_with("text"),
                "`{text}` was paid for {times} times, lost with a call {in_vain} times and with a process {lost} times"
            );
        }
        self.tally.faults("provider", &self.provider.faults);
    }
}

/// Documents in the dead letters, each as often as it stands there.
fn dead(pipeline: &Pipeline) -> Vec<String> {
    let letters = pipeline.resources.ledger.dead_letters(0, usize::MAX).unwrap();
    letters.into_iter().map(|dead| dead.letter.document.expect("it was read").to_string()).collect()
}

/// What may be in memory at any moment. Looked at whenever something outside is called.
struct Bounds {
    window: Room,
    /// The bytes of the longest record: one may go beyond the window.
    largest: usize,
    /// The most chunks of a text.
    chunks: usize,
    broken: Arc<Mutex<BTreeSet<String>>>,
}

impl Bounds {
    fn lookout(&self, pipeline: &Pipeline) -> impl Fn() + Send + Sync + 'static {
        let queue = pipeline.resources.metrics.embedding_queue.clone();
        let (actors, sources) = (pipeline.resources.actors.clone(), pipeline.resources.sources.clone());
        let (window, largest, chunks, broken) = (self.window, self.largest, self.chunks, self.broken.clone());
        let check = move |what: &str, is: u64, most: usize| {
            if is > most as u64 {
                broken.lock().insert(format!("{what}: {is}, and at most {most} may be"));
            }
        };
        move || {
            let mut open = 0;
            let names = ["script-0", "script-1"].map(str::to_owned);
            for (number, source) in sources.status_of(&names).iter().enumerate() {
                check("records in a window", source.window_documents, window.records);
                check("bytes in a window", source.window_bytes, window.bytes + largest);
                // What an ingestor delivered before it was restarted is still on its way.
                let board = actors.snapshot();
                let restarts = board.get(&format!("ingestor script-{number}")).map_or(0, |actor| actor.restarts);
                open += window.records * (1 + restarts as usize);
            }
            check("texts on their way", queue.get().cast_unsigned(), open * chunks);
        }
    }

    fn assert_kept(&self, pipeline: &Pipeline) {
        assert_eq!(*self.broken.lock(), BTreeSet::new());
        assert!(pipeline.provider.at_once().most() <= CALLS, "calls at once");
        assert!(pipeline.provider.calls().iter().all(|call| call.len() <= ITEMS), "texts in a call");
        assert!(pipeline.index.at_once().most() <= 1, "writes at once");
    }
}

#[test]
fn whatever_fails_and_whenever_it_is_killed_it_ends_in_step_within_its_bounds_and_pays_once() {
    let mut tally = Tally::default();
    for_each_seed("whatever_fails", |seed| {
        let happened = Simulation::new(seed).run();
        tally.count("seeds", 1);
        happened.0.into_iter().for_each(|(what, times)| tally.count(what, times));
    });
    println!("{tally:#?}");
    if tally.0["seeds"] >= SEEDS {
        let weather = Weather::ALL.map(|weather| format!("{weather:?}"));
        let broken = Answer::BROKEN.map(|answer| format!("provider {:?}", Fault::Answers(answer)));
        let panics = ["provider", "index", "source"].map(|at| format!("{at} {:?}", Fault::PanicBefore));
        let others = ["killed", "given up", "restarts", "writes refused by a full disk", "texts paid for again"];
        let others = others.into_iter().chain(["ledger Panic", "ledger Fail", "dead letters"]);
        for what in weather.into_iter().chain(broken).chain(panics).chain(others.map(str::to_owned)) {
            assert!(tally.0.get(&what).is_some_and(|times| *times > 0), "no seed met: {what}");
        }
    }
}
