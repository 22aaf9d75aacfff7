//! Linking all artifacts into a plan: names resolved, state attached, problems reported.

mod builtin;
mod cycles;
pub mod wsdl;

use crate::artifact::proxy::SequenceRef;
use crate::artifact::{Artifact, ArtifactKind, Definition, LocalEntryDef, ProxyDef, TemplateDef};
use crate::diag::{Diagnostic, codes};
use crate::endpoint::health::Check;
use crate::endpoint::reach;
use crate::endpoint::store::Held;
use crate::endpoint::{Described, Endpoint, Endpoints, Stores};
use crate::expr::LocalEntries;
use crate::mediator::{Library, Linker, Out, Route, SequenceDef, TemplateId};
use crate::message::{EndpointId, SequenceId};
use crate::metrics::Requests;
use crate::settings::Settings;
use std::collections::HashMap;
use std::sync::Arc;
use wsdl::Wsdl;

/// Everything that runs, immutable. Messages finish on the plan they started with.
#[derive(Debug, Default)]
pub struct Plan {
    /// Sequences, endpoints and local entries.
    pub library: Arc<Library>,
    /// Proxy services by name.
    pub proxies: HashMap<String, Arc<Proxy>>,
    /// Inline endpoints, for the endpoint list.
    pub inline_endpoints: Vec<Arc<Endpoint>>,
    /// What groups of messages that wait for others hold.
    pub held: Arc<Held>,
    /// The route of messages that no service claims.
    pub main_route: Option<Arc<Route>>,
    /// The answers to messages that no service claims.
    pub main_requests: Arc<Requests>,
    /// Counts of what is deployed.
    pub counts: Counts,
}

/// How many artifacts of each kind a plan holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub struct Counts {
    pub proxies: usize,
    pub sequences: usize,
    pub endpoints: usize,
    pub local_entries: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word =
            |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        write!(
            f,
            "{}, {}, {}, {}",
            word(self.proxies, "proxy service", "proxy services"),
            word(self.sequences, "sequence", "sequences"),
            word(self.endpoints, "endpoint", "endpoints"),
            word(self.local_entries, "local entry", "local entries")
        )
    }
}

/// A linked proxy service.
#[derive(Debug)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// Exposed over HTTP.
    pub http: bool,
    /// Exposed over HTTPS.
    pub https: bool,
    /// Started.
    pub started: bool,
    /// The in path.
    pub in_sequence: Incoming,
    /// The target endpoint.
    pub endpoint: Option<Arc<Endpoint>>,
    /// The key of the target's `endpoint` attribute when no endpoint has this name: messages that
    /// reach it fault (spec 01 §6.2).
    pub missing_endpoint: Option<String>,
    /// Out and fault path.
    pub route: Arc<Route>,
    /// What it publishes about itself.
    pub wsdl: Wsdl,
    /// Its answers so far.
    pub requests: Arc<Requests>,
}

/// The in path of a proxy service.
#[derive(Debug)]
pub enum Incoming {
    /// None: straight to the target endpoint.
    None,
    /// A sequence.
    Sequence(SequenceId),
    /// A key that is not defined; faults when it is reached.
    Missing(String),
}

impl Plan {
    /// The health checks of all endpoints.
    pub fn checks(&self) -> Vec<Arc<Check>> {
        let mut out = Vec::new();
        let named = &self.library.endpoints.list;
        for endpoint in named.iter().chain(&self.inline_endpoints) {
            endpoint.kind.checks(&mut out);
        }
        out
    }

    /// The states of all endpoints.
    pub fn describe_endpoints(&self, now: u64) -> Vec<Described> {
        let mut out = Vec::new();
        for endpoint in self
            .library
            .endpoints
            .list
            .iter()
            .chain(&self.inline_endpoints)
        {
            endpoint.kind.describe(now, &mut out);
        }
        out
    }
}

/// A plan with what linking it found.
#[derive(Debug)]
pub struct Linked {
    /// The plan.
    pub plan: Plan,
    /// Findings about references and names.
    pub diagnostics: Vec<Diagnostic>,
    /// Artifacts that are not part of the plan because another one has their name.
    pub duplicates: Vec<Arc<Artifact>>,
}

