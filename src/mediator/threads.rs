//! Threads beside the workers, for work that computes for a time that nobody knows before: scripts and
//! templates. A slow one delays no other message of its worker.
//!
//! A flow hands its message over and waits; the queue is limited, and so are the threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a pool may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Threads, at least one.
    pub threads: usize,
    /// Jobs that wait while all threads are busy.
    pub queue: usize,
    /// Stack of a thread, in bytes.
    pub stack: usize,
}

struct Queue<J> {
    jobs: VecDeque<J>,
    threads: usize,
    /// Threads that run a job.
    busy: usize,
    closed: bool,
}

struct Shared<J> {
    queue: Mutex<Queue<J>>,
    arrived: Condvar,
}

/// Threads for jobs of one kind. They are started when they are needed, and end with the pool.
pub(super) struct Threads<J> {
    shared: Arc<Shared<J>>,
}

impl<J> Default for Threads<J> {
    fn default() -> Self {
        let queue = Queue {
            jobs: VecDeque::new(),
            threads: 0,
            busy: 0,
            closed: false,
        };
        Threads {
            shared: Arc::new(Shared {
                queue: Mutex::new(queue),
                arrived: Condvar::new(),
            }),
        }
    }
}

impl<J> std::fmt::Debug for Threads<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Threads")
    }
}

impl<J: Send + 'static> Threads<J> {
    /// Queues a job. A new thread calls `start` for what runs its jobs, and again after a job that
    /// panicked; the job itself is dropped then.
    ///
    /// # Errors
    /// The job, when the queue is full or there is no thread to run it.
    pub(super) fn submit<W: FnMut(J)>(
        &self,
        job: J,
        name: &str,
        size: Size,
        start: impl Fn() -> W + Send + 'static,
    ) -> Result<(), Box<J>> {
        let mut queue = lock(&self.shared.queue);
        let free = queue.threads.saturating_sub(queue.busy);
        if free <= queue.jobs.len() && queue.threads < size.threads.max(1) {
            let shared = self.shared.clone();
            let started = std::thread::Builder::new()
                .name(format!("{name}-{}", queue.threads))
                .stack_size(size.stack)
                .spawn(move || work(&shared, start));
            match started {
                Ok(_) => queue.threads += 1,
                Err(e) if queue.threads == 0 => {
                    tracing::error!(target: "Mediation", "no thread for a {name}: {e}");
                    return Err(Box::new(job));
                }
                Err(_) => {}
            }
        }
        let free = queue.threads.saturating_sub(queue.busy);
        if queue.jobs.len() >= size.queue.saturating_add(free) {
            return Err(Box::new(job));
        }
        queue.jobs.push_back(job);
        self.shared.arrived.notify_one();
        Ok(())
    }
}

impl<J> Drop for Threads<J> {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.arrived.notify_all();
    }
}

fn lock<J>(queue: &Mutex<Queue<J>>) -> MutexGuard<'_, Queue<J>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work<J, W: FnMut(J)>(shared: &Shared<J>, start: impl Fn() -> W) {
    let mut run = start();
    while let Some(job) = next(shared) {
        let _busy = Busy(shared);
        // The thread must stay: the queue counts on it. Whatever was left of what panicked is not used again.
        if catch_unwind(AssertUnwindSafe(|| run(job))).is_err() {
            run = start();
        }
    }
}

/// Counts a thread as busy.
struct Busy<'a, J>(&'a Shared<J>);

impl<J> Drop for Busy<'_, J> {
    fn drop(&mut self) {
        lock(&self.0.queue).busy -= 1;
    }
}

fn next<J>(shared: &Shared<J>) -> Option<J> {
    let mut queue = lock(&shared.queue);
    loop {
        if let Some(job) = queue.jobs.pop_front() {
            queue.busy += 1;
            return Some(job);
        }
        if queue.closed {
            return None;
        }
        queue = shared
            .arrived
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    #[test]
    fn a_panic_ends_no_thread() {
        let size = Size {
            threads: 1,
            queue: 10,
            stack: 1 << 20,
        };
        let threads = Threads::<(bool, Sender<usize>)>::default();
        let (sender, answers) = channel();
        for panics in [false, true, false] {
            let submitted = threads.submit((panics, sender.clone()), "test", size, || {
                let mut jobs = 0;
                move |(panics, sender): (bool, Sender<usize>)| {
                    jobs += 1;
                    assert!(!panics, "in a job");
                    sender.send(jobs).unwrap();
                }
            });
            assert!(submitted.is_ok());
        }
        drop(sender);
        // What runs jobs is made anew after the panic.
        assert_eq!(answers.iter().collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn the_queue_is_limited() {
        let size = Size {
            threads: 1,
            queue: 1,
            stack: 1 << 20,
        };
        let threads = Threads::<std::sync::mpsc::Receiver<()>>::default();
        let submit = || {
            let (sender, job) = channel();
            let room = threads.submit(job, "test", size, || {
                |job: std::sync::mpsc::Receiver<()>| assert!(job.recv().is_err())
            });
            (sender, room.is_ok())
        };
        let (first, taken) = submit();
        assert!(taken);
        // Until the thread has taken the first there is room for it and one more.
        let (_second, taken) = submit();
        assert!(taken);
        let (_third, taken) = submit();
        assert!(!taken);
        drop(first);
    }
}
