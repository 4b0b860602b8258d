//! What every handler sees.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::report::Report;
use crate::search::Searcher;
use crate::settings::document::VersionUnit;
use crate::settings::{ByteSize, ServerSettings};
use crate::source::http::Intake;

use super::answer::Answers;
use super::body::Memory;
use super::connections::Phase;
use super::error::ApiError;

/// How many bodies of the largest size may be in memory at once. Others wait unread.
const LARGE_BODIES: u64 = 4;
/// The largest body of a search, in bytes: a page of text and the longest filter fit into it many times. As JSON values it takes up to
/// a hundred times as much memory.
const MAX_SEARCH: u64 = 1 << 20;
/// How many searches of the largest size may be in memory at once. Others wait unread.
const LARGE_SEARCHES: u64 = 8;
/// How many documents are read at a time: how large one is, nobody knows before it is there.
pub(super) const READS: usize = 8;

/// What the server answers from: shared handles only, no actor is asked.
pub struct ServerContext {
    /// Searches.
    pub searcher: Searcher,
    /// Statistics, metrics, health, and the ledger that documents are read from.
    pub report: Arc<Report>,
    /// Where events go; `None` when no source of type `http` is configured.
    pub intake: Option<Intake>,
    /// The unit of `document.version`; `None` where the sources' own order is the version.
    pub version_field: Option<VersionUnit>,
}

/// See the module.
pub(super) struct Shared {
    pub(super) context: ServerContext,
    pub(super) settings: ServerSettings,
    /// For the bodies of events.
    pub(super) event_bodies: Memory,
    /// For the bodies of searches, which never wait for those of events.
    pub(super) search_bodies: Memory,
    /// For large answers.
    pub(super) answers: Answers,
    /// One for each document that may be read now.
    pub(super) reads: Arc<Semaphore>,
    /// Whether the server is about to end.
    pub(super) phase: watch::Receiver<Phase>,
}

impl Shared {
    pub(super) fn new(context: ServerContext, settings: ServerSettings, phase: watch::Receiver<Phase>) -> Self {
        Self {
            event_bodies: event_bodies(&settings),
            search_bodies: search_bodies(&settings),
            answers: Answers::new(),
            reads: Arc::new(Semaphore::new(READS)),
            context,
            settings,
            phase,
        }
    }

    /// How versions are read and shown.
    pub(super) fn version_unit(&self) -> VersionUnit {
        self.context.version_field.unwrap_or_default()
    }

    /// Where events go.
    pub(super) fn intake(&self) -> Result<&Intake, ApiError> {
        self.context.intake.as_ref().ok_or_else(|| {
            ApiError::not_found("no source of type `http` is configured: add `api: { type: http }` to `sources`")
        })
    }
}

fn event_bodies(settings: &ServerSettings) -> Memory {
    Memory::new(settings.max_body, LARGE_BODIES, "send less at once, or raise `server.max_body`")
}

fn search_bodies(settings: &ServerSettings) -> Memory {
    let (limit, advice) = if settings.max_body.as_u64() < MAX_SEARCH {
        (settings.max_body, "send a shorter text or filter, or raise `server.max_body`")
    } else {
        (ByteSize::bytes(MAX_SEARCH), "no search needs a longer text or filter")
    };
    Memory::new(limit, LARGE_SEARCHES, advice)
}
