//! Work that must not run on an arbiter: blocking I/O, and CPU work of more than a millisecond.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

thread_local! {
    /// One permit for each core. An arbiter has its own: who waits for one waits for work of its own runtime.
    static CORES: Arc<Semaphore> =
        Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));
}

/// Runs blocking work, such as I/O, on a thread of its own. A panic in it goes on in the caller.
pub async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    value(spawn_blocking(work).await).await
}

/// Runs CPU work off the arbiter, for one arbiter never more at once than there are cores: more would only take turns, all of their
/// buffers in memory. A panic in it goes on in the caller.
pub async fn on_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    value(try_on_core(work).await).await
}

/// As [`on_core`], for a caller that can live with a panic in it.
pub async fn try_on_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let core = CORES.with(Arc::clone).acquire_owned().await.expect("the semaphore is never closed");
    spawn_blocking(move || {
        let _core = core;
        work()
    })
    .await
}

async fn value<T>(joined: Result<T, JoinError>) -> T {
    match joined {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and will not poll this task again.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn no_more_runs_at_once_than_there_are_cores_and_a_panic_gives_its_core_back() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works = (0..8 * cores).map(|number| {
            let (running, most) = (running.clone(), most.clone());
            try_on_core(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                assert!(number % 3 > 0, "every third one panics");
            })
        });
        let ended = join_all(works).await;
        assert_eq!(ended.iter().filter(|ended| ended.is_err()).count(), (8 * cores).div_ceil(3));
        assert!((1..=cores).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(on_core(|| 7).await, 7);
    }
}
