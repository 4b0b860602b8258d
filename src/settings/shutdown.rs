//! The `shutdown` section: how a run ends when it is told to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::Span;

/// How a run ends when it is told to stop.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownSettings {
    /// How long SIGTERM or Ctrl-C waits until what was read is finished. What is left then is done by the next run. Requests that are
    /// being answered, sources' servers and the index get some seconds more each, so whoever kills a process that does not end should wait
    /// for half a minute longer.
    pub grace: Span,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { grace: Span::new(Duration::from_secs(30)) }
    }
}
