//! Settings of single mediators.

use super::Settings;
use super::load::{AT_LEAST, set};
use super::networks::Networks;
use super::read::Reader;
use super::units::Unit::Milliseconds;
use std::time::Duration;

/// FreeMarker templates of `payloadFactory`. All of it is ours: TOML section `[myelin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSettings {
    /// Longest time that one template may take for one message. Default 5 s.
    /// TOML `myelin.template_timeout` (number = milliseconds).
    pub timeout: Duration,
    /// Threads for templates that take longer than a moment, so that they hold up no worker; 0 = one per
    /// core, at least two. Default 0. TOML `myelin.template_threads`.
    pub threads: usize,
    /// Most messages that wait for such a thread; more fault. Default 1000.
    /// TOML `myelin.template_queue`.
    pub queue: usize,
}

impl TemplateSettings {
    /// How many threads there may be.
    pub fn threads(&self) -> usize {
        threads(self.threads)
    }
}

/// The number of threads that a setting means.
pub(super) fn threads(setting: usize) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(2, |n| n.get().max(2)),
        threads => threads,
    }
}

impl Default for TemplateSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            threads: 0,
            queue: 1000,
        }
    }
}

pub(super) fn read(r: &Reader<'_>, s: &mut Settings) {
    script(r, s);
    set(
        &mut s.templates.timeout,
        r.duration(&["myelin.template_timeout"], Milliseconds, AT_LEAST),
    );
    let threads = r.integer(&["myelin.template_threads"], 0..=256);
    set(
        &mut s.templates.threads,
        threads.and_then(|n| n.try_into().ok()),
    );
    set(
        &mut s.templates.queue,
        r.size(&["myelin.template_queue"], 1),
    );
    if let Some(list) = r.list(&["myelin.trusted_proxies"]) {
        match Networks::parse(&list) {
            Ok(networks) => s.trusted_proxies = networks,
            Err(problem) => r.error("myelin.trusted_proxies", problem),
        }
    }
    set(
        &mut s.deploy.fetch_timeout,
        r.duration(&["myelin.fetch_timeout"], Milliseconds, AT_LEAST),
    );
}

fn script(r: &Reader<'_>, s: &mut Settings) {
    let script = &mut s.script;
    set(
        &mut script.timeout,
        r.duration(&["myelin.script_timeout"], Milliseconds, AT_LEAST),
    );
    set(
        &mut script.memory_bytes,
        r.bytes(&["myelin.script_memory_bytes"], 2 << 20),
    );
    let stack = r.integer(&["myelin.script_stack_bytes"], 16 << 10..=2 << 20);
    set(
        &mut script.stack_bytes,
        stack.and_then(|n| n.try_into().ok()),
    );
    let threads = r.integer(&["myelin.script_threads"], 0..=256);
    set(&mut script.threads, threads.and_then(|n| n.try_into().ok()));
    set(&mut script.queue, r.size(&["myelin.script_queue"], 1));
}
