//! Formats of template type `freemarker`, as they run: what is done in a moment on the worker, the rest on
//! threads for templates, so that no other message of the worker waits for it.

use super::freemarker::{STACK, Template as FreeMarker};
use super::{Factory, PayloadFactory, Template};
use crate::endpoint::Services;
use crate::expr::{Effort, Scope};
use crate::mediator::list::build;
use crate::mediator::threads::{Size, Threads};
use crate::mediator::{Boxed, Context, Flow, Library, MediateAsync};
use crate::message::{Body, Exchange, Fault, Message};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A message that waits for a thread.
pub(super) struct Job {
    template: Arc<FreeMarker>,
    factory: Arc<Factory>,
    message: Message,
    services: Arc<Services>,
    library: Arc<Library>,
    exchange: Arc<Exchange>,
    reply: oneshot::Sender<(Message, Result<Vec<u8>, Fault>)>,
}

impl Job {
    fn run(self) {
        Effort::of(&self.services.settings.limits).set();
        let scope = Scope {
            deferred: 0,
            message: &self.message,
            exchange: &self.exchange,
            entries: &self.library.entries,
            clock: &self.services.clock,
            settings: &self.services.settings,
        };
        let text = self.template.render(
            &scope,
            &self.factory.arguments,
            &self.services.limits,
            self.services.settings.templates.timeout,
        );
        // The flow waits for it, whatever became of its client.
        let _ = self.reply.send((self.message, text));
    }
}

#[derive(Debug)]
pub(super) struct Templated {
    pub(super) factory: PayloadFactory,
    pub(super) threads: Arc<Threads<Job>>,
}

impl MediateAsync for Templated {
    fn mediate<'a>(
        &'a self,
        cx: Context<'a>,
        message: &'a mut Message,
    ) -> Boxed<'a, Result<Flow, Fault>> {
        Box::pin(async move {
            if !message.is_built() {
                build(cx, message).await?;
            }
            let factory = &self.factory.factory;
            let template = self
                .factory
                .with_template(&cx, message, |template| match template {
                    Template::FreeMarker(template) => Ok(template.clone()),
                    Template::Default(_) => Err(Fault::mediation("the format is no template")),
                })?;
            let limits = &cx.services.limits;
            let now = template.render_at_once(&cx.scope(message), &factory.arguments, limits)?;
            let text = match now {
                Some(text) => text,
                None => self.elsewhere(cx, message, template).await?,
            };
            factory.install(message, text, limits)
        })
    }
}

impl Templated {
    /// Hands the message to a thread and waits for it.
    async fn elsewhere(
        &self,
        cx: Context<'_>,
        message: &mut Message,
        template: Arc<FreeMarker>,
    ) -> Result<Vec<u8>, Fault> {
        let settings = &cx.services.settings.templates;
        let size = Size {
            threads: settings.threads(),
            queue: settings.queue,
            stack: STACK,
        };
        let placeholder = Message::request(
            http::Method::GET,
            http::Uri::default(),
            http::HeaderMap::new(),
            Body::Empty,
        );
        let (reply, answer) = oneshot::channel();
        let job = Job {
            template,
            factory: self.factory.factory.clone(),
            message: std::mem::replace(message, placeholder),
            services: cx.services.clone(),
            library: cx.library.clone(),
            exchange: cx.exchange.clone(),
            reply,
        };
        if let Err(job) = self.threads.submit(job, "template", size, || Job::run) {
            *message = job.message;
            return Err(Fault::mediation(
                "Too many messages wait for a template ([myelin] template_queue); try again later",
            ));
        }
        match answer.await {
            Ok((back, text)) => {
                *message = back;
                text
            }
            Err(_) => Err(Fault::mediation("The thread of the template has ended")),
        }
    }
}
