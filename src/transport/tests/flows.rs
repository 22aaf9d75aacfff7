use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{By, Listener, answer, raw, until, within};
use crate::transport::http::{Shutdown, uncancelled};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A flow that begins, waits at a gate and ends.
#[derive(Clone)]
struct Steps {
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Steps {
    fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            begun: Arc::default(),
            ended: Arc::default(),
        }
    }

    async fn go(self) -> usize {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let _ = self.gate.acquire().await;
        self.ended.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_flow_runs_in_place() {
    let steps = Steps::new();
    steps.gate.add_permits(1);
    assert_eq!(uncancelled(Box::pin(steps.clone().go())).await, 1);
    assert_eq!(steps.ended(), 1);
}

#[tokio::test]
async fn a_flow_survives_its_caller() {
    let steps = Steps::new();
    let shutdown = Shutdown::new();
    let flow = steps.clone().go();
    let scope = shutdown.clone();
    let caller = tokio::spawn(async move { scope.scope(uncancelled(Box::pin(flow))).await });
    until("begun", || steps.begun() == 1).await;
    assert_eq!(shutdown.flows(), 0);
    caller.abort();
    until("detached", || shutdown.flows() == 1).await;

    // A stop waits for it.
    let waiting = shutdown.clone();
    let drained = tokio::spawn(async move { waiting.drained(super::FOREVER).await });
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    steps.gate.add_permits(1);
    assert_eq!(within(drained).await.expect("drained"), 0);
    assert_eq!((steps.ended(), shutdown.flows()), (1, 0));
}

#[tokio::test]
async fn a_flow_without_a_scope_survives_too() {
    let steps = Steps::new();
    let caller = tokio::spawn(uncancelled(Box::pin(steps.clone().go())));
    until("begun", || steps.begun() == 1).await;
    caller.abort();
    assert!(within(caller).await.expect_err("aborted").is_cancelled());
    steps.gate.add_permits(1);
    until("ended", || steps.ended() == 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_the_flow() {
    let steps = Steps::new();
    let flow = steps.clone();
    let listener = Listener::start(By(move |_, _| {
        let flow = flow.clone();
        async move { answer(uncancelled(Box::pin(flow.go())).await.to_string()) }
    }));
    // One leaves, one is cut by the stop.
    let leaving = raw(listener.addr, GET).await;
    let staying = raw(listener.addr, GET).await;
    until("begun", || steps.begun() == 2).await;
    super::back_end::reset(leaving);
    let cut = within(listener.shutdown.drained(Duration::from_millis(30))).await;
    assert!(cut >= 1);
    until("detached", || listener.shutdown.flows() == 2).await;
    assert_eq!(listener.shutdown.connections(), 0);
    steps.gate.add_permits(2);
    until("ended", || steps.ended() == 2).await;
    until("counted", || listener.shutdown.flows() == 0).await;
    drop(staying);
}

#[tokio::test]
async fn detached_flows_are_bounded() {
    let steps = Steps::new();
    let shutdown = Shutdown::with_flow_limit(2);
    let callers: Vec<_> = (0..5)
        .map(|_| {
            let (scope, flow) = (shutdown.clone(), steps.clone().go());
            tokio::spawn(async move { scope.scope(uncancelled(Box::pin(flow))).await })
        })
        .collect();
    until("begun", || steps.begun() == 5).await;
    for caller in callers {
        caller.abort();
        assert!(within(caller).await.is_err());
    }
    assert_eq!(shutdown.flows(), 2);
    steps.gate.add_permits(5);
    until("ended", || shutdown.flows() == 0).await;
    assert_eq!(steps.ended(), 2);
}

#[tokio::test]
async fn a_flow_that_panics_is_over() {
    let shutdown = Shutdown::new();
    let scope = shutdown.clone();
    let caller = tokio::spawn(async move {
        let flow = async {
            tokio::task::yield_now().await;
            panic!("as wanted by the test");
        };
        scope.scope(uncancelled(Box::pin(flow))).await;
    });
    assert!(within(caller).await.expect_err("panicked").is_panic());
    assert_eq!(shutdown.flows(), 0);
    // One that panics after it was detached.
    let scope = shutdown.clone();
    let gate = Arc::new(Semaphore::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let (at_gate, has_begun) = (Arc::clone(&gate), Arc::clone(&begun));
    let caller = tokio::spawn(async move {
        let flow = async move {
            has_begun.store(1, Ordering::SeqCst);
            let _ = at_gate.acquire().await;
            panic!("as wanted by the test");
        };
        scope.scope(uncancelled(Box::pin(flow))).await;
    });
    until("begun", || begun.load(Ordering::SeqCst) == 1).await;
    caller.abort();
    until("detached", || shutdown.flows() == 1).await;
    gate.add_permits(1);
    until("over", || shutdown.flows() == 0).await;
}
