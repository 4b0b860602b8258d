//! A whole actor system on paused time: timers fire in order and at once, and a test of an hour takes milliseconds.

use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use parking_lot::Mutex;

use super::Probe;
use crate::actor::{Incident, OnIncident, Outlet, Parcel, guard};
use crate::delivery::{Receipt, Verdict, Verdicts};

/// Longer than any pause of a stage, so that after it nothing more happens by itself.
pub const REST: Duration = Duration::from_secs(300);

/// See the module. Clones are the same world.
#[derive(Clone)]
pub struct World(Rc<Inner>);

struct Inner {
    incidents: Arc<Mutex<Vec<(String, Incident)>>>,
    /// What must hold at the end: a sentence for what does not.
    checks: Mutex<Vec<Check>>,
    /// What must be dropped with the actors, by its name.
    gone: Gone,
}

type Check = Box<dyn Fn() -> Option<String>>;
type Gone = Arc<Mutex<Vec<(String, Box<dyn Fn() -> bool>)>>>;

/// Tells which seed a failing test ran with.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the world's seed was {}", self.0);
        }
    }
}

impl World {
    /// Runs a test in a new world. The seed decides every random pause on the world's thread.
    ///
    /// # Panics
    /// When the test does, or when it leaves something behind: a credit that did not come back to an outlet of [`World::outlet`], a
    /// receipt of [`World::receipts`] without its verdict, a panic that was not fetched with [`World::incidents`], something given to
    /// [`World::must_go`] that outlives the actors.
    pub fn run(seed: u64, test: impl AsyncFnOnce(World)) {
        Self::live(seed, async |world| {
            test(world.clone()).await;
            world.rest().await;
            world.check();
        });
    }

    /// As [`World::run`], and at its end everything that is still under way is dropped where it stands: the test looks by itself
    /// whether what it wanted came to its end.
    ///
    /// # Panics
    /// When the test does, or when something given to [`World::must_go`] outlives the actors.
    pub fn live(seed: u64, test: impl AsyncFnOnce(World)) {
        let _seed = Seed(seed);
        let gone = Gone::default();
        let system = System::with_tokio_rt(|| {
            let mut paused = tokio::runtime::Builder::new_current_thread();
            paused.enable_all().start_paused(true).build().expect("a runtime can be made")
        });
        let left = gone.clone();
        system.block_on(async move {
            fastrand::seed(seed);
            let inner = Inner { incidents: Arc::default(), checks: Mutex::default(), gone };
            let world = World(Rc::new(inner));
            test(world).await;
        });
        // With the runtime go its tasks, and with them every actor.
        drop(system);
        let leaked: Vec<_> = left.lock().iter().filter(|(_, gone)| !gone()).map(|(name, _)| name.clone()).collect();
        assert!(leaked.is_empty(), "still alive after the last actor: {}", leaked.join(", "));
    }

    /// Starts an actor under guard, as the pipeline does.
    pub fn spawn<A>(&self, name: &str, credits: usize, actor: A) -> Addr<A>
    where
        A: Supervised + Actor<Context = Context<A>>,
    {
        guard::spawn(name, credits, self.on_incident(), actor)
    }

    /// What [`World::incidents`] reads from.
    pub fn on_incident(&self) -> OnIncident {
        let incidents = self.0.incidents.clone();
        Arc::new(move |actor, incident| incidents.lock().push((actor.to_owned(), incident)))
    }

    /// An edge to an actor. At the end all its credits must be back.
    pub fn outlet<M, A>(&self, name: &str, to: Addr<A>, credits: usize) -> Outlet<M>
    where
        M: Send + 'static,
        A: Actor + Handler<Parcel<M>>,
        A::Context: ToEnvelope<A, Parcel<M>>,
    {
        let outlet = Outlet::new(to, credits, Arc::new(|_| {}));
        let (edge, name) = (outlet.clone(), name.to_owned());
        self.must(move || {
            let away = credits - edge.free();
            (away > 0).then(|| format!("{away} of {credits} credits of the edge to {name} did not come back"))
        });
        outlet
    }

    /// An actor under guard and the edge to it.
    pub fn stage<M, A>(&self, name: &str, credits: usize, actor: A) -> Outlet<M>
    where
        M: Send + 'static,
        A: Supervised + Actor<Context = Context<A>> + Handler<Parcel<M>>,
    {
        self.outlet(name, self.spawn(name, credits, actor), credits)
    }

