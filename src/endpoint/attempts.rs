//! What all groups do to try one child after another: the request is kept so that each gets the same
//! one, children that only refuse are not asked again, and the policy of the group judges and limits
//! (spec 02 §9.2, §9.6, §9.7).

use super::balance::{Balance, Underway};
use super::{Endpoint, Parent, SendContext, Sent, count_attempt, own_fault};
use crate::message::fault::codes;
use crate::message::stream::Replay;
use crate::message::{Body, Fault, Message};
use std::sync::Arc;

/// What trying children needs to know of a group.
pub(super) struct Group<'e> {
    /// Its name in the log.
    pub(super) name: &'e str,
    /// Its name in the fault that says that nobody is ready.
    pub(super) printed: &'e str,
    /// The word for it in messages.
    pub(super) kind: &'static str,
    /// Its children.
    pub(super) children: &'e [Arc<Endpoint>],
    /// Its policy.
    pub(super) balance: Option<&'e Balance>,
    /// Whether another child is tried after one that failed.
    pub(super) failover: bool,
}

/// One message on its way through a group.
pub(super) struct Attempts<'e> {
    group: Group<'e>,
    underway: Option<Box<Underway<'e>>>,
    resend: Resend,
    refused: Refused<'e>,
    /// The message's attempts before the child that has it.
    before: u32,
    /// The last failure was one after which another child may be tried, whatever the retry budget
    /// says.
    pub(super) retryable: bool,
}

impl<'e> Attempts<'e> {
    /// Before the first attempt. `reshaped` as [`super::Kind::reshapes`].
    ///
    /// # Errors
    /// When the body cannot be read, if it is needed here.
    pub(super) async fn begin(
        cx: &SendContext<'_>,
        message: &mut Message,
        group: Group<'e>,
        reshaped: bool,
    ) -> Result<Attempts<'e>, Fault> {
        let underway = match group.balance {
            Some(balance) => Some(Box::new(balance.begin(cx, message).await?)),
            None => None,
        };
        Ok(Attempts {
            group,
            underway,
            resend: Resend::new(message, cx, reshaped).await?,
            refused: Refused::default(),
            before: 0,
            retryable: false,
        })
    }

    /// The child that `pick` chooses, with the request in place for it.
    ///
    /// # Errors
    /// When nobody is ready, or the request cannot be sent again.
    pub(super) async fn next(
        &mut self,
        cx: &SendContext<'_>,
        message: &mut Message,
        pick: impl FnOnce(Option<&Underway<'e>>, &Refused<'e>) -> Option<&'e Arc<Endpoint>>,
    ) -> Result<&'e Arc<Endpoint>, Fault> {
        let Some(child) = pick(self.underway.as_deref(), &self.refused) else {
            let (kind, name) = (self.group.kind, self.group.printed);
            let text = format!("{kind} endpoint : {name} - no ready child endpoints");
            return Err(own_fault(message, codes::NO_READY_CHILD, text));
        };
        if !self.resend.prepare(message, cx).await? {
            return Err(cannot_resend(message));
        }
        Ok(child)
    }

    /// Sends the message to a child.
    ///
    /// # Errors
    /// The child's fault; [`Attempts::failed`] says whether it is that of the group.
    pub(super) async fn send(
        &mut self,
        cx: SendContext<'_>,
        message: &mut Message,
        child: &'e Arc<Endpoint>,
    ) -> Result<Sent, Fault> {
        self.before = message.attempts;
        let children = self.group.children;
        let at = self.underway.as_ref().and_then(|u| u.at(children, child));
        let mut sent = child.kind.send(cx, message, Parent::Group).await;
        let retryable = |f: &Fault| f.retry && child.kind.retryable(f.code);
        self.retryable = sent.as_ref().is_err_and(retryable);
        if let Some(underway) = &mut self.underway {
            let done = underway.done(&cx, children, at, message, &mut sent, self.group.failover);
            Box::pin(done).await;
        }
        if !self.group.failover
            && let Err(fault) = &mut sent
        {
            // A parent group only passes it on (spec 02 §9.2).
            fault.retry = false;
        }
        sent
    }

    /// After a failure: whether the next child may be tried.
    ///
    /// # Errors
    /// The fault of the group when not.
    pub(super) fn failed(
        &mut self,
        cx: &SendContext<'_>,
        message: &mut Message,
        child: &'e Arc<Endpoint>,
        fault: Fault,
    ) -> Result<(), Fault> {
        self.refused.note(child, self.before, message);
        if !fault.retry {
            return Err(fault);
        }
        let Group { name, kind, .. } = self.group;
        tracing::warn!(
            target: "Endpoint",
            "Endpoint [{name}] Detect a Failure in a child endpoint : Endpoint [{}]", child.label()
        );
        if !child.kind.retryable(fault.code) {
            return Err(own_fault(
                message,
                codes::NO_READY_CHILD,
                format!(
                    "{kind} endpoint : {name} - one of the child endpoints encounterd a non-retry error, not sending message to another endpoint"
                ),
            ));
        }
        // A child that refuses without an attempt counts too, so that no group spins.
        if message.attempts == self.before {
            count_attempt(cx, message)?;
        }
        Ok(())
    }

    /// Nobody else is tried: what is left of the body goes back to the message.
    pub(super) fn give_up(self, message: &mut Message) {
        self.resend.give_up(message);
    }
}

