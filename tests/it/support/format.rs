//! `case.toml` as types. Every table refuses keys that it does not know.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A whole case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) about: String,
    /// Where the behaviour is described; for readers.
    #[serde(rename = "spec")]
    pub(crate) _spec: Option<String>,
    pub(crate) workers: Option<usize>,
    /// The feature of the build that it is about.
    pub(crate) feature: Option<Feature>,
    /// The exchanges that are still running at the end are meant to be cut.
    #[serde(default)]
    pub(crate) cut: bool,
    /// Folder to deploy instead of `deployment`, relative to the case.
    pub(crate) deployment: Option<PathBuf>,
    /// Texts to replace in the artifacts before `{{NAME}}` is.
    #[serde(default)]
    pub(crate) replace: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) settings: SettingsPart,
    /// Names of back-ends that need nothing else said.
    #[serde(default)]
    pub(crate) backends: Vec<String>,
    #[serde(default, rename = "backend")]
    pub(crate) backend: Vec<toml::Table>,
    /// Kept as values: each is filled with variables when its turn comes.
    #[serde(default)]
    pub(crate) step: Vec<toml::Table>,
}

/// Features that a build may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Feature {
    /// XML Schema.
    Xsd,
}

impl Feature {
    /// Whether this build has it.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Feature::Xsd => cfg!(feature = "xsd"),
        }
    }
}

/// `[settings]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsPart {
    /// A `deployment.toml`.
    #[serde(default)]
    pub(crate) toml: String,
    /// The `file.properties` beside it.
    pub(crate) file_properties: Option<String>,
}

/// `[[backend]]`, and `behave`.
#[derive(Debug, Clone)]
pub(crate) struct BackendSpec {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) tls: bool,
    /// One reply per request; the last one repeats.
    pub(crate) replies: Vec<Reply>,
}

impl BackendSpec {
    /// Reads a table; `name_key` is `name` or `backend`.
    pub(crate) fn read(mut table: toml::Table, name_key: &str) -> Result<BackendSpec, String> {
        let name = match table.remove(name_key) {
            Some(toml::Value::String(name)) => name,
            _ => return Err(format!("a back-end needs `{name_key}`, a text")),
        };
        let mut flag = |key: &str, default: bool| match table.remove(key) {
            None => Ok(default),
            Some(toml::Value::Boolean(value)) => Ok(value),
            Some(other) => Err(format!(
                "back-end {name}: `{key}` is true or false, not {other}"
            )),
        };
        let up = flag("up", true)?;
        let tls = flag("tls", false)?;
        let script = table.remove("script");
        let wrong = |e: toml::de::Error| format!("back-end {name}: {}", e.message());
        let replies = match script {
            Some(script) if table.is_empty() => script.try_into().map_err(wrong)?,
            Some(_) => {
                return Err(format!(
                    "back-end {name}: give a script or one reply, not both"
                ));
            }
            None => vec![
                toml::Value::Table(table)
                    .try_into::<Reply>()
                    .map_err(wrong)?,
            ],
        };
        if replies.is_empty() {
            return Err(format!("back-end {name}: the script is empty"));
        }
        Ok(BackendSpec {
            name,
            up,
            tls,
            replies,
        })
    }
}

/// What a back-end does with one request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Values>,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) body_file: Option<PathBuf>,
    /// A body of this many bytes.
    pub(crate) body_fill: Option<usize>,
    pub(crate) delay: Option<Time>,
    /// Answers only when a step releases it.
    #[serde(default)]
    pub(crate) wait: bool,
    #[serde(default)]
    pub(crate) echo: bool,
    /// Send the body in chunks, without a length.
    #[serde(default)]
    pub(crate) chunked: bool,
    #[serde(default)]
    pub(crate) mode: Mode,
}

/// How a back-end answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// As it should.
    #[default]
    Good,
    /// Reads the request and closes.
    Close,
    /// Reads the request and resets the connection.
    Reset,
    /// Sends what is not HTTP, and closes.
    Garbage,
    /// Never answers.
    Silent,
    /// Sends the head and half of the body, and closes.
    Half,
    /// Sends the body in many small pieces with pauses.
    Drip,
}

/// `"x"` or `["x", "y"]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Values {
    One(String),
    Many(Vec<String>),
}

