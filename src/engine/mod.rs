//! Runs flows on the current plan and routes their faults (spec 01 §5, §6, §9).

use crate::endpoint::{Kind, Services};
use crate::mediator::{Context, Flow, Rest, Route, run_sequence, settle};
use crate::message::outgoing::{self, fault_response};
use crate::message::stream::BodyStream;
use crate::message::{Exchange, Fault, Message, Value};
use crate::plan::{Incoming, Plan, Proxy};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

/// What all workers share: the current plan.
#[derive(Debug)]
pub struct Engine {
    plan: ArcSwap<Plan>,
    swaps: watch::Sender<()>,
}

impl Engine {
    /// An engine with nothing deployed.
    pub fn new() -> Arc<Engine> {
        Arc::new(Engine {
            plan: ArcSwap::from_pointee(Plan::default()),
            swaps: watch::Sender::new(()),
        })
    }

    /// The current plan. A message keeps the one it started with.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    /// Puts a new plan in place; running messages finish on theirs.
    pub fn swap(&self, plan: Arc<Plan>) {
        self.plan.store(plan);
        self.swaps.send_replace(());
    }

    /// Changes whenever a plan was put in place.
    pub fn swaps(&self) -> watch::Receiver<()> {
        self.swaps.subscribe()
    }
}

/// Mediates a request of a proxy service (spec 01 §6.2).
pub async fn run_proxy(
    services: &Arc<Services>,
    plan: &Plan,
    proxy: &Proxy,
    exchange: &Arc<Exchange>,
    message: &mut Message,
) {
    let cx = context(services, plan, exchange, &proxy.route);
    message
        .properties
        .set_known("proxy.name", proxy.name.as_str());
    message.fault_stack.extend(proxy.route.fault);
    let outcome = proxy_flow(cx, proxy, message).await;
    settle(cx, message, outcome).await;
}

async fn proxy_flow(cx: Context<'_>, proxy: &Proxy, message: &mut Message) -> Result<(), Fault> {
    if let Some(id) = cx.library.pre_mediate
        && Box::pin(run_sequence(cx, message, id)).await? == Flow::Stop
    {
        return Ok(());
    }
    let flow = match &proxy.in_sequence {
        Incoming::None => Flow::Continue,
        Incoming::Sequence(id) => Box::pin(run_sequence(cx, message, *id)).await?,
        Incoming::Missing(name) => {
            return Err(Fault::mediation(format!(
                "Unable to find in-sequence : {name}"
            )));
        }
    };
    // A flow that waited for a call has been on its second pass: nothing is forwarded then
    // (spec 01 §8.3).
    if flow == Flow::Continue
        && !message.resumed
        && let Some(endpoint) = &proxy.endpoint
    {
        if let Some(key) = &proxy.missing_endpoint {
            return Err(Fault::mediation(format!(
                "Unable to find the endpoint specified : {key}"
            )));
        }
        let kind: &dyn Kind = &*endpoint.kind;
        crate::mediator::send_to_target(cx, message, kind).await?;
    }
    Ok(())
}

/// Mediates a request that nothing else claims: the main sequence (spec 01 §5).
pub async fn run_main(
    services: &Arc<Services>,
    plan: &Plan,
    route: &Arc<Route>,
    exchange: &Arc<Exchange>,
    message: &mut Message,
) {
    let cx = context(services, plan, exchange, route);
    message.fault_stack.extend(route.fault);
    let outcome = main_flow(cx, message).await;
    settle(cx, message, outcome).await;
}

async fn main_flow(cx: Context<'_>, message: &mut Message) -> Result<(), Fault> {
    if let Some(id) = cx.library.pre_mediate
        && Box::pin(run_sequence(cx, message, id)).await? == Flow::Stop
    {
        return Ok(());
    }
    if let Some(Value::Boolean(true)) = message.properties.get("SKIP_MAIN_SEQUENCE") {
        return Ok(());
    }
    if let Some(id) = cx.library.main {
        Box::pin(run_sequence(cx, message, id)).await?;
    }
    Ok(())
}

fn context<'a>(
    services: &'a Arc<Services>,
    plan: &'a Plan,
    exchange: &'a Arc<Exchange>,
    route: &'a Arc<Route>,
) -> Context<'a> {
    Context {
        services,
        library: &plan.library,
        exchange,
        route,
        rest: Rest::Nothing,
    }
}

/// The answer of a flow that has ended (spec 01 §8.4).
pub fn conclude(exchange: &Exchange) -> http::Response<BodyStream> {
    exchange.take().unwrap_or_else(outgoing::accepted)
}

/// The answer to a request that is refused before mediation (spec 01 §15.2).
pub fn refuse(exchange: &Exchange, json: bool, text: String) -> http::Response<BodyStream> {
    fault_response(exchange, exchange.format, json, &Fault::mediation(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, F>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// Futures are moved into their box and into each other: what is rare in a flow belongs in a box
    /// of its own.
    #[test]
    fn the_future_of_a_flow_is_small() {
        type Parts = (
            &'static Arc<Services>,
            &'static Plan,
            &'static Proxy,
            &'static Arc<Exchange>,
            &'static mut Message,
        );
        let flow = size(|(s, plan, proxy, e, m): Parts| run_proxy(s, plan, proxy, e, m));
        assert!(flow <= 1000, "{flow} bytes");
    }
}
