//! The batcher: accepts texts, and seals a batch when one is due *and* the embedder has room. While all calls are busy texts gather,
//! so batches grow exactly when that helps, and the highest lane goes first when a call becomes free.

use std::sync::Arc;

use actix::prelude::*;
use tokio::time::Instant;

use super::plan::{Cost, Lanes, Limits};
use crate::actor::{Outlet, Parcel};
use crate::dedup::PendingText;

/// A message of texts from the deduplicator.
pub struct Texts(pub Vec<PendingText>);

/// A message of texts for one call.
pub struct Batch(pub Vec<PendingText>);

/// See the module.
pub struct Batcher {
    limits: Limits,
    embedder: Outlet<Batch>,
    lanes: Lanes<PendingText>,
    /// Whether a task waits for room at the embedder.
    reserving: bool,
    alarm: Option<(Instant, SpawnHandle)>,
}

impl Batcher {
    /// Between the deduplicator and the embedder.
    pub fn new(limits: Limits, embedder: Outlet<Batch>) -> Self {
        Self { limits, embedder, lanes: Lanes::new(limits), reserving: false, alarm: None }
    }

    /// Reserves room for the next batch when one is due, else sets the alarm for when it will be.
    fn drive(&mut self, ctx: &mut Context<Self>) {
        if self.reserving {
            return;
        }
        let now = Instant::now();
        let Some(due) = self.lanes.due(now) else { return };
        if due > now {
            return self.wake_at(due, ctx);
        }
        self.reserving = true;
        let embedder = self.embedder.clone();
        ctx.spawn(async move { embedder.reserve().await }.into_actor(self).map(|slot, batcher, ctx| {
            batcher.reserving = false;
            // Closed: the generation ends, and what waits here is lost with its receipts.
            let Ok(slot) = slot else { return };
            if let Some((batch, reason)) = batcher.lanes.seal(Instant::now()) {
                tracing::trace!(texts = batch.len(), ?reason, "batch sealed");
                let _ = slot.send(Batch(batch));
            }
            batcher.drive(ctx);
        }));
    }

    fn wake_at(&mut self, due: Instant, ctx: &mut Context<Self>) {
        match self.alarm {
            Some((at, _)) if at <= due => return,
            Some((_, alarm)) => {
                ctx.cancel_future(alarm);
            }
            None => {}
        }
        let alarm = ctx.spawn(tokio::time::sleep_until(due).into_actor(self).map(|(), batcher, ctx| {
            batcher.alarm = None;
            batcher.drive(ctx);
        }));
        self.alarm = Some((due, alarm));
    }
}

impl Actor for Batcher {
    type Context = Context<Self>;
}

impl Supervised for Batcher {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.lanes = Lanes::new(self.limits);
        self.reserving = false;
        self.alarm = None;
    }
}

impl Handler<Parcel<Texts>> for Batcher {
    type Result = ();

    /// The credit goes back at once: what waits here is bounded by the windows of the sources, and the batcher must see all
    /// that waits to choose well.
    fn handle(&mut self, parcel: Parcel<Texts>, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for text in parcel.body.0 {
            let cost = Cost { tokens: text.tokens, bytes: text.text.len() };
            let (priority, immediate) = (text.priority, text.immediate);
            self.lanes.push(text, cost, priority, immediate, now);
        }
        self.drive(ctx);
    }
}

/// The limits of a batch: what is configured, or what the provider takes if that is less.
pub fn limits(settings: &crate::settings::BatchingSettings, provider_items: usize) -> Limits {
    Limits {
        items: settings.max_items.min(provider_items),
        tokens: settings.max_tokens as u64,
        bytes: settings.max_bytes.as_usize(),
        max_wait: settings.max_wait.as_duration(),
    }
}

/// Texts are shared with the call that embeds them.
impl Batch {
    /// The texts in order.
    pub fn texts(&self) -> Vec<Arc<str>> {
        self.0.iter().map(|pending| pending.text.clone()).collect()
    }
}
