//! Linking: names become ids, inline sequences and endpoints become part of the library.

use super::{ListDef, OnError, Sequence, TemplateId};
use crate::diag::{Diagnostic, Place, codes, nearest};
use crate::endpoint::template::Made;
use crate::endpoint::{Endpoint, EndpointDef, EndpointTemplate, Names, Stores};
use crate::expr::{Dynamic, LocalEntries, entries};
use crate::message::{EndpointId, SequenceId, Value};
use crate::settings::Settings;
use std::collections::HashMap;
use std::sync::Arc;

/// One static reference from a named sequence to another.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Who refers.
    pub from: SequenceId,
    /// To whom.
    pub to: SequenceId,
    /// Where.
    pub place: Place,
}

/// The state of one link run.
pub struct Linker<'a> {
    /// Ids of named sequences.
    pub sequence_names: &'a HashMap<String, SequenceId>,
    /// Ids of named endpoints.
    pub endpoint_names: &'a HashMap<String, EndpointId>,
    /// Runtime state that survives reloads.
    pub stores: &'a Stores,
    /// Settings.
    pub settings: &'a Settings,
    /// Endpoint templates by name.
    pub templates: HashMap<String, Arc<EndpointTemplate>>,
    /// Ids of sequence templates.
    pub sequence_templates: HashMap<String, TemplateId>,
    /// Local entries and registry resources.
    pub entries: Arc<LocalEntries>,
    /// Findings.
    pub diagnostics: Vec<Diagnostic>,
    sequences: Vec<Option<Sequence>>,
    path: String,
    made: Made,
    current: Option<SequenceId>,
    references: Vec<Reference>,
    inline_endpoints: Vec<Arc<Endpoint>>,
}

