//! Loading: files are read, artifacts parsed, the last good version of a broken one kept, all of
//! them linked, and the plan swapped in.

use super::scan::{REGISTRY, ScanLimits, Snapshot, SourceFile, is_resource, scan, shown};
use crate::artifact::{Artifact, ArtifactKind, Faulty, FileContent, parse_file, resource};
use crate::diag::{Diagnostic, Place, Source, codes};
use crate::endpoint::Stores;
use crate::engine::Engine;
use crate::expr::LocalEntries;
use crate::plan::{Counts, Plan, link};
use crate::settings::{Settings, Unsupported, Variables};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What one load did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The deployment directory as people know it.
    pub root: PathBuf,
    /// Findings of the files that changed, and of linking.
    pub diagnostics: Vec<Diagnostic>,
    /// Artifacts that are not deployed, or only in their last good version.
    pub faulty: Vec<FaultyArtifact>,
    /// What is deployed.
    pub counts: Counts,
    /// Files that were added.
    pub added: Vec<PathBuf>,
    /// Files that were changed.
    pub changed: Vec<PathBuf>,
    /// Files that were removed.
    pub removed: Vec<PathBuf>,
}

impl Report {
    /// What happened to which files: `deployed A.xml, removed B.xml, faulty: C.xml`.
    #[must_use]
    pub fn changes(&self) -> String {
        let is_faulty = |path: &&PathBuf| {
            let shown = self.root.join(path);
            self.faulty.iter().any(|f| Path::new(&f.file) == shown)
        };
        let well = |files: &[PathBuf]| -> Vec<String> {
            let well = files.iter().filter(|p| !is_faulty(p));
            well.map(|p| p.display().to_string()).collect()
        };
        let arrived = self.added.iter().chain(&self.changed);
        let faulty = arrived.filter(is_faulty).map(|p| p.display().to_string());
        let parts = [
            ("deployed ", well(&self.added)),
            ("redeployed ", well(&self.changed)),
            ("removed ", well(&self.removed)),
            ("faulty: ", faulty.collect()),
        ];
        let told = parts
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| {
                let shown = names[..names.len().min(MOST_NAMES)].join(", ");
                match names.len().saturating_sub(MOST_NAMES) {
                    0 => format!("{what}{shown}"),
                    more => format!("{what}{shown} and {more} more"),
                }
            });
        match told.collect::<Vec<_>>() {
            parts if parts.is_empty() => "nothing changed".to_owned(),
            parts => parts.join(", "),
        }
    }
}

/// Most file names of one kind of change in the log line of a deployment.
const MOST_NAMES: usize = 5;

/// An artifact that has errors.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FaultyArtifact {
    /// The file.
    pub file: String,
    /// Its name, when it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The last good version is still running.
    pub last_good_version: bool,
}

struct Loaded {
    hash: u64,
    content: FileContent,
    /// Artifacts of the last good version that stand in for faulty ones.
    kept: Vec<Arc<Artifact>>,
}

/// Holds what is deployed and replaces it.
pub struct Deployer {
    root: PathBuf,
    settings: Arc<Settings>,
    variables: Arc<Variables>,
    stores: Stores,
    snapshot: Snapshot,
    files: BTreeMap<PathBuf, Loaded>,
    problems: Vec<(PathBuf, String)>,
    link_diagnostics: HashSet<String>,
    /// The file of each artifact that is part of the plan.
    owners: HashMap<(ArtifactKind, String), PathBuf>,
}

/// A plan that is ready to be put in place.
pub struct Prepared {
    /// The plan.
    pub plan: Plan,
    /// What loading it found.
    pub report: Report,
}

impl Deployer {
    /// A deployer of a directory.
    pub fn new(root: impl Into<PathBuf>, settings: Arc<Settings>) -> Deployer {
        Deployer {
            root: root.into(),
            variables: Arc::new(Variables::of(&settings)),
            settings,
            stores: Stores::default(),
            snapshot: Snapshot::default(),
            files: BTreeMap::new(),
            problems: Vec::new(),
            link_diagnostics: HashSet::new(),
            owners: HashMap::new(),
        }
    }