/// Keeps the request so that another child can get the same one.
enum Resend {
    /// A body that is on its way.
    Stream(Replay),
    /// A body that stays in the message.
    Kept,
    /// An attempt changes more than the body: a copy of the request.
    Copy { request: Box<Message>, tried: bool },
}

impl Resend {
    /// Looks at the message before the first attempt. A copy is kept when an attempt may leave it in
    /// another form (`reshaped`), or with a response that counts as a failure.
    ///
    /// # Errors
    /// When the body cannot be read to its end; only if a copy is needed.
    async fn new(
        message: &mut Message,
        cx: &SendContext<'_>,
        reshaped: bool,
    ) -> Result<Resend, Fault> {
        if reshaped || message.properties.is_true("FORCE_ERROR_ON_SOAP_FAULT") {
            let request = Box::new(message.copy(&cx.services.limits).await?);
            return Ok(Resend::Copy {
                request,
                tried: false,
            });
        }
        let limit =
            usize::try_from(cx.services.settings.limits.replay_limit_bytes).unwrap_or(usize::MAX);
        Ok(match std::mem::take(&mut message.body) {
            Body::Stream(stream) => Resend::Stream(Replay::new(stream, limit)),
            other => {
                message.body = other;
                Resend::Kept
            }
        })
    }

    /// Puts the request in place for an attempt; `false` when bytes went out that were not kept.
    ///
    /// # Errors
    /// None in practice: the copy's body is there.
    async fn prepare(
        &mut self,
        message: &mut Message,
        cx: &SendContext<'_>,
    ) -> Result<bool, Fault> {
        let replay = match self {
            Resend::Kept => return Ok(true),
            Resend::Copy { request, tried } => {
                if std::mem::replace(tried, true) {
                    let mut request = request.copy(&cx.services.limits).await?;
                    request.properties = std::mem::take(&mut message.properties);
                    request.fault_stack = std::mem::take(&mut message.fault_stack);
                    request.last_endpoint = message.last_endpoint;
                    request.attempts = message.attempts;
                    *message = request;
                }
                return Ok(true);
            }
            Resend::Stream(replay) => replay,
        };
        if message.is_built() {
            return Ok(true);
        }
        message.body = Body::Empty;
        Ok(match replay.attempt() {
            Some(stream) => {
                message.body = Body::Stream(stream);
                true
            }
            None => false,
        })
    }

    /// Nobody else is tried: what is left of the body goes back to the message.
    fn give_up(self, message: &mut Message) {
        let Resend::Stream(replay) = self else {
            return;
        };
        if message.is_built() {
            return;
        }
        message.body = Body::Empty;
        if let Some(stream) = replay.into_stream() {
            message.body = Body::Stream(stream);
        }
    }
}

/// Children that refused this message without an attempt: a reference that leads nowhere, an
/// endpoint without credentials. They stay ready, so a group must not ask them again.
#[derive(Default)]
pub(super) struct Refused<'e>(Vec<&'e Arc<Endpoint>>);

impl<'e> Refused<'e> {
    pub(super) fn contains(&self, child: &Arc<Endpoint>) -> bool {
        self.0.iter().any(|c| Arc::ptr_eq(c, child))
    }

    /// Takes note of a child that failed: `before` are the message's attempts before it.
    fn note(&mut self, child: &'e Arc<Endpoint>, before: u32, message: &Message) {
        if message.attempts == before {
            self.0.push(child);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The fault of a group whose body cannot be sent again.
fn cannot_resend(message: &mut Message) -> Fault {
    let mut fault = own_fault(
        message,
        codes::NO_READY_CHILD,
        "The message cannot be sent to another endpoint: its body is larger than the replay limit and was already being sent",
    );
    fault.retry = false;
    // Code and message stay those of the child that failed (spec 02 §13.1).
    let detail = "no other endpoint was tried: the body is larger than the replay limit and a part of it was sent; raise [myelin] replay_limit_bytes to let larger bodies fail over";
    message.properties.set("ERROR_DETAIL", detail);
    fault.detail = Some(detail.to_owned());
    fault
}
