//! Supervision of one actor: a panic resets its state and keeps its mailbox.
//!
//! `actix::Supervisor` does neither: it restarts on `stop()` only, at once and without limit, and a panic ends the actor with its mailbox.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use actix::dev::{ContextFut, channel};
use actix::prelude::*;
use tokio::time::{Instant, Sleep};

use super::backoff::Backoff;
use super::panic::message;

/// How many restarts are allowed within [`BUDGET_PERIOD`]; one more panic and the actor is given up.
pub(crate) const BUDGET: usize = 5;
/// See [`BUDGET`].
const BUDGET_PERIOD: Duration = Duration::from_secs(60);
/// The pause before a restart, by how many there were within the period.
const RESTART: Backoff = Backoff::new(Duration::from_millis(10), BUDGET_PERIOD);

/// What happened to a guarded actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incident {
    /// It panicked, with this message, and will be restarted.
    Panicked(String),
    /// It runs again, with its state reset.
    Restarted,
    /// It panicked once too often and is gone, with its mailbox: the generation must be rebuilt.
    GaveUp(String),
}

/// Told what happens to the actor of this name.
pub type OnIncident = Arc<dyn Fn(&str, Incident) + Send + Sync>;

/// Starts an actor under guard on the current arbiter. Its mailbox holds `credits + 1` messages, as an
/// [`Outlet`](super::Outlet) with so many credits needs. `Supervised::restarting` must reset its state; `started` runs after each restart.
pub fn spawn<A>(name: impl Into<Arc<str>>, credits: usize, on_incident: OnIncident, actor: A) -> Addr<A>
where
    A: Supervised + Actor<Context = Context<A>>,
{
    let (sender, receiver) = channel::channel(credits + 1);
    let address = Addr::new(sender);
    actix::spawn(Guard {
        name: name.into(),
        context: Context::with_receiver(receiver).into_future(actor),
        _address: address.clone(),
        on_incident,
        panics: VecDeque::new(),
        pause: None,
    });
    address
}

/// An actor's context, polled so that a panic does not end it.
struct Guard<A: Supervised + Actor<Context = Context<A>>> {
    name: Arc<str>,
    context: ContextFut<A, Context<A>>,
    /// `ContextFut::restart` refuses when no address is alive.
    _address: Addr<A>,
    on_incident: OnIncident,
    /// When it panicked within the last period.
    panics: VecDeque<Instant>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<A: Supervised + Actor<Context = Context<A>>> Guard<A> {
    /// Plans the restart after a panic; false when the budget is spent.
    fn survive(&mut self, reason: String) -> bool {
        let now = Instant::now();
        self.panics.retain(|at| now.duration_since(*at) < BUDGET_PERIOD);
        if self.panics.len() >= BUDGET {
            (self.on_incident)(&self.name, Incident::GaveUp(reason));
            return false;
        }
        self.panics.push_back(now);
        self.pause = Some(Box::pin(tokio::time::sleep(RESTART.delay(self.panics.len() as u32, 1.0))));
        (self.on_incident)(&self.name, Incident::Panicked(reason));
        true
    }
}

impl<A: Supervised + Actor<Context = Context<A>>> Future for Guard<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = this.pause.as_mut() {
                ready!(pause.as_mut().poll(cx));
            }
            let restarts = this.pause.take().is_some();
            // A restart makes a new state, and so may panic as well.
            let poll = catch_unwind(AssertUnwindSafe(|| {
                if restarts {
                    if !this.context.restart() {
                        return Poll::Ready(());
                    }
                    (this.on_incident)(&this.name, Incident::Restarted);
                }
                Pin::new(&mut this.context).poll(cx)
            }));
            match poll {
                Ok(poll) => return poll,
                Err(panic) => {
                    if !this.survive(message(&*panic)) {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::actor::{Outlet, Parcel};

    /// Panics on odd numbers and records the even ones.
    struct Fragile {
        seen: Arc<Mutex<Vec<u64>>>,
        state: u64,
    }

    impl Actor for Fragile {
        type Context = Context<Self>;
    }

    impl Supervised for Fragile {
        fn restarting(&mut self, _: &mut Context<Self>) {
            self.state = 0;
        }
    }

    impl Handler<Parcel<u64>> for Fragile {
        type Result = ();

        fn handle(&mut self, parcel: Parcel<u64>, _: &mut Context<Self>) {
            assert_eq!(self.state, 0, "state must be reset by a restart");
            if parcel.body % 2 == 1 {
                self.state = 1;
                panic!("odd number {}", parcel.body);
            }
            self.seen.lock().push(parcel.body);
        }
    }

    fn run(numbers: Vec<u64>) -> (Vec<u64>, Vec<Incident>) {
        let system = System::with_tokio_rt(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
        });
        system.block_on(async move {
            let (seen, incidents) = (Arc::new(Mutex::new(vec![])), Arc::new(Mutex::new(vec![])));
            let told = incidents.clone();
            let on_incident: OnIncident = Arc::new(move |_, incident| told.lock().push(incident));
            let actor = spawn("fragile", 2, on_incident, Fragile { seen: seen.clone(), state: 0 });
            let outlet = Outlet::new(actor, 2, Arc::new(|_| {}));
            for number in numbers {
                if outlet.send(number).await.is_err() {
                    break;
                }
            }
            tokio::time::sleep(BUDGET_PERIOD).await;
            (seen.lock().clone(), incidents.lock().clone())
        })
    }

    #[test]
    fn a_panic_loses_its_message_and_no_other() {
        let (seen, incidents) = run(vec![2, 1, 4, 6, 3, 8]);
        assert_eq!(seen, [2, 4, 6, 8]);
        let panicked = |number: u64| Incident::Panicked(format!("odd number {number}"));
        assert_eq!(incidents, [panicked(1), Incident::Restarted, panicked(3), Incident::Restarted]);
    }

    #[test]
    fn a_restart_that_panics_is_tried_again() {
        struct Stumbling(u32);
        impl Actor for Stumbling {
            type Context = Context<Self>;
        }
        impl Supervised for Stumbling {
            fn restarting(&mut self, _: &mut Context<Self>) {
                self.0 += 1;
                assert!(self.0 > 2, "stumbled");
            }
        }
        impl Handler<Parcel<bool>> for Stumbling {
            type Result = ();
            fn handle(&mut self, parcel: Parcel<bool>, _: &mut Context<Self>) {
                assert!(!parcel.body, "told to");
            }
        }
        crate::testkit::World::run(1, async |world| {
            let outlet = world.stage("stumbling", 2, Stumbling(0));
            outlet.send(true).await.unwrap();
            outlet.send(false).await.unwrap();
            world.rest().await;
            assert_eq!(world.panics(), 3, "one over the message, two over the restart");
        });
    }

    #[test]
    fn a_spent_budget_gives_the_actor_up_and_closes_its_outlets() {
        let (seen, incidents) = run(vec![1, 3, 5, 7, 9, 11, 2, 2, 2, 2]);
        assert_eq!(seen, [0; 0]);
        assert_eq!(incidents.last(), Some(&Incident::GaveUp("odd number 11".into())));
        assert_eq!(incidents.iter().filter(|incident| matches!(incident, Incident::Restarted)).count(), BUDGET);
    }
}