/// Links artifacts. The first of two with one name wins. `resources` are those of the registry.
pub fn link(
    artifacts: &[Arc<Artifact>],
    resources: LocalEntries,
    stores: &Stores,
    settings: &Settings,
) -> Linked {
    let mut diagnostics = Vec::new();
    let mut duplicates = Vec::new();
    let artifacts = unique(artifacts, &mut diagnostics, &mut duplicates);
    let builtin = builtin::sequences();
    let mut sequences: Vec<&SequenceDef> = Vec::new();
    for artifact in &artifacts {
        if let Definition::Sequence(def) = &artifact.definition {
            sequences.push(def);
        }
    }
    for def in builtin {
        if !sequences.iter().any(|s| s.name == def.name) {
            sequences.push(def);
        }
    }
    let sequence_names: HashMap<String, SequenceId> = sequences
        .iter()
        .enumerate()
        .map(|(index, def)| (def.name.clone(), SequenceId(id(index))))
        .collect();
    let mut endpoints: Vec<_> = artifacts
        .iter()
        .filter_map(|a| match &a.definition {
            Definition::Endpoint(def) => Some((a.name.clone(), def)),
            _ => None,
        })
        .collect();
    let named_endpoints = endpoints.len();
    // A key may also name a local entry that holds an endpoint (spec 02 §6).
    for artifact in &artifacts {
        if let Definition::LocalEntry(LocalEntryDef {
            endpoint: Some(def),
            ..
        }) = &artifact.definition
            && !endpoints.iter().any(|(name, _)| *name == artifact.name)
        {
            endpoints.push((artifact.name.clone(), def));
        }
    }
    let endpoint_names: HashMap<String, EndpointId> = endpoints
        .iter()
        .enumerate()
        .map(|(index, (name, _))| (name.clone(), EndpointId(id(index))))
        .collect();

    stores.begin();
    let mut linker = Linker::new(&sequence_names, &endpoint_names, stores, settings);
    let mut entries = resources;
    let mut local_entries = 0;
    for artifact in &artifacts {
        if let Definition::LocalEntry(def) = &artifact.definition {
            entries.insert(artifact.name.clone(), def.value.clone());
            local_entries += 1;
        }
    }
    linker.entries = Arc::new(entries);
    linker.templates = artifacts
        .iter()
        .filter_map(|a| match &a.definition {
            Definition::Template(TemplateDef::Endpoint(t)) => Some((a.name.clone(), t.clone())),
            _ => None,
        })
        .collect();
    let templates: Vec<_> = artifacts
        .iter()
        .filter_map(|a| match &a.definition {
            Definition::Template(TemplateDef::Sequence(t)) => Some((&a.name, t)),
            _ => None,
        })
        .collect();
    linker.sequence_templates = templates
        .iter()
        .enumerate()
        .map(|(index, (name, _))| ((*name).clone(), TemplateId(id(index))))
        .collect();
    let mut list: Vec<_> = endpoints
        .iter()
        .map(|(name, def)| linker.named_endpoint(name, def))
        .collect();
    diagnostics.extend(reach::bound(&mut list));
    for (index, def) in sequences.iter().enumerate() {
        let sequence = def.link(&mut linker);
        linker.define(SequenceId(id(index)), sequence);
    }
    let linked_templates = templates.iter().map(|(_, t)| t.link(&mut linker)).collect();
    let template_names = linker.sequence_templates.clone();
    let default_fault = sequence_names.get("fault").copied();
    let mut proxies = HashMap::new();
    for artifact in &artifacts {
        if let Definition::Proxy(def) = &artifact.definition {
            if !def.pinned.is_empty() && !def.pinned.contains(&settings.server.name) {
                tracing::info!(
                    target: "ProxyService",
                    "{} is not in the pinned servers list of the proxy service {}; it is not deployed here",
                    settings.server.name, def.name
                );
                continue;
            }
            let proxy = link_proxy(def, &mut linker, default_fault);
            proxies.insert(def.name.clone(), Arc::new(proxy));
        }
    }
    let inline_endpoints = linker.take_inline_endpoints();
    diagnostics.extend(cycles::find(&sequences, linker.references()));
    let entries = linker.entries.clone();
    let (linked_sequences, found) = linker.into_parts();
    diagnostics.extend(found);
    let main_requests = stores.requests("main");
    stores.sweep();

    let counts = Counts {
        proxies: proxies.len(),
        sequences: artifacts
            .iter()
            .filter(|a| a.kind == ArtifactKind::Sequence)
            .count(),
        endpoints: named_endpoints,
        local_entries,
    };
    let named = |name: &str| sequence_names.get(name).copied();
    let plan = Plan {
        proxies,
        inline_endpoints,
        held: stores.held().clone(),
        main_requests,
        main_route: Some(Arc::new(Route {
            label: Arc::from(""),
            out: Out::Main,
            fault: default_fault,
            own_fault: artifacts
                .iter()
                .any(|a| a.kind == ArtifactKind::Sequence && a.name == "fault"),
        })),
        counts,
        library: Arc::new(Library {
            main: named("main"),
            fault: default_fault,
            pre_mediate: named("pre-mediate"),
            sequences: linked_sequences,
            by_name: sequence_names.clone(),
            templates: linked_templates,
            template_names,
            endpoints: Endpoints {
                list,
                by_name: endpoint_names.clone(),
            },
            entries,
        }),
    };
    Linked {
        plan,
        diagnostics,
        duplicates,
    }
}

