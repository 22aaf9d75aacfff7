//! The committed figures, and how new ones compare with them.

use crate::Fail;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// How far a figure may go past its baseline.
const BAND: f64 = 0.03;

/// Figures by operation, then by what was counted.
pub type Figures = BTreeMap<String, BTreeMap<String, f64>>;

/// What instructions depend on besides the source.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Environment {
    rustc: String,
    target: String,
    libc: String,
    valgrind: String,
    avx2: bool,
}

/// The file `baseline.toml`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Baseline {
    /// Where the instructions were counted.
    pub environment: Environment,
    /// Per operation.
    pub figures: Figures,
}

/// What a figure is, next to its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the band.
    Same,
    /// Past the band: fails.
    Worse,
    /// Below the band: the baseline should be made anew, or it hides what comes next.
    Better,
    /// The baseline does not have it.
    New,
}

impl Verdict {
    /// Of a figure and its baseline.
    pub fn of(now: f64, before: Option<f64>) -> Verdict {
        match before {
            None => Verdict::New,
            Some(before) if now > before * (1.0 + BAND) => Verdict::Worse,
            Some(before) if now < before * (1.0 - BAND) => Verdict::Better,
            Some(_) => Verdict::Same,
        }
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        .unwrap_or_default()
}

impl Environment {
    /// Of this machine.
    pub fn here() -> Environment {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let about = output(&rustc, &["-vV"]);
        let target = about.lines().find_map(|l| l.strip_prefix("host: "));
        Environment {
            rustc: about.lines().next().unwrap_or_default().to_owned(),
            target: target.unwrap_or_default().to_owned(),
            libc: output("getconf", &["GNU_LIBC_VERSION"]),
            valgrind: output("valgrind", &["--version"]),
            avx2: avx2(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn avx2() -> bool {
    false
}

impl Baseline {
    fn path() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.toml"))
    }

    /// As it was committed; empty when there is none.
    pub fn load() -> Result<Baseline, Fail> {
        match std::fs::read_to_string(Baseline::path()) {
            Ok(text) => Ok(toml::from_str(&text)?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Baseline::default()),
            Err(e) => Err(e.into()),
        }
    }

    /// Replaces the file.
    pub fn save(&self) -> Result<(), Fail> {
        let text = format!(
            "# Made by the guard: `UPDATE_BASELINE=1 cargo run --profile guard -p myelin-guard`.\n{}",
            toml::to_string(self)?
        );
        Ok(std::fs::write(Baseline::path(), text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict;

    #[test]
    fn three_per_cent_are_allowed() {
        assert_eq!(Verdict::of(102.9, Some(100.0)), Verdict::Same);
        assert_eq!(Verdict::of(103.1, Some(100.0)), Verdict::Worse);
        assert_eq!(Verdict::of(97.1, Some(100.0)), Verdict::Same);
        assert_eq!(Verdict::of(96.9, Some(100.0)), Verdict::Better);
        assert_eq!(Verdict::of(0.0, Some(0.0)), Verdict::Same);
        assert_eq!(Verdict::of(1.0, Some(0.0)), Verdict::Worse);
        assert_eq!(Verdict::of(1.0, None), Verdict::New);
    }
}
