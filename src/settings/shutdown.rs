//! The `shutdown` section: how a run ends when it is told to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::Span;

/// How a run ends when it is told to stop.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownSettings {
    /// How long SIGTERM or Ctrl-C waits for what was read to be finished. The next run does what is left. Requests under way, sources'
    /// servers and the index each get some seconds more, and then the embedded index saves its graph. Before you kill a process that does
    /// not end, wait half a minute longer than this, and a further second for every 100 MB of `graph.usearch`.
    pub grace: Span,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { grace: Span::new(Duration::from_secs(30)) }
    }
}
