//! Runs the health checks of the current plan: one task per endpoint, in one worker.

use crate::endpoint::health::Check;
use crate::engine::Engine;
use crate::transport::http::Client;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::{AbortHandle, JoinSet};

/// Follows the plan until it is dropped, and all checks with it.
pub(super) async fn supervise(engine: Arc<Engine>, client: Arc<Client>) {
    let mut swaps = engine.swaps();
    let mut tasks = JoinSet::new();
    // By the state that they change, which a reload keeps for an endpoint that stays the same.
    let mut running: HashMap<usize, (Arc<Check>, AbortHandle)> = HashMap::new();
    loop {
        let mut wanted: HashMap<usize, Arc<Check>> = engine
            .plan()
            .checks()
            .into_iter()
            .map(|check| (Arc::as_ptr(&check.state) as usize, check))
            .collect();
        running.retain(|key, (_, task)| {
            let stays = wanted.remove(key).is_some();
            if !stays {
                task.abort();
            }
            stays
        });
        for (key, check) in wanted {
            let client = client.clone();
            let task = {
                let check = check.clone();
                tasks.spawn(async move { check.run(&client).await })
            };
            running.insert(key, (check, task));
        }
        if swaps.changed().await.is_err() {
            return;
        }
        while tasks.try_join_next().is_some() {}
    }
}
