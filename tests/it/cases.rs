//! Runs every folder of `tests/cases` against a server in this process.
//!
//! `CASE=part-of-the-path cargo test --test it cases` runs only some of them.

use crate::support::run::{Progress, read, run};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::time::Instant;

/// Cases that run at the same time.
const THREADS: usize = 4;
/// Longest run of one case.
const WATCHDOG: Duration = Duration::from_secs(60);
/// A case whose own watchdog does not fire blocks its runtime; it is given up.
const GIVE_UP: Duration = Duration::from_secs(75);

struct Outcome {
    name: String,
    millis: u128,
    problem: Option<String>,
}

/// Every folder below with a `case.toml`.
pub(crate) fn folders(root: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(root) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if path.join("case.toml").is_file() {
                out.push(path);
            } else {
                folders(&path, out);
            }
        }
    }
}

/// Where the cases are.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

#[test]
fn cases() {
    let root = root();
    let mut all = Vec::new();
    folders(&root, &mut all);
    assert!(!all.is_empty(), "there are no cases in {}", root.display());
    let filter = std::env::var("CASE").unwrap_or_default();
    let name = |path: &Path| {
        path.strip_prefix(&root)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let queue: VecDeque<(String, PathBuf)> = all
        .into_iter()
        .map(|path| (name(&path), path))
        .filter(|(name, _)| name.contains(&filter))
        .collect();
    assert!(!queue.is_empty(), "no case has {filter:?} in its path");
    let queue = Mutex::new(queue);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some((name, folder)) = next else { return };
                    let outcome = one(name, folder);
                    outcomes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = String::new();
    for outcome in &outcomes {
        let word = if outcome.problem.is_some() {
            "FAIL"
        } else {
            "PASS"
        };
        text.push_str(&format!(
            "{word} {} ({} ms)\n",
            outcome.name, outcome.millis
        ));
    }
    let mut failed = 0;
    for outcome in &outcomes {
        if let Some(problem) = &outcome.problem {
            failed += 1;
            text.push_str(&format!(
                "\n===== {}\n{}\n",
                outcome.name,
                problem.trim_end()
            ));
        }
    }
    println!("{text}");
    assert!(failed == 0, "{failed} of {} cases failed", outcomes.len());
}

/// One case on a thread of its own, so that one that hangs does not hold up the others.
fn one(name: String, folder: PathBuf) -> Outcome {
    let started = Instant::now();
    let (result, arrived) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = result.send(in_runtime(&folder));
    });
    let problem = match arrived.recv_timeout(GIVE_UP) {
        Ok(outcome) => outcome.err(),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Some("the case hangs: its runtime is blocked and was given up".to_owned())
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Some("the case has panicked; its message stands above".to_owned())
        }
    };
    Outcome {
        name,
        millis: started.elapsed().as_millis(),
        problem,
    }
}

fn in_runtime(folder: &Path) -> Result<(), String> {
    in_runtime_with(folder, &[])
}

/// Runs a case with other texts replaced in its artifacts than the case itself says.
pub(crate) fn in_runtime_with(folder: &Path, replace: &[(&str, &str)]) -> Result<(), String> {
    let file = folder.join("case.toml");
    let text = std::fs::read_to_string(&file).map_err(|e| format!("case.toml: {e}"))?;
    let mut case = read(&text).map_err(|e| format!("case.toml: {e}"))?;
    if case.feature.is_some_and(|feature| !feature.is_there()) {
        return Ok(());
    }
    for (from, to) in replace {
        case.replace.insert((*from).to_owned(), (*to).to_owned());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let progress = Arc::new(Mutex::new(Progress::default()));
    let outcome = runtime.block_on(async {
        match tokio::time::timeout(WATCHDOG, run(&case, folder, &progress)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                Err(format!(
                    "still running after {} s, in {}; before that step:\n{}",
                    WATCHDOG.as_secs(),
                    progress.step,
                    progress.context
                ))
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// The runner fails where it should: a case that cannot fail proves nothing.
mod bad {
    use super::*;

    fn refused(text: &str) -> String {
        match read(text) {
            Ok(_) => panic!("accepted: {text}"),
            Err(problem) => problem,
        }
    }

    #[test]
    fn malformed_cases() {
        let step = "[[step]]\nrequest = { path = '/' }";
        for (text, part) in [
            ("[[step]]\nreload = true", "about"),
            ("about = ''\n[[step]]\nreload = true", "empty"),
            ("about = 'x'", "no [[step]]"),
            ("about = 'x'\nabuot = 'y'\n[[step]]\nreload = true", "abuot"),
            ("about = 'x'\n[[step]]\nnote = 'y'", "does nothing"),
            (
                "about = 'x'\n[[step]]\nstop = 'A'\nstart = 'B'",
                "one action",
            ),
            (
                "about = 'x'\n[[step]]\nstop = 'A'\nexpect = { status = 200 }",
                "need a request",
            ),
            (
                "about = 'x'\n[[step]]\nrequest = { path = '/', hedaers = {} }",
                "hedaers",
            ),
            ("about = 'x'\n[[step]]\nadvance = '3 weeks'", "not a time"),
            (
                &format!("about = 'x'\nbackends = ['A', 'A']\n{step}"),
                "two back-ends",
            ),
            (
                &format!("about = 'x'\n[[backend]]\nname = 'A'\nbdoy = 'x'\n{step}"),
                "bdoy",
            ),
            (
                &format!("about = 'x'\n[[backend]]\nname = 'A'\nstatus = 1\nscript = []\n{step}"),
                "not both",
            ),
        ] {
            let problem = refused(text);
            assert!(
                problem.contains(part),
                "{text}\nshould say {part:?} but says {problem:?}"
            );
        }
    }

    /// Runs a case without artifacts and gives the story of its failure.
    fn story(text: &str) -> String {
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(folder.path().join("case.toml"), text).expect("a written file");
        in_runtime(folder.path()).expect_err("the case should fail")
    }

    #[test]
    fn failing_cases_tell_the_whole_story() {
        let story = story(
            "about = 'x'\n[[step]]\nnote = 'nothing there'\nrequest = { path = '/none', body = 'hello' }\n\
             expect = { status = 200, body = 'x', headers = { X-Y = 'z' } }",
        );
        for part in [
            "step 1 (nothing there)",
            "POST /none",
            "hello",
            "HTTP/1.1 404",
            "header X-Y",
            "should be 200",
            "the body",
        ] {
            assert!(story.contains(part), "{part:?} is missing in\n{story}");
        }
    }

    #[test]
    fn wrong_traffic_logs_diagnostics_and_names() {
        for (step, part) in [
            (
                "traffic = { A = 0 }\nlog_none = true\nexpect_counts = { proxies = 1 }",
                "1 proxies",
            ),
            ("connections = { A = 1 }", "accepted 0"),
            ("traffic = { B = 1 }", "no back-end B"),
            ("request = { path = '/{{NOPE}}' }", "{{NOPE}} is not known"),
            ("expect_diagnostics = ['M0001']", "M0001"),
            ("expect_faulty = ['x.xml']", "x.xml"),
            ("received = [{ backend = 'A' }]", "received request 0"),
            ("join = 'x'", "no background request"),
            ("request = { path = '/' }\nbackground = 'x'", "not joined"),
        ] {
            let story = story(&format!("about = 'x'\nbackends = ['A']\n[[step]]\n{step}"));
            assert!(
                story.contains(part),
                "{step}: {part:?} is missing in\n{story}"
            );
        }
    }
}
