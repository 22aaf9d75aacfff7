//! What can be wrong with the file, with its place.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A larger file is something else.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Something in the file that is read over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsWarning {
    /// What sort of remark it is.
    pub kind: WarningKind,
    /// The key or section, dotted.
    pub key: String,
    /// The file as given to [`load`].
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// One sentence without a full stop.
    pub message: String,
}

impl fmt::Display for SettingsWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file.display(),
            self.line,
            self.column,
            self.message
        )
    }
}

/// What sort of remark a [`SettingsWarning`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WarningKind {
    /// A key or section that is not known here. MI may know it.
    Unknown,
    /// A key of MI that is known and needs nothing here.
    NoEffect,
    /// A second key for a setting that another key has already set.
    Duplicate,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Read {
        /// The file as given to [`load`].
        file: PathBuf,
        /// What the system said. It is in the text, so it is no source.
        error: io::Error,
    },
    /// The file is far larger than a configuration is.
    #[error("{}: larger than {MAX_FILE_BYTES} bytes", file.display())]
    TooLarge {
        /// The file as given to [`load`].
        file: PathBuf,
    },
    /// The file is not UTF-8 text.
    #[error("{}: not UTF-8 text", file.display())]
    NotText {
        /// The file as given to [`load`].
        file: PathBuf,
    },
    /// The file can be read but not used. Displays one line for each problem.
    #[error("{}", lines(problems))]
    Invalid {
        /// All problems, in the order of the file; at least one.
        problems: Vec<SettingsProblem>,
    },
}

/// One problem of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The dotted key, empty for syntax errors.
    pub key: String,
    /// The file as given to [`load`].
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// One sentence without a full stop.
    pub message: String,
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file.display(),
            self.line,
            self.column,
            self.message
        )
    }
}

fn lines(problems: &[SettingsProblem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