impl Values {
    /// All of them.
    pub(crate) fn all(&self) -> &[String] {
        match self {
            Values::One(value) => std::slice::from_ref(value),
            Values::Many(values) => values,
        }
    }
}

/// `200ms`, `1.5s`, `2m`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Time(pub(crate) Duration);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Time, String> {
        let split = text
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => 0.0,
        };
        match number.trim().parse::<f64>() {
            Ok(number) if factor > 0.0 && number >= 0.0 => {
                Ok(Time(Duration::from_secs_f64(number * factor)))
            }
            _ => Err(format!(
                "{text:?} is not a time; write 200ms, 1.5s, 2m or 1h"
            )),
        }
    }
}

/// `[[step]]`: at most one action and any number of checks.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// What the step is about; shown when it fails.
    #[serde(rename = "note")]
    pub(crate) _note: Option<String>,

    // Actions.
    pub(crate) request: Option<Request>,
    pub(crate) internal: Option<Request>,
    pub(crate) management: Option<Request>,
    /// Does not wait for the answer; `join` does.
    pub(crate) background: Option<String>,
    pub(crate) join: Option<String>,
    pub(crate) stop: Option<String>,
    pub(crate) start: Option<String>,
    pub(crate) behave: Option<toml::Table>,
    /// The back-end gives the answers that wait.
    pub(crate) release: Option<String>,
    pub(crate) advance: Option<Time>,
    pub(crate) write: Option<Write>,
    pub(crate) remove: Option<PathBuf>,
    pub(crate) rename: Option<Rename>,
    /// The server is asked to stop; later steps see it drain.
    #[serde(default)]
    pub(crate) shutdown: bool,

    // What is awaited after the action.
    #[serde(default)]
    pub(crate) reload: bool,
    pub(crate) wait_log: Option<String>,
    #[serde(default)]
    pub(crate) wait_traffic: BTreeMap<String, usize>,

    /// The request is sent again until its answer is as expected.
    #[serde(default)]
    pub(crate) eventually: bool,

    // Checks.
    pub(crate) expect: Option<Expect>,
    #[serde(default)]
    pub(crate) save: BTreeMap<String, String>,
    pub(crate) expect_diagnostics: Option<Vec<String>>,
    pub(crate) expect_faulty: Option<Vec<String>>,
    pub(crate) expect_counts: Option<BTreeMap<String, usize>>,
    #[serde(default)]
    pub(crate) received: Vec<Received>,
    pub(crate) traffic: Option<BTreeMap<String, usize>>,
    pub(crate) connections: Option<BTreeMap<String, usize>>,
    pub(crate) log: Option<Vec<String>>,
    pub(crate) log_contains: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) log_none: bool,
}

impl Step {
    /// Reads a table and refuses combinations that mean nothing.
    pub(crate) fn read(table: toml::Table) -> Result<Step, String> {
        if table.keys().all(|key| key == "note") {
            return Err("the step does nothing".to_owned());
        }
        let step: Step = toml::Value::Table(table)
            .try_into()
            .map_err(|e: toml::de::Error| e.message().to_owned())?;
        let actions = [
            ("request", step.request.is_some()),
            ("internal", step.internal.is_some()),
            ("management", step.management.is_some()),
            ("join", step.join.is_some()),
            ("stop", step.stop.is_some()),
            ("start", step.start.is_some()),
            ("behave", step.behave.is_some()),
            ("release", step.release.is_some()),
            ("advance", step.advance.is_some()),
            ("write", step.write.is_some()),
            ("remove", step.remove.is_some()),
            ("rename", step.rename.is_some()),
            ("shutdown", step.shutdown),
        ];
        let taken: Vec<&str> = actions.iter().filter(|a| a.1).map(|a| a.0).collect();
        if taken.len() > 1 {
            return Err(format!(
                "one step has one action, not {}",
                taken.join(" and ")
            ));
        }
        let answers = matches!(
            taken.first(),
            Some(&("request" | "internal" | "management" | "join"))
        );
        let saves_answer = !step.save.values().all(|from| from.starts_with("received:"));
        if !answers && (step.expect.is_some() || saves_answer) {
            return Err(
                "`expect` and `save` need a request, internal, management or join".to_owned(),
            );
        }
        let repeatable = step.background.is_none() && step.join.is_none() && step.expect.is_some();
        if step.eventually && !repeatable {
            return Err("`eventually` needs a request and its `expect` in one step".to_owned());
        }
        if step.background.is_some() && step.request.is_none() {
            return Err("`background` needs a request".to_owned());
        }
        let held = step.request.as_ref().is_some_and(|r| r.hold.is_some());
        if held && step.background.is_none() {
            return Err("`hold` needs `background`: the rest is sent when it is joined".to_owned());
        }
        if step.background.is_some() && (step.expect.is_some() || !step.save.is_empty()) {
            return Err("what a background request expects is said where it is joined".to_owned());
        }
        Ok(step)
    }

