//! Starting the actors of the graph: each under guard, and by its name on the board, in the metrics and in the log.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::*;

use super::Resources;
use crate::actor::{GiveUp, Incident, OnIncident, Outlet, Parcel, guard};

/// See the module.
pub(super) struct Stages<'r> {
    resources: &'r Resources,
    on_incident: OnIncident,
}

impl<'r> Stages<'r> {
    /// `give_up` is told when one of them is given up.
    pub(super) fn new(resources: &'r Resources, give_up: GiveUp) -> Self {
        Self { resources, on_incident: keep_books(resources, give_up) }
    }

    /// Starts an actor and opens the edge to it: the mailbox has room for every message that its credits allow.
    pub(super) fn start<A, M>(&self, name: &str, credits: usize, actor: A) -> (Addr<A>, Outlet<M>)
    where
        M: Send + 'static,
        A: Supervised + Actor<Context = Context<A>> + Handler<Parcel<M>>,
        Context<A>: ToEnvelope<A, Parcel<M>>,
    {
        let seconds = self.resources.metrics.backpressure(name);
        let address = self.spawn(name, credits, actor);
        let outlet = Outlet::new(address.clone(), credits, Arc::new(move |waited| seconds.inc_by(waited)));
        (address, outlet)
    }

    /// Starts an actor that no edge leads to.
    pub(super) fn spawn<A>(&self, name: &str, mailbox: usize, actor: A) -> Addr<A>
    where
        A: Supervised + Actor<Context = Context<A>>,
    {
        self.resources.actors.register(name);
        // Served as 0 from now on, so that its first growth is seen.
        self.resources.metrics.restarts(name);
        guard::spawn(name, mailbox, self.on_incident.clone(), actor)
    }
}

/// Keeps the board, the metrics and the log. When one actor is given up, all are.
fn keep_books(resources: &Resources, give_up: GiveUp) -> OnIncident {
    let (board, metrics) = (resources.actors.clone(), resources.metrics.clone());
    Arc::new(move |actor, incident| {
        let handle = board.of(actor);
        match incident {
            Incident::Panicked(reason) => {
                tracing::error!(actor, reason, "actor panicked; restarting it");
                metrics.restarts(actor).inc();
                handle.panicked(&reason);
            }
            Incident::Restarted => {
                tracing::info!(actor, "actor runs again");
                handle.running();
            }
            Incident::GaveUp(reason) => {
                // With all others it starts again.
                metrics.restarts(actor).inc();
                handle.panicked(&reason);
                handle.stopped();
                give_up(format!("actor {actor} panicked too often, at last with: {reason}"));
            }
        }
    })
}
