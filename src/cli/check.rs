//! `myelin check`: loads and links artifacts without running them.

use super::logging::{complain, print};
use crate::artifact::Artifact;
use crate::deploy::load::{file_problem, parse_only, read_file, resources};
use crate::deploy::scan::{ScanLimits, SourceFile, archive_problem, is_resource, scan};
use crate::diag::{Diagnostic, to_json, to_text};
use crate::endpoint::Stores;
use crate::expr::LocalEntries;
use crate::plan::link;
use crate::settings::{self, Variables};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Arguments of `myelin check`.
#[derive(clap::Args, Clone, Debug)]
pub struct CheckArgs {
    /// Files and directories with artifacts
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Settings file in the format of MI's deployment.toml, as for `run`: variables in artifacts are
    /// filled in from it and from the file.properties beside it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Read each file by itself: references between artifacts are not checked
    #[arg(long)]
    syntax_only: bool,
}

/// Output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object with the key "diagnostics"
    Json,
}

/// Checks; the exit code is 0 without errors, 1 with errors, 2 when a path cannot be read.
pub fn main(args: &CheckArgs) -> ExitCode {
    let (findings, unreadable) = match check(args) {
        Ok(findings) => (findings, false),
        Err((findings, message)) => {
            complain(&format!("myelin: {message}"));
            (findings, true)
        }
    };
    match args.format {
        Format::Json => print(&to_json(&findings)),
        Format::Text => {
            let mut text: String = findings.iter().map(to_text).collect();
            let errors = findings.iter().filter(|d| d.is_error()).count();
            let warnings = findings.len() - errors;
            let plural = |n: usize| if n == 1 { "" } else { "s" };
            if !unreadable {
                text.push_str(&format!(
                    "{errors} error{}, {warnings} warning{}\n",
                    plural(errors),
                    plural(warnings)
                ));
            }
            print(&text);
        }
    }
    if unreadable {
        ExitCode::from(2)
    } else if findings.iter().any(Diagnostic::is_error) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

fn check(args: &CheckArgs) -> Result<Vec<Diagnostic>, (Vec<Diagnostic>, String)> {
    let (settings, warnings) =
        settings::load(args.config.as_deref()).map_err(|e| (Vec::new(), e.to_string()))?;
    for warning in warnings {
        complain(&format!("myelin: {warning}"));
    }
    let limits = ScanLimits::from(&settings.deploy);
    let mut files: Vec<Arc<SourceFile>> = Vec::new();
    let mut findings = Vec::new();
    let mut entries = LocalEntries::new();
    for path in &args.paths {
        if path.is_dir() {
            let snapshot = scan(path, None, &limits)
                .map_err(|e| (Vec::new(), format!("cannot read {}: {e}", path.display())))?;
            for (path, problem) in &snapshot.problems {
                findings.push(file_problem(path, problem));
            }
            entries.extend(resources(&snapshot));
            let artifacts = snapshot.files.into_iter();
            files.extend(
                artifacts
                    .filter(|(path, _)| !is_resource(path))
                    .map(|(_, file)| file),
            );
        } else if let Some(problem) = archive_problem(path) {
            findings.push(file_problem(path, problem));
        } else {
            let text = std::fs::read(path)
                .map_err(|e| (Vec::new(), format!("cannot read {}: {e}", path.display())))?;
            let relative = path.clone();
            files.push(Arc::new(SourceFile::new(
                path.clone(),
                relative,
                text,
                std::time::SystemTime::UNIX_EPOCH,
            )));
        }
    }
    let variables = Arc::new(Variables::of(&settings));
    let mut artifacts: Vec<Arc<Artifact>> = Vec::new();
    for file in files {
        let content = match args.syntax_only {
            true => parse_only(&file, settings.deploy.unsupported_mediators, &variables),
            false => read_file(&file, &settings, &variables),
        };
        findings.extend(content.diagnostics);
        artifacts.extend(content.artifacts);
    }
    if !args.syntax_only {
        findings.extend(link(&artifacts, entries, &Stores::default(), &settings).diagnostics);
    }
    findings.sort_by_cached_key(|d| {
        d.place
            .as_ref()
            .map(|p| (p.source.path().to_owned(), p.span.start))
    });
    Ok(findings)
}
