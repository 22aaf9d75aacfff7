//! Artifacts: what a file of the deployment directory defines. One kind, one file.

pub mod local_entry;
pub mod proxy;
pub mod resource;
pub mod template;
pub mod wsdl;

pub use local_entry::{LocalEntryDef, RemoteEntry, value as entry_value};
pub use proxy::ProxyDef;
pub use template::TemplateDef;
pub use wsdl::WsdlDef;

use crate::diag::{Diagnostic, Place, Severity, Source, codes, nearest};
use crate::endpoint::{self, EndpointDef};
use crate::mediator::SequenceDef;
use crate::settings::{Unsupported, Variables};
use crate::syntax::{self, Element, Reader};
use std::path::PathBuf;
use std::sync::Arc;

/// The kinds of artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ArtifactKind {
    /// `<localEntry>`.
    LocalEntry,
    /// `<endpoint>`.
    Endpoint,
    /// `<template>`.
    Template,
    /// `<sequence>`.
    Sequence,
    /// `<proxy>`.
    Proxy,
}

impl ArtifactKind {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            ArtifactKind::LocalEntry => "local entry",
            ArtifactKind::Endpoint => "endpoint",
            ArtifactKind::Template => "template",
            ArtifactKind::Sequence => "sequence",
            ArtifactKind::Proxy => "proxy service",
        }
    }
}

/// An artifact's definition.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Definition {
    LocalEntry(LocalEntryDef),
    Endpoint(EndpointDef),
    Template(TemplateDef),
    Sequence(SequenceDef),
    Proxy(ProxyDef),
}

/// An artifact that was read without errors.
#[derive(Debug)]
pub struct Artifact {
    /// Its kind.
    pub kind: ArtifactKind,
    /// Its name.
    pub name: String,
    /// What it says.
    pub definition: Definition,
    /// Where it is written.
    pub place: Place,
}

/// An artifact that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faulty {
    /// The file.
    pub file: PathBuf,
    /// Its kind, when that was seen.
    pub kind: Option<ArtifactKind>,
    /// Its name, when that was seen.
    pub name: Option<String>,
}

/// What one file gave.
#[derive(Debug, Default)]
pub struct FileContent {
    /// Artifacts without errors.
    pub artifacts: Vec<Arc<Artifact>>,
    /// Artifacts with errors; one entry without a name when the whole file cannot be read.
    pub faulty: Vec<Faulty>,
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
}

/// The root elements that are artifacts.
const ROOTS: &[&str] = &[
    "proxy",
    "sequence",
    "endpoint",
    "template",
    "localEntry",
    "definitions",
];

/// Artifacts of the reference that are not there yet.
const LATER: &[&str] = &[
    "api",
    "data",
    "eventSource",
    "import",
    "inboundEndpoint",
    "messageProcessor",
    "messageStore",
    "priorityExecutor",
    "task",
];

/// Boilerplate of old configurations that has no meaning here.
const IGNORED: &[&str] = &["registry", "taskManager"];

/// Reads one file.
pub fn parse_file(
    source: &Arc<Source>,
    unsupported: Unsupported,
    variables: &Arc<Variables>,
) -> FileContent {
    let mut out = FileContent::default();
    let whole = || Faulty {
        file: source.path().to_owned(),
        kind: None,
        name: None,
    };
    let document = match syntax::parse(source) {
        Ok(document) => document,
        Err(problem) => {
            let (offset, message) = *problem;
            let place = Place::new(source, offset..offset + 1);
            out.diagnostics
                .push(Diagnostic::error(codes::MALFORMED_XML, place, message));
            out.faulty.push(whole());
            return out;
        }
    };
    let root = document.root_element();
    let mut reader = Reader::new(source);
    if reader.is_synapse(root) && root.tag_name().name() == "definitions" {
        reader.known_attributes(root, &["name"]);
        let children = reader.children(root);
        out.diagnostics.extend(reader.into_diagnostics());
        for child in children {
            read(source, unsupported, variables, child, &mut out);
            if out.diagnostics.len() > syntax::MAX_FINDINGS {
                out.diagnostics.truncate(syntax::MAX_FINDINGS + 1);
            }
        }
    } else {
        out.diagnostics.extend(reader.into_diagnostics());
        read(source, unsupported, variables, root, &mut out);
    }
    dedup_namespace_warnings(&mut out.diagnostics);
    limit_findings(&mut out);
    out
}

/// Cuts the list of findings; the last one says that there are more.
fn limit_findings(content: &mut FileContent) {
    let diagnostics = &mut content.diagnostics;
    if diagnostics.len() <= syntax::MAX_FINDINGS {
        return;
    }
    diagnostics.truncate(syntax::MAX_FINDINGS);
    if let Some(last) = diagnostics.last_mut() {
        last.message = "there are more findings in this file than are told".to_owned();
        last.help = None;
        // Those that are left out may be the only errors.
        if !content.faulty.is_empty() {
            last.severity = Severity::Error;
        }
    }
}

