//! Runs one mediator on one message, for tests.

use super::{Context, Library, Linker, Out, Route, Run};
use crate::artifact::resource;
use crate::clock::Clock;
use crate::diag::Source;
use crate::endpoint::{Services, Stores};
use crate::expr::LocalEntries;
use crate::message::outgoing::HeaderRules;
use crate::message::{Body, BodyLimits, ClientFormat, Exchange, Message, Value};
use crate::settings::Settings;
use crate::syntax::{self, Reader};
use crate::transport::http::{Client, ClientSettings};
use crate::transport::outside::Outside;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A message and what surrounds it.
pub(super) struct Bench {
    pub message: Message,
    pub entries: LocalEntries,
    pub limits: BodyLimits,
}

impl Bench {
    /// A POST of a body.
    pub(super) fn new(content_type: &str, body: &str) -> Bench {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(
                http::header::CONTENT_TYPE,
                HeaderValue::from_str(content_type).unwrap(),
            );
        }
        let body = match body {
            "" => Body::Empty,
            text => Body::Bytes(Bytes::copy_from_slice(text.as_bytes())),
        };
        Bench {
            message: Message::request(Method::POST, "/services/T".parse().unwrap(), headers, body),
            entries: LocalEntries::new(),
            limits: BodyLimits::default(),
        }
    }

    pub(super) fn json(body: &str) -> Bench {
        Bench::new("application/json", body)
    }

    pub(super) fn xml(body: &str) -> Bench {
        Bench::new("application/xml", body)
    }

    pub(super) fn property(mut self, name: &str, value: &str) -> Bench {
        self.message.properties.set(name, value);
        self
    }

    /// A local entry, read as a file of the registry is.
    pub(super) fn entry(mut self, key: &str, text: &str) -> Bench {
        self.entries
            .insert(key.to_owned(), resource::value(text.as_bytes()));
        self
    }

    /// Runs mediators, written without namespace, one after the other.
    ///
    /// # Errors
    /// `deployment: …` with the first error, or the detail of the fault.
    pub(super) fn run(&mut self, mediators: &str) -> Result<(), String> {
        let text = format!("<s xmlns=\"{}\">{mediators}</s>", syntax::SYNAPSE);
        let source = Source::new("t.xml", text);
        let document = syntax::parse(&source).map_err(|e| e.1)?;
        let mut reader = Reader::new(&source);
        let parsed: Vec<_> = document
            .root_element()
            .children()
            .filter(roxmltree::Node::is_element)
            .map(|e| super::parse(&mut reader, e))
            .collect();
        let error = reader.into_diagnostics().into_iter().find(|d| d.is_error());
        if let Some(error) = error {
            return Err(format!("deployment: {}", error.message));
        }
        let settings = Arc::new(Settings::default());
        let stores = Stores::default();
        let (none, nothing) = (HashMap::new(), HashMap::new());
        let mut linker = Linker::new(&none, &nothing, &stores, &settings);
        linker.entries = Arc::new(self.entries.clone());
        let runs: Vec<Run> = parsed
            .into_iter()
            .flatten()
            .map(|m| m.definition.link(&mut linker))
            .collect();
        let library = Arc::new(Library {
            entries: linker.entries.clone(),
            ..Library::default()
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let tls = crate::transport::tls::client_config(Default::default()).unwrap();
            let services = Arc::new(Services {
                client: Arc::new(Client::new(ClientSettings::new(tls.clone()))),
                outside: Arc::new(Outside::new(tls, Duration::from_secs(1))),
                clock: Clock::default(),
                limits: self.limits.clone(),
                media_types: None,
                default_content_type: HeaderValue::from_static("application/octet-stream"),
                rules: HeaderRules::default(),
                settings: settings.clone(),
                lines: None,
                replies: Arc::default(),
                sessions: None,
            });
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let exchange = Arc::new(Exchange::new(address, address, false, ClientFormat::Rest));
            let route = Arc::new(Route {
                label: Arc::from(""),
                out: Out::Main,
                fault: None,
                own_fault: false,
            });
            let cx = Context {
                services: &services,
                library: &library,
                exchange: &exchange,
                route: &route,
                rest: super::Rest::Nothing,
            };
            self.message
                .build(&services.limits)
                .await
                .map_err(|f| f.message)?;
            for run in &runs {
                match run {
                    Run::Now(m) => m.mediate(&cx, &mut self.message),
                    Run::Wait(m) => m.mediate(cx, &mut self.message).await,
                }
                .map_err(|f| f.detail.unwrap_or(f.message))?;
            }
            Ok(())
        })
    }

    /// The body as it is sent.
    pub(super) fn body(&mut self) -> String {
        let bytes = self.message.write_body().unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Runs mediators and gives the body as it is sent then, or why there is none.
    pub(super) fn give(&mut self, mediators: &str) -> String {
        match self.run(mediators) {
            Ok(()) => self.body(),
            Err(e) => format!("! {e}"),
        }
    }

    /// The text of a property.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.message
            .properties
            .get(name)
            .map(|v| Value::text(v).into_owned())
    }
}
