//! The jobs of the threads that run scripts.

use super::engine::{Engine, Limits};
use super::host::Host;
use super::program::{Outcome, Program};
use crate::expr::Effort;
use crate::mediator::threads::{Size, Threads};
use crate::settings::ScriptSettings;
use std::sync::Arc;
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

/// Queues a job.
///
/// # Errors
/// The job, when there is no room for it.
pub(super) fn submit(
    threads: &Threads<Job>,
    job: Job,
    settings: &ScriptSettings,
) -> Result<(), Box<Job>> {
    let size = Size {
        threads: settings.threads(),
        queue: settings.queue,
        stack: STACK,
    };
    let limits = Limits::from(settings);
    threads.submit(job, "script", size, move || {
        let mut engine = Engine::new(limits);
        move |job: Job| {
            Effort::of(&job.host.services.settings.limits).set();
            let (host, outcome) = engine.run(&job.program, &job.arguments, job.host);
            // The flow waits for it, whatever became of its client.
            let _ = job.reply.send((host, outcome));
        }
    })
}
