//! How many files the system lets this process have open. Sockets and the connections of the ledger count as well.

#[cfg(target_os = "linux")]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process may have where the system does not say: no system gives less.
#[cfg(not(target_os = "linux"))]
const LEAST: u64 = 256;

/// Has the system allow as many as its administrator lets it. What is set at first, mostly 1,024, is meant for programs that cannot deal
/// with more.
#[cfg(target_os = "linux")]
pub(crate) fn allow_all() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the number of files that may be open cannot be raised");
    }
}

/// Nothing.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allow_all() {}

/// How many may be open; `None`: any number.
#[cfg(target_os = "linux")]
pub(crate) fn most() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many may be open.
#[cfg(not(target_os = "linux"))]
pub(crate) fn most() -> Option<u64> {
    Some(LEAST)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testkit::fakes::{self, FakeProvider};

    /// The limit is that of all tests in this process: one file less harms none of them.
    #[tokio::test(start_paused = true)]
    async fn whoever_opens_the_resources_may_have_as_many_files_open_as_the_administrator_allows() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let fewer = maximum.unwrap_or(u64::from(u32::MAX)) - 1;
        setrlimit(Resource::Nofile, Rlimit { current: Some(fewer), maximum }).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fakes::resources(folder.path(), Arc::new(FakeProvider::default())).await;
        assert_eq!((getrlimit(Resource::Nofile).current, most()), (maximum, maximum));
    }
}
