//! The verbs of steps that touch the deployment directory, look at reports or at log lines.

use super::check::matches;
use super::format::{Step, Write};
use super::run::{Run, until};
use myelin::deploy::Report;
use myelin::diag::{Diagnostic, codes, to_text};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

/// Between the parts of a file that is written in pieces: shorter than the debounce.
const PAUSE: Duration = Duration::from_millis(25);

impl Run {
    /// The current generation of the server.
    pub(super) fn generation(&self) -> u64 {
        self.server
            .as_ref()
            .map_or(0, |s| s.status.borrow().generation)
    }

    /// The log lines since they were last checked.
    pub(super) fn current_lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) async fn change_files(&mut self, step: &Step) -> Result<(), String> {
        if let Some(write) = &step.write {
            self.write(write)
                .await
                .map_err(|e| format!("{}: {e}", write.path.display()))?;
            self.touch(&write.path);
        }
        if let Some(path) = &step.remove {
            let full = self.deployment.join(path);
            let removed = if full.is_dir() {
                std::fs::remove_dir_all(&full)
            } else {
                std::fs::remove_file(&full)
            };
            removed.map_err(|e| format!("{}: {e}", path.display()))?;
            self.touch(path);
        }
        if let Some(rename) = &step.rename {
            std::fs::rename(
                self.deployment.join(&rename.from),
                self.deployment.join(&rename.to),
            )
            .map_err(|e| format!("{}: {e}", rename.from.display()))?;
            self.touch(&rename.from);
            self.touch(&rename.to);
        }
        Ok(())
    }

    fn touch(&mut self, path: &Path) {
        // What is not an artifact is never in a report; the generation is all there is to await.
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("xml"))
        {
            let generation = self.generation();
            self.touched.push((path.to_owned(), generation));
        }
    }

    async fn write(&self, write: &Write) -> Result<(), String> {
        let text = match (&write.text, &write.from) {
            (Some(text), None) => text.clone(),
            (None, Some(from)) => {
                let text = std::fs::read_to_string(self.folder.join(from))
                    .map_err(|e| format!("{}: {e}", from.display()))?;
                self.vars.fill(&text)?
            }
            _ => return Err("write needs either `text` or `from`".to_owned()),
        };
        let wrong = |e: std::io::Error| e.to_string();
        let path = self.deployment.join(&write.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(wrong)?;
        }
        if write.atomic {
            let mut other = path.clone().into_os_string();
            other.push(".part");
            std::fs::write(&other, text).map_err(wrong)?;
            return std::fs::rename(&other, &path).map_err(wrong);
        }
        let bytes = text.as_bytes();
        let size = bytes.len().div_ceil(write.pieces.max(1)).max(1);
        let mut file = std::fs::File::create(&path).map_err(wrong)?;
        for (index, part) in bytes.chunks(size).enumerate() {
            if index > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            std::io::Write::write_all(&mut file, part).map_err(wrong)?;
        }
        Ok(())
    }

    /// Waits until a generation is in place that was made after the files were touched, and whose
    /// report or that of one before names each of them.
    pub(super) async fn await_reload(&mut self, step: &Step) -> Result<(), String> {
        let base = if step.changes_files() {
            self.generations[1]
        } else {
            self.generations[0]
        };
        let touched = std::mem::take(&mut self.touched);
        let reports = self.reports.clone();
        let seen = |path: &PathBuf, after: u64| {
            let reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
            let named = |changed: &PathBuf| changed.ends_with(path) || path.ends_with(changed);
            let names = |report: &Report| {
                let files = [&report.added, &report.changed, &report.removed];
                // A file that cannot be read has not changed for the deployer.
                let unread = report
                    .diagnostics
                    .iter()
                    .filter(|d| d.code == codes::UNREADABLE)
                    .filter_map(|d| d.place.as_ref())
                    .any(|place| place.source.path().ends_with(path));
                files.into_iter().flatten().any(named) || unread
            };
            reports
                .iter()
                .any(|(generation, report)| *generation > after && names(report))
        };
        let done = until(|| {
            self.generation() > base && touched.iter().all(|(path, after)| seen(path, *after))
        })
        .await;
        if done {
            return Ok(());
        }
        let missing: Vec<String> = touched
            .iter()
            .filter(|(path, after)| !seen(path, *after))
            .map(|(path, _)| path.display().to_string())
            .collect();
        Err(format!(
            "the server did not load again: its generation is {}, it should be above {base}; not seen: {}",
            self.generation(),
            missing.join(", ")
        ))
    }

    /// `error[M0102] file.xml:3:5 message` with the path relative to the deployment directory.
    fn diagnostic(&self, diagnostic: &Diagnostic) -> String {
        let place = diagnostic
            .place
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        let help = diagnostic
            .help
            .as_ref()
            .map_or_else(String::new, |h| format!(" (help: {h})"));
        // The help may name a place as well.
        self.relative(&format!(
            "{} {place} {}{help}",
            diagnostic.code, diagnostic.message
        ))
    }

    fn relative(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.deployment.display()), "")
    }

    /// The diagnostics of the last report as the server prints them.
    pub(super) fn diagnostics_text(&self) -> String {
        let Some(server) = &self.server else {
            return String::new();
        };
        let report = server.status.borrow().report.clone();
        let text: String = report.diagnostics.iter().map(to_text).collect();
        self.relative(&text)
    }

    pub(super) fn check_reports(&self, step: &Step, findings: &mut Vec<String>) {
        let Some(server) = &self.server else { return };
        let report = server.status.borrow().report.clone();
        if let Some(expected) = &step.expect_diagnostics {
            let actual: Vec<String> = report
                .diagnostics
                .iter()
                .map(|d| self.diagnostic(d))
                .collect();
            compare("diagnostics", expected, &actual, findings);
        }
        if let Some(expected) = &step.expect_faulty {
            let actual: Vec<String> = report
                .faulty
                .iter()
                .map(|f| {
                    let name = f
                        .name
                        .as_deref()
                        .map_or_else(String::new, |n| format!(" {n}"));
                    let kept = if f.last_good_version {
                        " (last good version kept)"
                    } else {
                        ""
                    };
                    format!("{}{name}{kept}", self.relative(&f.file))
                })
                .collect();
            compare("faulty artifacts", expected, &actual, findings);
        }
        if let Some(expected) = &step.expect_counts {
            let actual = serde_json::to_value(report.counts).unwrap_or_default();
            for (name, count) in expected {
                if actual[name.as_str()] != serde_json::json!(count) {
                    findings.push(format!(
                        "there should be {count} {name}; deployed is {actual}"
                    ));
                }
            }
        }
    }

    pub(super) async fn check_log(&self, step: &Step, findings: &mut Vec<String>) {
        // The answer may overtake the last line, so lines that are missing are waited for.
        if let Some(expected) = &step.log {
            until(|| self.current_lines().len() >= expected.len()).await;
            let actual = self.current_lines();
            let same = actual.len() == expected.len()
                && expected
                    .iter()
                    .zip(&actual)
                    .all(|(e, a)| matches(e, a) == Ok(true));
            if !same {
                findings.push(format!(
                    "the log lines should be\n    {expected:#?}\n  but are\n    {actual:#?}"
                ));
            }
        }
        for part in step.log_contains.iter().flatten() {
            if !until(|| {
                self.current_lines()
                    .iter()
                    .any(|l| l.contains(part.as_str()))
            })
            .await
            {
                findings.push(format!("a log line should contain {part:?}"));
            }
        }
        if step.log_none && !self.current_lines().is_empty() {
            findings.push("no line should have been logged".to_owned());
        }
        let checked = step.log.is_some() || step.log_contains.is_some() || step.log_none;
        if checked && findings.is_empty() {
            self.lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
    }
}

/// Each expected text is part of one actual text, and none is left over.
fn compare(what: &str, expected: &[String], actual: &[String], findings: &mut Vec<String>) {
    let mut left: Vec<&String> = actual.iter().collect();
    let mut missing = Vec::new();
    for text in expected {
        match left.iter().position(|a| a.contains(text.as_str())) {
            Some(at) => {
                left.remove(at);
            }
            None => missing.push(text),
        }
    }
    if !missing.is_empty() || !left.is_empty() {
        findings.push(format!(
            "{what}: missing {missing:#?}, not expected {left:#?}"
        ));
    }
}
