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
    /// Longest time that one template may take for one message; its worker waits for it. Default
    /// 5 s. TOML `myelin.template_timeout` (number = milliseconds).
    pub timeout: Duration,
}

impl Default for TemplateSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
        }
    }
}

pub(super) fn read(r: &Reader<'_>, s: &mut Settings) {
    script(r, s);
    set(
        &mut s.templates.timeout,
        r.duration(&["myelin.template_timeout"], Milliseconds, AT_LEAST),
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