    /// Whether the step does anything to the server, as opposed to looking.
    pub(crate) fn changes_files(&self) -> bool {
        self.write.is_some() || self.remove.is_some() || self.rename.is_some()
    }
}

/// A request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) method: Option<String>,
    #[serde(default)]
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Values>,
    pub(crate) body: Option<String>,
    pub(crate) body_file: Option<PathBuf>,
    pub(crate) body_fill: Option<usize>,
    pub(crate) content_type: Option<String>,
    #[serde(default)]
    pub(crate) chunked: bool,
    /// Bytes to send as they are, instead of everything above.
    pub(crate) raw: Option<String>,
    /// After `raw`, the sending side is closed.
    #[serde(default = "yes")]
    pub(crate) half_close: bool,
    #[serde(default = "one")]
    pub(crate) repeat: usize,
    #[serde(default = "one")]
    pub(crate) parallel: usize,
    /// Repetitions use one connection.
    #[serde(default)]
    pub(crate) keep_alive: bool,
    #[serde(default)]
    pub(crate) tls: bool,
    #[serde(default)]
    pub(crate) http10: bool,
    /// The client gives up after this time and closes its connection.
    pub(crate) give_up: Option<Time>,
    /// So many bytes of the body go out at first, the rest when the request is joined.
    pub(crate) hold: Option<usize>,
    /// Told to send the rest.
    #[serde(skip)]
    pub(crate) go_on: Arc<Notify>,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

/// What an answer has to look like.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Values>,
    #[serde(default)]
    pub(crate) headers_absent: Vec<String>,
    pub(crate) body: Option<String>,
    pub(crate) body_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) body_contains: Vec<String>,
    #[serde(default)]
    pub(crate) body_lacks: Vec<String>,
    pub(crate) body_length: Option<usize>,
    pub(crate) xml: Option<String>,
    pub(crate) json: Option<String>,
    /// Bodies of repetitions, in their order.
    pub(crate) bodies: Option<Vec<String>>,
    pub(crate) bodies_any_order: Option<Vec<String>>,
    /// The connection is closed without an answer.
    #[serde(default)]
    pub(crate) closed: bool,
    /// The body ends before it is complete.
    #[serde(default)]
    pub(crate) truncated: bool,
    /// Texts in the bytes that came, head included.
    #[serde(default)]
    pub(crate) raw_contains: Vec<String>,
    pub(crate) within: Option<Time>,
    pub(crate) at_least: Option<Time>,
}

/// What a back-end has to have received.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Received {
    pub(crate) backend: String,
    /// Which request since the last `traffic`; negative numbers count from the end.
    #[serde(default)]
    pub(crate) index: isize,
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Values>,
    #[serde(default)]
    pub(crate) headers_absent: Vec<String>,
    pub(crate) body: Option<String>,
    pub(crate) body_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) body_contains: Vec<String>,
    #[serde(default)]
    pub(crate) body_lacks: Vec<String>,
    pub(crate) body_length: Option<usize>,
    pub(crate) xml: Option<String>,
    pub(crate) json: Option<String>,
}

/// A file to write into the deployment directory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Write {
    pub(crate) path: PathBuf,
    pub(crate) text: Option<String>,
    /// A file of the case folder.
    pub(crate) from: Option<PathBuf>,
    /// Under another name first, then renamed.
    #[serde(default)]
    pub(crate) atomic: bool,
    /// In so many parts, with pauses between.
    #[serde(default = "one")]
    pub(crate) pieces: usize,
}

/// A file to rename in the deployment directory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rename {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}
