//! The threads that run scripts, so that a slow script delays no other message of a worker.
//!
//! A flow hands its message to a thread and waits; the queue is limited, and so are the threads.

use super::engine::{Engine, Limits};
use super::host::Host;
use super::program::{Outcome, Program};
use crate::settings::ScriptSettings;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Room for the deepest script and for what it calls in the host.
const STACK: usize = 4 << 20;

/// A script that waits for a thread.
pub(super) struct Job {
    /// What runs.
    pub program: Arc<Program>,
    /// The arguments after `mc`, as a JSON array; empty for none.
    pub arguments: String,
    /// The message and what surrounds it.
    pub host: Host,
    /// Where they go back.
    pub reply: oneshot::Sender<(Host, Outcome)>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that run a job.
    busy: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

/// The threads. They are started when they are needed, and end with the pool.
#[derive(Default)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

impl Pool {
    /// Queues a job.
    ///
    /// # Errors
    /// The job, when the queue is full or there is no thread to run it.
    pub(super) fn submit(&self, job: Job, settings: &ScriptSettings) -> Result<(), Box<Job>> {
        let mut queue = lock(&self.shared.queue);
        let free = queue.threads.saturating_sub(queue.busy);
        if free <= queue.jobs.len() && queue.threads < settings.threads() {
            let shared = self.shared.clone();
            let limits = Limits::from(settings);
            let name = format!("script-{}", queue.threads);
            let started = std::thread::Builder::new()
                .name(name)
                .stack_size(STACK)
                .spawn(move || work(&shared, limits));
            match started {
                Ok(_) => queue.threads += 1,
                Err(e) if queue.threads == 0 => {
                    tracing::error!(target: "ScriptMediator", "no thread for scripts: {e}");
                    return Err(Box::new(job));
                }
                Err(_) => {}
            }
        }
        let free = queue.threads.saturating_sub(queue.busy);
        if queue.jobs.len() >= settings.queue.saturating_add(free) {
            return Err(Box::new(job));
        }
        queue.jobs.push_back(job);
        self.shared.arrived.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.arrived.notify_all();
    }
}

fn lock(queue: &Mutex<Queue>) -> std::sync::MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(shared: &Shared, limits: Limits) {
    let mut engine = Engine::new(limits);
    while let Some(job) = next(shared) {
        let _busy = Busy(shared);
        let Job {
            program,
            arguments,
            host,
            reply,
        } = job;
        let Some((host, outcome)) = unharmed(|| engine.run(&program, &arguments, host)) else {
            // The flow faults. Whatever was left of the engine is not used again.
            drop(reply);
            engine = Engine::new(limits);
            continue;
        };
        // The flow waits for it, whatever became of its client.
        let _ = reply.send((host, outcome));
    }
}

/// Runs `work`; `None` when it panicked. The thread must stay: the queue counts on it.
fn unharmed<R>(work: impl FnOnce() -> R) -> Option<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}

/// Counts a thread as busy.
struct Busy<'a>(&'a Shared);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        lock(&self.0.queue).busy -= 1;
    }
}

fn next(shared: &Shared) -> Option<Job> {
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
    use super::unharmed;

    #[test]
    fn a_panic_ends_no_thread() {
        assert_eq!(unharmed(|| 1), Some(1));
        assert_eq!(unharmed(|| -> i32 { panic!("in a script") }), None);
    }
}