    /// A neighbour and the edge to it.
    pub fn probe<M: Send + Unpin + 'static>(&self, name: &str, credits: usize) -> (Probe<M>, Outlet<M>) {
        let probe = Probe::new(name);
        let outlet = self.stage(name, credits, probe.actor());
        (probe, outlet)
    }

    /// A desk that issues receipts and collects their verdicts. At the end every receipt must have one.
    pub fn receipts(&self) -> Receipts {
        let receipts = Receipts { verdicts: Verdicts::new(|| {}), book: Arc::default() };
        let desk = receipts.clone();
        self.must(move || {
            let open = desk.open();
            (!open.is_empty()).then(|| format!("deliveries without a verdict: {open:?}"))
        });
        receipts
    }

    /// What happened to actors since the last call.
    pub fn incidents(&self) -> Vec<(String, Incident)> {
        std::mem::take(&mut self.0.incidents.lock())
    }

    /// How many panics of actors there were since the last call; none may have been given up.
    pub fn panics(&self) -> usize {
        let incidents = self.incidents();
        let gave_up = incidents.iter().find(|(_, incident)| matches!(incident, Incident::GaveUp(_)));
        assert!(gave_up.is_none(), "given up: {gave_up:?}");
        incidents.iter().filter(|(_, incident)| matches!(incident, Incident::Panicked(_))).count()
    }

    /// Lets time pass until nothing more happens by itself.
    pub async fn rest(&self) {
        tokio::time::sleep(REST).await;
    }

    /// Something that must hold at the end; it tells what does not.
    pub fn must(&self, check: impl Fn() -> Option<String> + 'static) {
        self.0.checks.lock().push(Box::new(check));
    }

    /// Something that must be dropped when the actors are.
    pub fn must_go<T: ?Sized + 'static>(&self, name: &str, shared: &Arc<T>) {
        let weak: Weak<T> = Arc::downgrade(shared);
        self.0.gone.lock().push((name.to_owned(), Box::new(move || weak.strong_count() == 0)));
    }

    fn check(&self) {
        let mut problems: Vec<String> = self.0.checks.lock().iter().filter_map(|check| check()).collect();
        problems.extend(self.incidents().iter().map(|(actor, incident)| format!("{actor}: {incident:?}")));
        assert!(problems.is_empty(), "the world is not as it should be at its end:\n  {}", problems.join("\n  "));
    }
}

/// See [`World::receipts`]. Clones share one desk.
#[derive(Clone)]
pub struct Receipts {
    verdicts: Arc<Verdicts>,
    /// By number, the verdict once it came.
    book: Arc<Mutex<Vec<Option<Verdict>>>>,
}

impl Receipts {
    /// A receipt with the next number, counted from 0.
    pub fn issue(&self) -> Receipt {
        let mut book = self.book.lock();
        book.push(None);
        Receipt::new(book.len() as u64 - 1, self.verdicts.clone())
    }

    /// The verdict of each receipt in the order of their numbers.
    pub fn all(&self) -> Vec<Option<Verdict>> {
        let mut book = self.book.lock();
        for (number, verdict) in self.verdicts.take() {
            let entry = &mut book[number as usize];
            assert_eq!(*entry, None, "delivery {number} has a second verdict: {verdict:?}");
            *entry = Some(verdict);
        }
        book.clone()
    }

    /// The verdict of one receipt.
    pub fn of(&self, number: usize) -> Option<Verdict> {
        self.all()[number].clone()
    }

    /// The numbers of the receipts that have no verdict.
    pub fn open(&self) -> Vec<usize> {
        let all = self.all();
        (0..all.len()).filter(|number| all[*number].is_none()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::actor::panic::message;

    fn complaint(test: impl AsyncFnOnce(World)) -> String {
        let panic = catch_unwind(AssertUnwindSafe(|| World::run(1, test))).expect_err("the world must complain");
        message(&*panic)
    }

    #[test]
    fn a_world_without_leaks_ends_well() {
        World::run(1, async |world| {
            let (probe, outlet) = world.probe::<u32>("probe", 2);
            for number in 0..10 {
                outlet.send(number).await.unwrap();
            }
            assert_eq!(probe.settled(10).await, (0..10).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_credit_that_stays_away_is_told() {
        let said = complaint(async |world| {
            let (probe, outlet) = world.probe::<u32>("probe", 2);
            probe.hold();
            outlet.send(1).await.unwrap();
            std::mem::forget(probe.next().await);
        });
        assert!(said.contains("1 of 2 credits of the edge to probe"), "{said}");
    }

    #[test]
    fn a_receipt_without_a_verdict_is_told() {
        let said = complaint(async |world| std::mem::forget(world.receipts().issue()));
        assert!(said.contains("deliveries without a verdict: [0]"), "{said}");
    }

    #[test]
    fn a_panic_that_nobody_fetched_is_told() {
        let said = complaint(async |world| {
            let (probe, outlet) = world.probe::<u32>("probe", 2);
            probe.panic_once();
            outlet.send(1).await.unwrap();
        });
        assert!(said.contains("probe: Panicked"), "{said}");
    }

    #[test]
    fn something_that_outlives_the_actors_is_told() {
        let kept = Arc::new(Mutex::new(None));
        let keeper = kept.clone();
        let said = complaint(async move |world| {
            let shared = Arc::new(1);
            world.must_go("the number", &shared);
            *keeper.lock() = Some(shared);
        });
        assert!(said.contains("still alive after the last actor: the number"), "{said}");
        assert_eq!(kept.lock().as_deref(), Some(&1));
    }
}
