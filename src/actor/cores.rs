//! The cores of the machine, kept at work: each takes one piece of work after the other from one queue.
//!
//! To hand each piece over by the arbiter instead left cores idle although work waited: a core that has become free would wait
//! until the arbiter has woken up, and then a thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::spawn_blocking;

/// A piece of work.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// A queue that is worked off in its order, by never more threads than it has cores.
pub(super) struct Cores {
    count: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    workers: usize,
}

impl Cores {
    /// At most `count` threads.
    pub(super) fn new(count: usize) -> Self {
        Self { count, queue: Mutex::default() }
    }

    /// Queues a piece of work, for the threads of the current runtime. When that shuts down, what still waits is dropped.
    pub(super) fn run(self: &Arc<Self>, job: Job) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(job);
        if queue.workers < self.count {
            queue.workers += 1;
            drop(queue);
            let worker = Worker { cores: self.clone(), ended: false };
            spawn_blocking(move || worker.work());
        }
    }
}

/// A thread that holds a core.
struct Worker {
    cores: Arc<Cores>,
    ended: bool,
}

impl Worker {
    fn work(mut self) {
        while let Some(job) = self.next() {
            // What is dropped with it may panic still, and takes nobody else with it.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(&mut self) -> Option<Job> {
        let mut queue = self.cores.queue.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() {
            // Under the same lock: what comes next must find this core free.
            queue.workers -= 1;
            self.ended = true;
        }
        next
    }
}

impl Drop for Worker {
    /// A worker that never began, because its runtime has shut down: the last one takes with it what nobody will do.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut queue = self.cores.queue.lock();
        queue.workers -= 1;
        let undone = if queue.workers == 0 { std::mem::take(&mut queue.waiting) } else { VecDeque::new() };
        // Its end may wake someone who wants a core.
        drop(queue);
        drop(undone);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_is_done_in_its_order_also_behind_some_that_panics() {
        let cores = Arc::new(Cores::new(1));
        let (done, doing) = mpsc::channel();
        for number in 0..100 {
            let done = done.clone();
            cores.run(Box::new(move || {
                done.send(number).unwrap();
                assert!(number % 7 > 0, "this one panics");
            }));
        }
        drop(done);
        let order = spawn_blocking(move || doing.iter().collect::<Vec<_>>()).await.unwrap();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_runtime_leaves_undone_is_dropped_and_the_cores_are_free_for_the_next() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let cores = Arc::new(Cores::new(2));
        let (done, doing) = mpsc::channel();
        let work = move || {
            let done = done.clone();
            Box::new(move || done.send(()).unwrap())
        };
        let gone = runtime();
        let handle = gone.handle().clone();
        gone.shutdown_background();
        let entered = handle.enter();
        (0..3).for_each(|_| cores.run(work()));
        drop(entered);
        assert_eq!(doing.try_recv(), Err(mpsc::TryRecvError::Empty));
        assert_eq!(cores.queue.lock().waiting.len(), 0);

        let next = runtime();
        let entered = next.enter();
        cores.run(work());
        drop((entered, work));
        assert_eq!(doing.iter().count(), 1);
    }
}
