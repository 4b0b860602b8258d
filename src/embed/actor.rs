//! The embedder: every batch is one detached task that owns its credit and, through its flights, its receipts. The credits of
//! the edge to it are the number of calls at once.

use std::sync::Arc;

use actix::prelude::*;

use super::call::{CallObserver, embed_batch};
use super::limiter::Limiter;
use super::provider::Provider;
use super::status::ProviderStatus;
use crate::actor::{Outlet, Parcel};
use crate::batch::Batch;
use crate::dedup::{VectorCache, Works};

/// See the module.
pub struct Embedder {
    desk: Arc<Desk>,
}

/// What calls share.
pub struct Desk {
    /// What embeds.
    pub provider: Arc<dyn Provider>,
    /// Lets calls out.
    pub limiter: Arc<Limiter>,
    /// What the health page shows.
    pub status: Arc<ProviderStatus>,
    /// Counts calls and what they cost.
    pub observer: Arc<dyn BatchObserver>,
    /// Where vectors land.
    pub cache: VectorCache,
    /// Where finished work goes.
    pub writer: Outlet<Works>,
}

/// Makes the observer of one batch's calls: it knows why each text is paid for.
pub trait BatchObserver: Send + Sync {
    /// For the calls of this batch.
    fn of(&self, batch: &Batch) -> Box<dyn CallObserver>;
}

impl Embedder {
    /// Between the batcher and the index writer.
    pub fn new(desk: Desk) -> Self {
        Self { desk: Arc::new(desk) }
    }
}

impl Actor for Embedder {
    type Context = Context<Self>;
}

impl Supervised for Embedder {}

impl Handler<Parcel<Batch>> for Embedder {
    type Result = ();

    fn handle(&mut self, parcel: Parcel<Batch>, _: &mut Context<Self>) {
        let desk = self.desk.clone();
        actix::spawn(async move {
            desk.embed(parcel.body).await;
            drop(parcel.credit);
        });
    }
}

impl Desk {
    async fn embed(&self, batch: Batch) {
        let observer = self.observer.of(&batch);
        let vectors = embed_batch(&*self.provider, &self.limiter, &self.status, &*observer, batch.texts()).await;
        let mut works = Vec::with_capacity(batch.0.len());
        for (pending, vector) in batch.0.into_iter().zip(vectors) {
            match vector {
                Ok(vector) => works.extend(pending.flight.land(&vector, &self.cache)),
                Err(reason) => works.extend(pending.flight.reject(&reason)),
            }
        }
        if !works.is_empty() {
            // Closed: the generation ends, and the receipts in the works report themselves as lost.
            let _ = self.writer.send(Works(works)).await;
        }
    }
}
