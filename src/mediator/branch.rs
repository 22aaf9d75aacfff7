//! Branches: parts of a flow that run beside it, as the copies of `clone` and `iterate` do.

use super::rest::{Kept, Rest};
use super::{Boxed, Context, Library, Route, settle};
use crate::endpoint::Services;
use crate::message::exchange::Branch;
use crate::message::{Exchange, Fault, Message};
use crate::transport::http::{Beside, beside};
use std::sync::Arc;

/// What a part of a flow needs to run by itself. It keeps the exchange open: the client is answered
/// by whoever answers first, and at the latest when the flow and all its branches have ended.
pub struct Detached {
    services: Arc<Services>,
    library: Arc<Library>,
    exchange: Arc<Exchange>,
    route: Arc<Route>,
    rest: Vec<Kept>,
    branch: Option<Branch>,
    beside: Beside,
}

impl Context<'_> {
    /// Makes room for a branch of this flow.
    ///
    /// # Errors
    /// When the exchange has `[myelin] max_split_parts` branches, or the server as many detached
    /// flows as it may have.
    pub fn detach(self) -> Result<Detached, Fault> {
        let limit = self.services.settings.limits.max_split_parts;
        let branch = self.exchange.branch(limit).ok_or_else(|| {
            Fault::mediation(format!("One message has more than {limit} parts at work"))
        })?;
        self.detach_with(Some(branch))
    }

    /// As [`Context::detach`], but the client does not wait for it.
    ///
    /// # Errors
    /// When the server has as many detached flows as it may have.
    pub fn detach_unheard(self) -> Result<Detached, Fault> {
        self.detach_with(None)
    }

    fn detach_with(self, branch: Option<Branch>) -> Result<Detached, Fault> {
        let beside = beside().ok_or_else(|| {
            Fault::mediation("Too many flows run beside their requests; try again later")
        })?;
        Ok(Detached {
            services: self.services.clone(),
            library: self.library.clone(),
            exchange: self.exchange.clone(),
            route: self.route.clone(),
            rest: self.rest.keep(),
            branch,
            beside,
        })
    }
}

impl Detached {
    /// Runs `work` on a message in a task of its own. A fault runs the handlers on the message's
    /// stack, as at the end of every flow.
    pub fn spawn<F>(self, mut message: Message, work: F)
    where
        F: for<'a> FnOnce(Context<'a>, &'a mut Message) -> Boxed<'a, Result<(), Fault>>
            + Send
            + 'static,
    {
        self.spawn_work(move |cx| {
            Box::pin(async move {
                let outcome = work(cx, &mut message).await;
                settle(cx, &mut message, outcome).await;
            })
        });
    }

    /// Runs `work` in a task of its own. It settles its messages itself.
    pub fn spawn_work<F>(self, work: F)
    where
        F: for<'a> FnOnce(Context<'a>) -> Boxed<'a, ()> + Send + 'static,
    {
        let Detached {
            services,
            library,
            exchange,
            route,
            rest,
            branch,
            beside,
        } = self;
        beside.spawn(async move {
            let cx = Context {
                services: &services,
                library: &library,
                exchange: &exchange,
                route: &route,
                rest: Rest::Kept(&rest),
            };
            work(cx).await;
            drop(branch);
        });
    }
}