    /// The deployment directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads the directory and links what is there. `None` when nothing changed since the last
    /// time.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn prepare(&mut self) -> std::io::Result<Option<Prepared>> {
        let limits = ScanLimits::from(&self.settings.deploy);
        let first = self.files.is_empty() && self.snapshot.files.is_empty();
        let snapshot = scan(&self.root, Some(&self.snapshot), &limits)?;
        let changes = snapshot.changed_since(&self.snapshot);
        let new_problems = snapshot.problems != self.problems;
        if changes.is_empty() && !first && !new_problems {
            self.snapshot = snapshot;
            return Ok(None);
        }
        let mut report = Report {
            root: shown(&self.root),
            ..Report::default()
        };
        // By what was in them: a file that has another name now is known by its content.
        let removed = changes.removed.iter();
        let gone: HashMap<u64, Loaded> = removed
            .filter_map(|path| self.files.remove(path))
            .map(|loaded| (loaded.hash, loaded))
            .collect();
        for path in changes.added.iter().chain(&changes.changed) {
            if let Some(file) = snapshot.files.get(path)
                && !is_resource(path)
            {
                self.read(path, file, &gone, &mut report);
            }
        }
        if new_problems {
            self.problems.clone_from(&snapshot.problems);
            for (path, problem) in &snapshot.problems {
                report.diagnostics.push(file_problem(path, problem));
            }
        }
        report.added = changes.added;
        report.changed = changes.changed;
        report.removed = changes.removed;
        self.snapshot = snapshot;
        let plan = self.link(&mut report);
        Ok(Some(Prepared { plan, report }))
    }

    /// Reads, links and swaps.
    ///
    /// # Errors
    /// As [`Deployer::prepare`].
    pub fn deploy(&mut self, engine: &Engine) -> std::io::Result<Option<Report>> {
        Ok(self.prepare()?.map(|prepared| {
            engine.swap(Arc::new(prepared.plan));
            prepared.report
        }))
    }

    fn read(
        &mut self,
        path: &Path,
        file: &SourceFile,
        gone: &HashMap<u64, Loaded>,
        report: &mut Report,
    ) {
        let previous = self.files.remove(path);
        if let Some(previous) = &previous
            && previous.hash == file.hash
        {
            // Only its time changed.
            if let Some(previous) = self.files.insert(
                path.to_owned(),
                Loaded {
                    hash: file.hash,
                    ..take(previous)
                },
            ) {
                drop(previous);
            }
            return;
        }
        let content = read_file(file, &self.settings, &self.variables);
        report
            .diagnostics
            .extend(content.diagnostics.iter().cloned());
        let kept = match previous.as_ref().or_else(|| gone.get(&file.hash)) {
            None => Vec::new(),
            Some(previous) => keep(previous, &content),
        };
        self.files.insert(
            path.to_owned(),
            Loaded {
                hash: file.hash,
                content,
                kept,
            },
        );
    }

    fn link(&mut self, report: &mut Report) -> Plan {
        let read = || self.files.values().flat_map(|f| &f.content.artifacts);
        // What another file defines now needs no old version.
        let defined: HashSet<_> = read().map(|a| (a.kind, a.name.as_str())).collect();
        let stays = |a: &&Arc<Artifact>| !defined.contains(&(a.kind, a.name.as_str()));
        let kept = self.files.values().flat_map(|f| &f.kept).filter(stays);
        let mut artifacts: Vec<Arc<Artifact>> = read().chain(kept).cloned().collect();
        self.owners_first(&mut artifacts);
        let linked = link(
            &artifacts,
            resources(&self.snapshot),
            &self.stores,
            &self.settings,
        );
        for loaded in self.files.values() {
            for faulty in &loaded.content.faulty {
                let mut kept = loaded.kept.iter().filter(stays);
                let kept = kept.any(|a| stands_in(a, faulty));
                report.faulty.push(FaultyArtifact {
                    file: faulty.file.display().to_string(),
                    name: faulty.name.clone(),
                    last_good_version: kept,
                });
            }
        }
        for duplicate in &linked.duplicates {
            report.faulty.push(FaultyArtifact {
                file: duplicate.place.source.path().display().to_string(),
                name: Some(duplicate.name.clone()),
                last_good_version: false,
            });
        }
        for (path, _) in &self.problems {
            report.faulty.push(FaultyArtifact {
                file: path.display().to_string(),
                name: None,
                // A file as it was read before, or those of a folder that cannot be listed.
                last_good_version: self
                    .snapshot
                    .files
                    .values()
                    .any(|f| f.path.starts_with(path)),
            });
        }
        // A reference that was broken before and still is has been said already.
        let texts: Vec<String> = linked
            .diagnostics
            .iter()
            .map(crate::diag::to_text)
            .collect();
        for (diagnostic, text) in linked.diagnostics.iter().zip(&texts) {
            if !self.link_diagnostics.contains(text) {
                report.diagnostics.push(diagnostic.clone());
            }
        }
        self.link_diagnostics = texts.into_iter().collect();
        self.owners = artifacts
            .iter()
            .filter(|a| !linked.duplicates.iter().any(|d| Arc::ptr_eq(a, d)))
            .map(|a| ((a.kind, a.name.clone()), a.place.source.path().to_owned()))
            .collect();
        report.counts = linked.plan.counts;
        linked.plan
    }

    /// Of several artifacts with one name the one that is running comes first, wherever its file stands: a new
    /// file never takes the place of what runs.
    fn owners_first(&self, artifacts: &mut [Arc<Artifact>]) {
        let owns = |a: &Artifact| {
            let owner = self.owners.get(&(a.kind, a.name.clone()));
            owner.is_some_and(|path| path == a.place.source.path())
        };
        let mut first: HashMap<(ArtifactKind, String), usize> = HashMap::new();
        for at in 0..artifacts.len() {
            let here = &artifacts[at];
            match first.entry((here.kind, here.name.clone())) {
                Entry::Vacant(place) => {
                    place.insert(at);
                }
                Entry::Occupied(place) => {
                    let before = *place.get();
                    if owns(here) && !owns(&artifacts[before]) {
                        artifacts.swap(before, at);
                    }
                }
            }
        }
    }
}

