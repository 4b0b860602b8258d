//! The deduplicator: claims documents, has them planned off the arbiter, and routes what comes of it.

use std::sync::Arc;

use actix::prelude::*;

use super::claim::{Claims, Group};
use super::incoming::Changes;
use super::pending::Texts;
use super::plan::{Planned, Planner};
use super::work::Works;
use crate::actor::offload::on_core;
use crate::actor::{Closed, Outlet, Parcel};
use crate::ledger::Ledger;
use crate::ledger::patience::patiently;

/// See the module.
pub struct Deduplicator {
    desk: Arc<Desk>,
    claims: Arc<Claims>,
}

/// What planning tasks share.
struct Desk {
    ledger: Arc<Ledger>,
    planner: Arc<Planner>,
    batcher: Outlet<Texts>,
    writer: Outlet<Works>,
}

impl Deduplicator {
    /// Between the ingestors and the batcher, with a short cut to the index writer.
    pub fn new(ledger: Arc<Ledger>, planner: Arc<Planner>, batcher: Outlet<Texts>, writer: Outlet<Works>) -> Self {
        Self { desk: Arc::new(Desk { ledger, planner, batcher, writer }), claims: Arc::default() }
    }

    /// Which documents are being worked on.
    #[cfg(test)]
    pub(crate) fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }
}

impl Actor for Deduplicator {
    type Context = Context<Self>;

    /// Plans what was parked, all that is free at a time: one task, however many claims are dropped at once.
    fn started(&mut self, ctx: &mut Context<Self>) {
        let (desk, claims) = (self.desk.clone(), self.claims.clone());
        let resume = async move {
            loop {
                let (freed, claims) = (claims.freed().await, claims.clone());
                let groups = on_core(move || claims.claim(freed)).await;
                // A panic loses these changes, which are delivered again, and none that come later.
                let _ = actix::spawn(desk.clone().work(groups)).await;
            }
        };
        ctx.spawn(resume.into_actor(self));
    }
}

// The claims are kept across a restart: work that is in flight still holds them.
impl Supervised for Deduplicator {}

impl Handler<Parcel<Changes>> for Deduplicator {
    type Result = ();

    fn handle(&mut self, parcel: Parcel<Changes>, _: &mut Context<Self>) {
        let (desk, claims) = (self.desk.clone(), self.claims.clone());
        let Parcel { body: Changes(changes), credit } = parcel;
        actix::spawn(async move {
            // Which of two messages claims first makes no difference: changes may be joined in any order.
            let groups = on_core(move || claims.claim(changes)).await;
            desk.work(groups).await;
            drop(credit);
        });
    }
}

impl Desk {
    async fn work(self: Arc<Self>, groups: Vec<Group>) {
        let mut left = groups;
        while !left.is_empty() {
            self.planner.budget.room().await;
            let planned;
            (planned, left) = self.plan(left).await;
            fault_point!("planned");
            if let Err(Closed) = self.route(planned).await {
                // The generation ends, and the receipts in what was not sent report themselves as lost.
                return;
            }
        }
    }

    /// Plans as many as may be in memory at once, with all that they need, and gives the others back.
    async fn plan(&self, mut groups: Vec<Group>) -> (Planned, Vec<Group>) {
        let ids: Arc<[_]> = groups.iter().map(|group| group.claim.id().clone()).collect();
        let most = self.planner.budget.step();
        let held = patiently(&self.ledger, move |ledger| ledger.documents_within(&ids, most)).await;
        let unread = groups.split_off(held.len());
        fault_point!("before planning");
        let planner = self.planner.clone();
        let (planned, mut left) = on_core(move || planner.plan(groups, held)).await;
        left.extend(unread);
        if planned.texts.is_empty() {
            return (planned, left);
        }
        let names: Arc<[_]> = planned.texts.iter().map(|pending| *pending.flight.fingerprint()).collect();
        let stored = patiently(&self.ledger, move |ledger| ledger.vectors(&names)).await;
        if stored.iter().all(Option::is_none) {
            return (planned, left);
        }
        let planner = self.planner.clone();
        (on_core(move || planner.land_stored(planned, stored)).await, left)
    }

    async fn route(&self, planned: Planned) -> Result<(), Closed> {
        let Planned { ready, texts } = planned;
        if !texts.is_empty() {
            self.batcher.send(Texts(texts)).await?;
        }
        if !ready.is_empty() {
            self.writer.send(Works(ready)).await?;
        }
        Ok(())
    }
}
