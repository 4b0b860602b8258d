//! What Vectide relies on in actix 0.13.5, and why it does not send with it directly: `src/actor` is built on these facts. A test that
//! fails after an update of actix says which of its pieces must be thought through again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use actix::dev::channel;
use actix::prelude::*;
use futures_util::FutureExt;
use tokio::sync::oneshot;

const CAPACITY: usize = 4;

/// Counts what reaches it, and how often it started and was dropped.
#[derive(Default, Clone)]
struct Counts {
    handled: Arc<AtomicUsize>,
    started: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

struct Counter(Counts);

impl Actor for Counter {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        self.0.started.fetch_add(1, SeqCst);
    }
}

impl Supervised for Counter {}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, SeqCst);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Count;

#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Count> for Counter {
    type Result = ();

    fn handle(&mut self, _: Count, _: &mut Context<Self>) {
        self.0.handled.fetch_add(1, SeqCst);
    }
}

impl Handler<Crash> for Counter {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("as it was asked to");
    }
}

/// An actor with a mailbox of [`CAPACITY`] that does nothing until its future is polled.
fn unpolled() -> (Addr<Counter>, Counts, actix::dev::ContextFut<Counter, Context<Counter>>) {
    let (counts, (sender, receiver)) = (Counts::default(), channel::channel(CAPACITY));
    (Addr::new(sender), counts.clone(), Context::with_receiver(receiver).into_future(Counter(counts)))
}

fn on_paused_time(test: impl Future<Output = ()> + 'static) {
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(test);
}

async fn rest() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[test]
fn do_send_ignores_the_capacity() {
    on_paused_time(async {
        let (address, counts, actor) = unpolled();
        (0..1000).for_each(|_| address.do_send(Count));
        actix::spawn(actor);
        rest().await;
        assert_eq!(counts.handled.load(SeqCst), 1000);
    });
}

#[test]
fn an_awaited_send_ignores_the_capacity_too() {
    on_paused_time(async {
        let (address, counts, actor) = unpolled();
        let mut requests: Vec<_> = (0..1000).map(|_| Box::pin(address.send(Count))).collect();
        for request in &mut requests {
            assert!(request.as_mut().now_or_never().is_none(), "it waits for its answer, not for room");
        }
        actix::spawn(actor);
        rest().await;
        assert_eq!(counts.handled.load(SeqCst), 1000, "all were in the mailbox after one poll each");
    });
}

#[test]
fn a_request_that_is_dropped_takes_its_queued_message_along() {
    on_paused_time(async {
        let (address, counts, actor) = unpolled();
        drop(address.send(Count));
        actix::spawn(actor);
        rest().await;
        assert_eq!(counts.handled.load(SeqCst), 0);
    });
}

#[test]
fn try_send_gives_every_clone_of_a_sender_a_place_beyond_the_capacity() {
    on_paused_time(async {
        let (address, _counts, _actor) = unpolled();
        let through_one = (0..100).filter(|_| address.try_send(Count).is_ok()).count();
        assert_eq!(through_one, CAPACITY);
        let recipient = address.recipient();
        let through_clones = (0..100).filter(|_| recipient.clone().try_send(Count).is_ok()).count();
        assert_eq!(through_clones, 100, "so a credit must bound an edge, not the mailbox");
    });
}

#[test]
fn a_panic_ends_an_actor_and_its_mailbox_under_the_supervisor_of_actix() {
    on_paused_time(async {
        let counts = Counts::default();
        let made = counts.clone();
        let address = actix::Supervisor::start(move |_| Counter(made.clone()));
        address.do_send(Count);
        address.do_send(Crash);
        address.do_send(Count);
        rest().await;
        assert_eq!((counts.handled.load(SeqCst), counts.started.load(SeqCst)), (1, 1), "not restarted");
        assert!(!address.connected());
        address.do_send(Count);
        assert!(matches!(address.send(Count).await, Err(MailboxError::Closed)), "and do_send had said nothing");
    });
}

#[test]
fn a_context_can_be_restarted_after_a_panic_with_its_mailbox() {
    on_paused_time(async {
        let (address, counts, mut actor) = unpolled();
        let poll = move || {
            let polled = catch_unwind(AssertUnwindSafe(|| (&mut actor).now_or_never()));
            polled.inspect_err(|_| assert!(actor.restart(), "an address is alive")).is_ok()
        };
        let mut poll = poll;
        address.do_send(Count);
        address.do_send(Crash);
        address.do_send(Count);
        assert!(!poll());
        assert_eq!(counts.handled.load(SeqCst), 1);
        assert!(poll());
        assert_eq!((counts.handled.load(SeqCst), counts.started.load(SeqCst)), (2, 2));
    });
}

#[test]
fn a_restart_drops_the_futures_of_the_actor() {
    on_paused_time(async {
        struct Spawner(Arc<AtomicUsize>);
        impl Actor for Spawner {
            type Context = Context<Self>;
            fn started(&mut self, ctx: &mut Context<Self>) {
                let held = self.0.clone();
                ctx.spawn(async move { drop((std::future::pending::<()>().await, held)) }.into_actor(self));
            }
        }
        impl Supervised for Spawner {}
        let held = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = channel::channel(CAPACITY);
        let _address = Addr::<Spawner>::new(sender);
        let mut actor = Context::with_receiver(receiver).into_future(Spawner(held.clone()));
        assert!((&mut actor).now_or_never().is_none());
        assert_eq!(Arc::strong_count(&held), 3, "the test, the actor and its future");
        assert!(actor.restart());
        assert_eq!(Arc::strong_count(&held), 2);
    });
}

#[test]
fn a_panic_of_a_detached_task_hurts_only_the_task() {
    on_paused_time(async {
        let (address, counts, actor) = unpolled();
        actix::spawn(actor);
        let task = actix::spawn(async { panic!("in a task") });
        assert!(task.await.unwrap_err().is_panic());
        address.send(Count).await.unwrap();
        assert_eq!(counts.handled.load(SeqCst), 1);
    });
}

#[test]
fn stopping_an_arbiter_drops_its_actors_tasks_and_mailboxes() {
    System::new().block_on(async {
        let (arbiter, counts) = (Arbiter::new(), Counts::default());
        let (made, (started, start)) = (counts.clone(), oneshot::channel());
        let (held, gone) = oneshot::channel::<()>();
        arbiter.spawn_fn(move || {
            actix::spawn(async move { drop((std::future::pending::<()>().await, held)) });
            started.send(Counter(made).start()).ok().unwrap();
        });
        let address = start.await.unwrap();
        address.send(Count).await.unwrap();
        arbiter.stop();
        assert!(gone.await.is_err(), "the task was dropped in the middle");
        tokio::task::spawn_blocking(move || arbiter.join()).await.unwrap().unwrap();
        assert_eq!(counts.dropped.load(SeqCst), 1);
        assert!(!address.connected());
    });
}

/// A context with an address and nothing to do is pending, so the facts above do not hold by accident.
#[test]
fn an_actor_with_an_address_stays() {
    on_paused_time(async {
        let (address, counts, mut actor) = unpolled();
        assert_eq!((&mut actor).now_or_never(), None);
        assert_eq!((address.connected(), counts.dropped.load(SeqCst)), (true, 0));
    });
}