fn id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn unique(
    artifacts: &[Arc<Artifact>],
    diagnostics: &mut Vec<Diagnostic>,
    duplicates: &mut Vec<Arc<Artifact>>,
) -> Vec<Arc<Artifact>> {
    let mut seen: HashMap<(ArtifactKind, &str), &Arc<Artifact>> = HashMap::new();
    let mut out = Vec::new();
    for artifact in artifacts {
        match seen.get(&(artifact.kind, artifact.name.as_str())) {
            Some(first) => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::DUPLICATE_NAME,
                        artifact.place.clone(),
                        format!(
                            "the {} \"{}\" is already defined",
                            artifact.kind.word(),
                            artifact.name
                        ),
                    )
                    .help(format!(
                        "the first one is at {}; rename one of them",
                        first.place
                    )),
                );
                duplicates.push(artifact.clone());
            }
            None => {
                seen.insert((artifact.kind, &artifact.name), artifact);
                out.push(artifact.clone());
            }
        }
    }
    out
}

fn link_proxy(def: &ProxyDef, linker: &mut Linker<'_>, default_fault: Option<SequenceId>) -> Proxy {
    linker.within(&format!("proxy:{}", def.name), |linker| {
        let in_sequence = match &def.in_sequence {
            None => Incoming::None,
            Some(SequenceRef::Key(name, place)) => match linker.sequence(name, place) {
                Some(id) => Incoming::Sequence(id),
                None => Incoming::Missing(name.clone()),
            },
            Some(SequenceRef::Inline(list, on_error)) => {
                Incoming::Sequence(linker.add_list("in", list, on_error.as_ref()))
            }
        };
        let out = match &def.out_sequence {
            None => Out::Client,
            Some(SequenceRef::Key(name, place)) => match linker.sequence(name, place) {
                Some(id) => Out::Sequence(id),
                None => Out::Missing(name.clone()),
            },
            Some(SequenceRef::Inline(list, on_error)) => {
                Out::Sequence(linker.add_list("out", list, on_error.as_ref()))
            }
        };
        let own = match &def.fault_sequence {
            None => None,
            Some(SequenceRef::Key(name, place)) => linker.sequence(name, place),
            Some(SequenceRef::Inline(list, on_error)) => {
                Some(linker.add_list("fault", list, on_error.as_ref()))
            }
        };
        let wsdl = Wsdl::link(def.wsdl.as_ref(), linker);
        Proxy {
            wsdl,
            name: def.name.clone(),
            requests: linker.stores.requests(&format!("proxy:{}", def.name)),
            http: def.http,
            https: def.https,
            started: def.started,
            in_sequence,
            endpoint: def.endpoint.as_ref().map(|e| linker.endpoint(e)),
            missing_endpoint: def
                .endpoint_key
                .clone()
                .filter(|key| !linker.endpoint_names.contains_key(key)),
            route: Arc::new(Route {
                label: format!("{{proxy:{}}} ", def.name).into(),
                out,
                fault: own.or(default_fault),
                own_fault: own.is_some(),
            }),
        }
    })
}