impl<'a> Linker<'a> {
    /// A linker with room for the named sequences.
    pub fn new(
        sequence_names: &'a HashMap<String, SequenceId>,
        endpoint_names: &'a HashMap<String, EndpointId>,
        stores: &'a Stores,
        settings: &'a Settings,
    ) -> Linker<'a> {
        let mut sequences = Vec::new();
        sequences.resize_with(sequence_names.len(), || None);
        Linker {
            sequence_names,
            endpoint_names,
            stores,
            settings,
            templates: HashMap::new(),
            sequence_templates: HashMap::new(),
            entries: Arc::default(),
            made: Made::default(),
            diagnostics: Vec::new(),
            sequences,
            path: String::new(),
            current: None,
            references: Vec::new(),
            inline_endpoints: Vec::new(),
        }
    }

    /// Runs `f` with one more step in the path that names runtime state.
    pub fn within<R>(&mut self, step: &str, f: impl FnOnce(&mut Linker<'a>) -> R) -> R {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(step);
        let out = f(self);
        self.path.truncate(length);
        out
    }

    /// The path of the artifact part that is being linked.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path of the artifact that is being linked.
    pub fn artifact_path(&self) -> &str {
        let end = self.path.get(1..).and_then(|p| p.find('/'));
        let end = end.map_or(self.path.len(), |at| at + 1);
        self.path.get(..end).unwrap_or_default()
    }

    /// Links a named sequence: its references are remembered as its own.
    pub fn within_sequence<R>(&mut self, name: &str, f: impl FnOnce(&mut Linker<'a>) -> R) -> R {
        self.current = self.sequence_names.get(name).copied();
        let out = self.within(&format!("sequence:{name}"), f);
        self.current = None;
        out
    }

    /// Static references between named sequences.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Inline endpoints that were linked.
    pub fn take_inline_endpoints(&mut self) -> Vec<Arc<Endpoint>> {
        std::mem::take(&mut self.inline_endpoints)
    }

    /// Links a named endpoint.
    pub fn named_endpoint(&mut self, name: &str, def: &EndpointDef) -> Arc<Endpoint> {
        def.link(self, &format!("/endpoint:{name}"))
    }

    /// Puts a named sequence in its place.
    pub fn define(&mut self, id: SequenceId, sequence: Sequence) {
        if let Some(slot) = self.sequences.get_mut(id.0 as usize) {
            *slot = Some(sequence);
        }
    }

    /// Adds an anonymous sequence.
    pub fn add(&mut self, sequence: Sequence) -> SequenceId {
        let id = SequenceId(u32::try_from(self.sequences.len()).unwrap_or(u32::MAX));
        self.sequences.push(Some(sequence));
        id
    }

    /// Adds an anonymous sequence of a list.
    pub fn add_list(
        &mut self,
        label: &str,
        list: &ListDef,
        on_error: Option<&(String, Place)>,
    ) -> SequenceId {
        let on_error = self.on_error(on_error);
        let list = self.within(label, |l| list.link(l));
        self.add(Sequence {
            name: None,
            on_error,
            list,
        })
    }

    /// All sequences, in the order of their ids.
    pub fn into_parts(self) -> (Vec<Sequence>, Vec<Diagnostic>) {
        (
            self.sequences
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect(),
            self.diagnostics,
        )
    }

    /// An `onError` reference; a warning when it is not defined, as the parent's handler stays.
    pub fn on_error(&mut self, reference: Option<&(String, Place)>) -> OnError {
        let Some((name, place)) = reference else {
            return OnError::None;
        };
        match self.sequence_names.get(name) {
            Some(id) => OnError::Sequence(*id),
            None => {
                let hint = self.sequence_hint(name);
                self.diagnostics.push(
                    Diagnostic::warning(
                        codes::UNDEFINED_SEQUENCE,
                        place.clone(),
                        format!("the onError sequence \"{name}\" is not defined; the enclosing handler stays in charge"),
                    )
                    .maybe_help(hint),
                );
                OnError::Missing(name.clone())
            }
        }
    }

    /// A sequence reference. One that is not defined is an error here and a fault when reached.
    pub fn sequence(&mut self, name: &str, place: &Place) -> Option<SequenceId> {
        let id = self.sequence_names.get(name).copied();
        if id.is_none() {
            let hint = self.sequence_hint(name);
            self.diagnostics.push(
                Diagnostic::error(
                    codes::UNDEFINED_SEQUENCE,
                    place.clone(),
                    format!("sequence \"{name}\" is not defined"),
                )
                .maybe_help(hint),
            );
        }
        if let (Some(from), Some(to)) = (self.current, id) {
            self.references.push(Reference {
                from,
                to,
                place: place.clone(),
            });
        }
        id
    }

    /// A key that may be an expression: checked when it is a literal.
    pub fn key(&mut self, key: &Dynamic, place: &Place) {
        if let Dynamic::Static(name) = key {
            self.sequence(name, place);
        }
    }

    /// A reference to a sequence template. One that is not defined is an error here and a fault when
    /// it is called.
    pub fn sequence_template(&mut self, name: &str, place: &Place) -> Option<TemplateId> {
        let id = self.sequence_templates.get(name).copied();
        if id.is_none() {
            let hint = nearest(name, self.sequence_templates.keys().map(String::as_str))
                .map(|n| format!("did you mean \"{n}\"?"));
            self.diagnostics.push(
                Diagnostic::error(
                    codes::UNDEFINED_TEMPLATE,
                    place.clone(),
                    format!("the sequence template \"{name}\" is not defined"),
                )
                .maybe_help(hint),
            );
        }
        id
    }

    /// The local entry or registry resource of a key; an error when there is none, which faults
    /// when a message needs it.
    pub fn entry(&mut self, key: &str, place: &Place) -> Option<&Value> {
        if entries::find(&self.entries, key).is_none() {
            let names = self.entries.keys().map(String::as_str);
            let names = names.filter(|name| !entries::is_resource(name));
            let hint = match nearest(key, names) {
                Some(name) => format!("did you mean \"{name}\"?"),
                None => "write a <localEntry> with this key, or put the file below registry/ of the deployment directory".to_owned(),
            };
            self.diagnostics.push(
                Diagnostic::error(
                    codes::UNDEFINED_ENTRY,
                    place.clone(),
                    format!("there is no local entry or registry resource \"{key}\""),
                )
                .help(hint),
            );
        }
        entries::find(&self.entries, key)
    }

    fn sequence_hint(&self, name: &str) -> Option<String> {
        nearest(name, self.sequence_names.keys().map(String::as_str))
            .map(|n| format!("did you mean \"{n}\"?"))
    }

    /// Links an inline endpoint.
    pub fn endpoint(&mut self, def: &EndpointDef) -> Arc<Endpoint> {
        let step = def
            .head
            .name
            .clone()
            .unwrap_or_else(|| "endpoint".to_owned());
        let path = format!("{}/{step}", self.path);
        let endpoint = def.link(self, &path);
        self.inline_endpoints.push(endpoint.clone());
        endpoint
    }
}

impl Names for Linker<'_> {
    fn endpoint(&self, name: &str) -> Option<EndpointId> {
        self.endpoint_names.get(name).copied()
    }

    fn sequence(&self, name: &str) -> Option<SequenceId> {
        self.sequence_names.get(name).copied()
    }

    fn template(&self, name: &str) -> Option<Arc<EndpointTemplate>> {
        self.templates.get(name).cloned()
    }

    fn template_names(&self) -> Vec<String> {
        self.templates.keys().cloned().collect()
    }

    fn made(&mut self) -> &mut Made {
        &mut self.made
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn endpoint_names(&self) -> Vec<String> {
        self.endpoint_names.keys().cloned().collect()
    }

    fn sequence_names(&self) -> Vec<String> {
        self.sequence_names.keys().cloned().collect()
    }

    fn stores(&self) -> &Stores {
        self.stores
    }

    fn settings(&self) -> &Settings {
        self.settings
    }
}