/// Each artifact has its own reader; the missing namespace is one fact of the file.
fn dedup_namespace_warnings(diagnostics: &mut Vec<Diagnostic>) {
    let mut seen = false;
    diagnostics.retain(|d| d.code != codes::NO_NAMESPACE || !std::mem::replace(&mut seen, true));
}

fn read(
    source: &Arc<Source>,
    unsupported: Unsupported,
    variables: &Arc<Variables>,
    element: Element<'_, '_>,
    out: &mut FileContent,
) {
    let mut reader = Reader::new(source);
    reader.unsupported_mediators = unsupported;
    reader.variables = variables.clone();
    let artifact = read_artifact(&mut reader, element);
    let failed = reader.errors() > 0;
    out.diagnostics.extend(reader.into_diagnostics());
    match artifact {
        Read::Artifact(artifact) if !failed => out.artifacts.push(Arc::from(artifact)),
        Read::Artifact(artifact) => out.faulty.push(Faulty {
            file: source.path().to_owned(),
            kind: Some(artifact.kind),
            name: Some(artifact.name),
        }),
        Read::Failed(kind) => out.faulty.push(Faulty {
            file: source.path().to_owned(),
            kind,
            name: ["name", "key"]
                .iter()
                .find_map(|n| element.attribute(*n))
                .map(str::to_owned),
        }),
        Read::Ignored => {}
    }
}

enum Read {
    Artifact(Box<Artifact>),
    Failed(Option<ArtifactKind>),
    Ignored,
}

fn read_artifact(reader: &mut Reader, element: Element<'_, '_>) -> Read {
    let place = reader.place(element);
    let name = element.tag_name().name();
    if !reader.is_synapse(element) {
        reader.report(
            Diagnostic::error(
                codes::UNKNOWN_ARTIFACT,
                place,
                format!(
                    "<{name}> has the namespace \"{}\", which is not that of Synapse artifacts",
                    element.tag_name().namespace().unwrap_or_default()
                ),
            )
            .help(format!("artifacts have xmlns=\"{}\"", syntax::SYNAPSE)),
        );
        return Read::Failed(None);
    }
    let (kind, definition, key) = match name {
        "proxy" => (
            ArtifactKind::Proxy,
            ProxyDef::parse(reader, element).map(Definition::Proxy),
            "name",
        ),
        "sequence" => (
            ArtifactKind::Sequence,
            SequenceDef::parse(reader, element).map(Definition::Sequence),
            "name",
        ),
        "endpoint" => {
            reader.required(element, "name");
            (
                ArtifactKind::Endpoint,
                endpoint::parse(reader, element).map(Definition::Endpoint),
                "name",
            )
        }
        "template" => (
            ArtifactKind::Template,
            TemplateDef::parse(reader, element).map(Definition::Template),
            "name",
        ),
        "localEntry" => (
            ArtifactKind::LocalEntry,
            LocalEntryDef::parse(reader, element).map(Definition::LocalEntry),
            "key",
        ),
        name if IGNORED.contains(&name) => return Read::Ignored,
        name if LATER.contains(&name) => {
            reader.unsupported(
                place,
                format!("<{name}> artifacts are not supported yet"),
                None,
            );
            return Read::Failed(None);
        }
        name => {
            let hint = nearest(name, ROOTS.iter().copied()).map_or_else(
                || format!("artifacts are: {}", ROOTS.join(", ")),
                |n| format!("did you mean <{n}>?"),
            );
            reader.report(
                Diagnostic::error(
                    codes::UNKNOWN_ARTIFACT,
                    place,
                    format!("<{name}> is not an artifact"),
                )
                .help(hint),
            );
            return Read::Failed(None);
        }
    };
    match (definition, element.attribute(key)) {
        (Some(definition), Some(name)) => Read::Artifact(Box::new(Artifact {
            kind,
            name: name.to_owned(),
            definition,
            place,
        })),
        _ => Read::Failed(Some(kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_one_file_are_limited() {
        let unknown = "<log levle='x'/>".repeat(1500);
        let one = format!("<sequence name='A'>{unknown}<bogus/></sequence>");
        let many = "<sequence name='A' nam='x'/>".repeat(1500) + "<bogus/>";
        for inner in [one, many] {
            let text = format!(
                "<definitions xmlns='{}'>{inner}</definitions>",
                syntax::SYNAPSE
            );
            let found = parse_file(
                &Source::new("a.xml", text),
                Unsupported::Refuse,
                &Arc::default(),
            );
            assert_eq!(found.diagnostics.len(), syntax::MAX_FINDINGS);
            let last = found.diagnostics.last().unwrap();
            assert!(
                last.is_error() && last.message.contains("more findings"),
                "{last:?}"
            );
            assert_eq!(found.faulty.len(), 1);
        }
    }
}