fn take(loaded: &Loaded) -> Loaded {
    Loaded {
        hash: loaded.hash,
        content: FileContent {
            artifacts: loaded.content.artifacts.clone(),
            faulty: loaded.content.faulty.clone(),
            diagnostics: loaded.content.diagnostics.clone(),
        },
        kept: loaded.kept.clone(),
    }
}

/// The registry resources of a snapshot, by their names among the entries of a plan.
pub fn resources(snapshot: &Snapshot) -> LocalEntries {
    snapshot
        .files
        .iter()
        .filter(|(path, _)| is_resource(path))
        .filter_map(|(path, file)| Some((path.strip_prefix(REGISTRY).ok()?, file)))
        .flat_map(|(inside, file)| resource::entries(inside, &file.text))
        .collect()
}

/// Reads one file's text as artifacts, and what they take from elsewhere. It blocks.
pub fn read_file(
    file: &SourceFile,
    settings: &Settings,
    variables: &Arc<Variables>,
) -> FileContent {
    let mut content = parse_only(file, settings.deploy.unsupported_mediators, variables);
    super::fetch::complete(&mut content, settings);
    content
}

/// Reads one file's text as artifacts and nothing else.
pub fn parse_only(
    file: &SourceFile,
    unsupported: Unsupported,
    variables: &Arc<Variables>,
) -> FileContent {
    match std::str::from_utf8(&file.text) {
        Ok(text) => {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            parse_file(&Source::new(&file.path, text), unsupported, variables)
        }
        Err(e) => {
            // Shown with the bytes that are text, so that the place can be seen.
            let shown = String::from_utf8_lossy(&file.text).into_owned();
            let source = Source::new(&file.path, shown);
            let at = e.valid_up_to();
            FileContent {
                artifacts: Vec::new(),
                faulty: vec![Faulty {
                    file: file.path.clone(),
                    kind: None,
                    name: None,
                }],
                diagnostics: vec![
                    Diagnostic::error(
                        codes::UNREADABLE,
                        Place::new(&source, at..at + 1),
                        "the file is not UTF-8",
                    )
                    .help("save it as UTF-8"),
                ],
            }
        }
    }
}

/// The diagnostic of a file that could not be read.
pub fn file_problem(path: &Path, problem: &str) -> Diagnostic {
    let source = Source::new(path, "");
    Diagnostic::error(codes::UNREADABLE, Place::new(&source, 0..0), problem)
}

/// Whether an old artifact takes the place of a faulty one.
fn stands_in(old: &Artifact, faulty: &Faulty) -> bool {
    match (&faulty.name, faulty.kind) {
        (Some(name), Some(kind)) => old.name == *name && old.kind == kind,
        (Some(name), None) => old.name == *name,
        // The whole file, or an artifact whose name is gone.
        (None, Some(kind)) => old.kind == kind,
        (None, None) => true,
    }
}

/// The artifacts of the last good version that a new, broken version does not have.
fn keep(previous: &Loaded, content: &FileContent) -> Vec<Arc<Artifact>> {
    previous
        .content
        .artifacts
        .iter()
        .chain(&previous.kept)
        .filter(|old| {
            let replaced = content
                .artifacts
                .iter()
                .any(|new| new.kind == old.kind && new.name == old.name);
            !replaced && content.faulty.iter().any(|f| stands_in(old, f))
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{FaultyArtifact, Report};
    use std::path::PathBuf;

    #[test]
    fn a_report_tells_what_happened_to_which_files() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let mut report = Report {
            added: paths(&["new.xml"]),
            root: PathBuf::from("deployment"),
            changed: paths(&["a/old.xml", "a/broken.xml", "broken.xml"]),
            removed: paths(&["gone.xml"]),
            ..Report::default()
        };
        report.faulty.push(FaultyArtifact {
            file: "deployment/broken.xml".to_owned(),
            name: None,
            last_good_version: true,
        });
        assert_eq!(
            report.changes(),
            "deployed new.xml, redeployed a/old.xml, a/broken.xml, removed gone.xml, faulty: broken.xml"
        );
        let many = Report {
            added: paths(&["1", "2", "3", "4", "5", "6", "7"]),
            ..Report::default()
        };
        assert_eq!(many.changes(), "deployed 1, 2, 3, 4, 5 and 2 more");
        assert_eq!(Report::default().changes(), "nothing changed");
    }
}
