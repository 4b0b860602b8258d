//! The group's offsets follow the ledger, for tools that show lag: this process never asks for them, but for where `latest` began.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::context::Context;
use super::offsets;
use super::state::Shared;

impl Shared {
    /// Begins to tell the broker what is settled.
    pub(super) fn commit(&self, consumer: &BaseConsumer<Context>) {
        let news = self.state().uncommitted();
        if news.count() > 0
            && let Err(error) = consumer.commit(&news, CommitMode::Async)
        {
            tracing::debug!(source = &*self.name, %error, "offsets could not be committed");
        }
    }

    /// Tells the broker what is settled of everything assigned and waits for its answer, unless it does not speak to us anyway. Fails with
    /// the reason.
    pub(super) fn commit_now(&self, consumer: &BaseConsumer<Context>) -> Result<(), String> {
        let (news, cut_off) = {
            let state = self.state();
            (state.uncommitted(), state.cut_off.is_some())
        };
        if news.count() == 0 {
            return Ok(());
        }
        if cut_off {
            return Err("no broker can be reached".to_owned());
        }
        if let Err(error) = consumer.commit(&news, CommitMode::Sync) {
            tracing::debug!(source = &*self.name, %error, "offsets could not be committed");
            return Err(error.to_string());
        }
        let mut state = self.state();
        for part in news.elements() {
            if let Offset::Offset(offset) = part.offset() {
                state.offsets.committed(&offsets::name(part.topic(), part.partition()), offset);
            }
        }
        Ok(())
    }
}
