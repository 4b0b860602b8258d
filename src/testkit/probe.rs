//! A real actor that stands in for a neighbour.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::actor::{Credit, Parcel};

/// How long a test waits for a parcel before it fails; in virtual time.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a probe does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Keeps the body and gives the credit back.
    Settle,
    /// Keeps both.
    Hold,
    /// Drops both.
    Lose,
}

/// Looks into a neighbour and tells it how to behave. Clones are the same probe.
pub struct Probe<M>(Arc<Shared<M>>);

struct Shared<M> {
    name: String,
    state: Mutex<State<M>>,
    arrived: Notify,
}

struct State<M> {
    manner: Manner,
    panics: usize,
    parcels: VecDeque<(M, Option<Credit>)>,
}

impl<M> Clone for Probe<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Send + Unpin + 'static> Probe<M> {
    pub(super) fn new(name: &str) -> Self {
        let state = State { manner: Manner::Settle, panics: 0, parcels: VecDeque::new() };
        Self(Arc::new(Shared { name: name.to_owned(), state: Mutex::new(state), arrived: Notify::new() }))
    }

    pub(super) fn actor(&self) -> Neighbour<M> {
        Neighbour(self.0.clone())
    }

    /// From now on: keeps what comes and gives its credits back. How a probe begins.
    pub fn settle(&self) {
        self.0.state.lock().manner = Manner::Settle;
    }

    /// From now on: keeps what comes, with its credits.
    pub fn hold(&self) {
        self.0.state.lock().manner = Manner::Hold;
    }

    /// From now on: drops what comes.
    pub fn lose(&self) {
        self.0.state.lock().manner = Manner::Lose;
    }

    /// Panics over the next parcel.
    pub fn panic_once(&self) {
        self.0.state.lock().panics += 1;
    }

    /// How many parcels lie here.
    pub fn len(&self) -> usize {
        self.0.state.lock().parcels.len()
    }

    /// Whether none lies here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The oldest parcel that lies here, waiting for one. With its credit, if the probe held it.
    ///
    /// # Panics
    /// When none comes within an hour of virtual time.
    pub async fn next(&self) -> (M, Option<Credit>) {
        let next = async {
            loop {
                let arrived = self.0.arrived.notified();
                let parcel = self.0.state.lock().parcels.pop_front();
                match parcel {
                    Some(parcel) => return parcel,
                    None => arrived.await,
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, next).await;
        waited.unwrap_or_else(|_| panic!("nothing came to the probe {} within an hour", self.0.name))
    }

    /// The bodies of the next parcels, so many; their credits go back.
    pub async fn settled(&self, parcels: usize) -> Vec<M> {
        let mut bodies = Vec::with_capacity(parcels);
        for _ in 0..parcels {
            bodies.push(self.next().await.0);
        }
        bodies
    }
}

/// The actor itself.
pub struct Neighbour<M>(Arc<Shared<M>>);

impl<M: Send + Unpin + 'static> Actor for Neighbour<M> {
    type Context = Context<Self>;
}

impl<M: Send + Unpin + 'static> Supervised for Neighbour<M> {}

impl<M: Send + Unpin + 'static> Handler<Parcel<M>> for Neighbour<M> {
    type Result = ();

    fn handle(&mut self, parcel: Parcel<M>, _: &mut Context<Self>) {
        let mut state = self.0.state.lock();
        if state.panics > 0 {
            state.panics -= 1;
            drop(state);
            panic!("the probe {} was told to panic", self.0.name);
        }
        let Parcel { body, credit } = parcel;
        match state.manner {
            Manner::Settle => state.parcels.push_back((body, None)),
            Manner::Hold => state.parcels.push_back((body, Some(credit))),
            Manner::Lose => {
                // Outside the lock: what is lost with it may come back to this probe.
                drop(state);
                return drop((body, credit));
            }
        }
        drop(state);
        self.0.arrived.notify_one();
    }
}
