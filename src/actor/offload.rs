//! Work that must not run on an arbiter: blocking I/O, and CPU work of more than a millisecond.

/// Runs it on a blocking thread. A panic in it goes on in the caller.
pub async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and will not poll this task again.
            Err(_) => std::future::pending().await,
        },
    }
}
