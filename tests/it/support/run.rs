//! Runs one case from start to stop.

use super::backend::Backend;
use super::check;
use super::client::{Answer, send, send_all};
use super::format::{BackendSpec, Case, Request, Step};
use super::vars::Vars;
use super::wire::{header, show};
use myelin::clock::Clock;
use myelin::deploy::Report;
use myelin::server::{Options, Server};
use myelin::settings::{Environment, load_with, parse};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Longest wait for a condition that a step awaits.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a running exchange may hold up the stop of a server.
const DRAIN: Duration = Duration::from_secs(10);

type Answers = Result<Vec<Answer>, String>;

/// Reports of every generation seen.
pub(super) type Reports = Arc<Mutex<Vec<(u64, Arc<Report>)>>>;

/// A case that is running.
pub(crate) struct Run {
    pub(super) folder: PathBuf,
    pub(super) deployment: PathBuf,
    _temporary: tempfile::TempDir,
    backends: BTreeMap<String, Backend>,
    pub(super) server: Option<Server>,
    stopping: Option<JoinHandle<usize>>,
    clock: Clock,
    /// HTTP, HTTPS, internal, management.
    addresses: [Option<SocketAddr>; 4],
    pub(super) reports: Reports,
    pub(super) vars: Vars,
    pub(super) lines: Arc<Mutex<Vec<String>>>,
    background: HashMap<String, (JoinHandle<Answers>, Arc<Notify>)>,
    /// Files touched since the last reload, with the generation at that time.
    pub(super) touched: Vec<(PathBuf, u64)>,
    /// The generation at the start of this step and of the one before.
    pub(super) generations: [u64; 2],
    /// The last answers, for the report of a failure.
    last: Vec<Answer>,
}

/// Where a case failed, for people. The step is shared with the watchdog.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) step: String,
    pub(crate) context: String,
}

/// Reads a case file and everything in it that can be checked without running it.
pub(crate) fn read(text: &str) -> Result<Case, String> {
    let case: Case = toml::from_str(text).map_err(|e| e.to_string())?;
    if case.about.trim().is_empty() {
        return Err("`about` is empty".to_owned());
    }
    let mut names = case.backends.clone();
    for table in &case.backend {
        names.push(BackendSpec::read(table.clone(), "name")?.name);
    }
    names.sort();
    if let Some(pair) = names.windows(2).find(|p| p[0] == p[1]) {
        return Err(format!("two back-ends have the name {}", pair[0]));
    }
    if case.step.is_empty() {
        return Err("there is no [[step]]".to_owned());
    }
    for (index, table) in case.step.iter().enumerate() {
        Step::read(table.clone()).map_err(|e| format!("step {}: {e}", index + 1))?;
    }
    Ok(case)
}

/// Runs a case. The error is the whole story of the failure.
pub(crate) async fn run(
    case: &Case,
    folder: &Path,
    progress: &Mutex<Progress>,
) -> Result<(), String> {
    let mut run = Run::start(case, folder).await?;
    for (index, table) in case.step.iter().enumerate() {
        {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress.step = format!("step {} of {}", index + 1, case.step.len());
            progress.context = run.context();
        }
        run.generations = [run.generations[1], run.generation()];
        run.last.clear();
        if let Err(problem) = run.step(table).await {
            let note = table.get("note").and_then(toml::Value::as_str);
            let note = note.map_or_else(String::new, |n| format!(" ({n})"));
            return Err(format!(
                "step {}{note}: {problem}\n{}\n--- step as written\n{}",
                index + 1,
                run.context(),
                toml::to_string(table).unwrap_or_default().trim_end()
            ));
        }
    }
    let context = run.context();
    run.finish(case.cut)
        .await
        .map_err(|e| format!("at the end: {e}\n{context}"))
}

fn copy(
    from: &Path,
    to: &Path,
    fill: &dyn Fn(&str) -> Result<String, String>,
) -> Result<(), String> {
    let wrong = |e: std::io::Error| format!("{}: {e}", from.display());
    std::fs::create_dir_all(to).map_err(wrong)?;
    for entry in std::fs::read_dir(from).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target, fill)?;
            continue;
        }
        let bytes = std::fs::read(&path).map_err(wrong)?;
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => fill(&text)
                .map_err(|e| format!("{}: {e}", path.display()))?
                .into_bytes(),
            // Not text on purpose.
            Err(e) => e.into_bytes(),
        };
        std::fs::write(&target, bytes).map_err(wrong)?;
    }
    Ok(())
}

impl Run {
    async fn start(case: &Case, folder: &Path) -> Result<Run, String> {
        let mut vars = Vars::default();
        let mut backends = BTreeMap::new();
        let mut specs = Vec::new();
        let simple = case.backends.iter().map(|name| {
            let mut table = toml::Table::new();
            table.insert("name".to_owned(), toml::Value::String(name.clone()));
            table
        });
        for table in simple.chain(case.backend.iter().cloned()) {
            let spec = BackendSpec::read(table.clone(), "name")?;
            let backend = Backend::reserve(&spec.name, spec.tls)?;
            vars.set(&spec.name, backend.address.to_string());
            backends.insert(spec.name, backend);
            specs.push(table);
        }
        // Now that all ports are known, texts may use them.
        for table in specs {
            let toml::Value::Table(table) = vars.fill_value(&toml::Value::Table(table))? else {
                continue;
            };
            let spec = BackendSpec::read(table, "name")?;
            if let Some(backend) = backends.get_mut(&spec.name) {
                backend.behave(&spec, folder)?;
                if spec.up {
                    backend.start()?;
                }
            }
        }

        let temporary = tempfile::tempdir().map_err(|e| e.to_string())?;
        let deployment = temporary.path().join("deployment");
        let source = case
            .deployment
            .as_deref()
            .unwrap_or(Path::new("deployment"));
        let source = folder.join(source);
        std::fs::create_dir_all(&deployment).map_err(|e| e.to_string())?;
        if source.is_dir() {
            let fill = |text: &str| {
                let mut text = text.to_owned();
                for (from, to) in &case.replace {
                    if !text.contains(from.as_str()) {
                        continue;
                    }
                    text = text.replace(from.as_str(), to);
                }
                vars.fill(&text)
            };
            copy(&source, &deployment, &fill)?;
        } else if case.deployment.is_some() {
            return Err(format!("there is no folder {}", source.display()));
        }

        let text = vars.fill(&case.settings.toml)?;
        let environment = Environment::of_process();
        let read = match &case.settings.file_properties {
            None => parse(&folder.join("deployment.toml"), &text, &environment),
            Some(properties) => {
                let path = temporary.path().join("deployment.toml");
                let properties = vars.fill(properties)?;
                std::fs::write(&path, &text)
                    .and_then(|()| {
                        std::fs::write(path.with_file_name("file.properties"), properties)
                    })
                    .map_err(|e| e.to_string())?;
                load_with(Some(&path), &environment)
            }
        };
        let (mut settings, _) = read.map_err(|e| format!("settings: {e}"))?;
        settings.http.port = 0;
        settings.http.secured_port = 0;
        if settings.server.workers == 0 {
            settings.server.workers = 1;
        }
        if let Some(workers) = case.workers {
            settings.server.workers = workers;
        }
        if !text.contains("graceful_shutdown") {
            settings.server.shutdown_timeout = DRAIN;
        }
        let lines = Arc::new(Mutex::new(Vec::new()));
        let server = Server::start(Options {
            deployment: deployment.clone(),
            settings,
            management_port: 0,
            internal_port: 0,
            loopback: true,
            clock: Clock::default(),
            lines: Some(lines.clone()),
        })
        .await
        .map_err(|e| format!("the server does not start: {e}"))?;
        let addresses = [
            server.http,
            server.https,
            server.internal,
            server.management,
        ];
        let names = ["HTTP", "HTTPS", "INTERNAL", "MANAGEMENT"];
        for (name, address) in names.iter().zip(&addresses) {
            if let Some(address) = address {
                vars.set(*name, address.to_string());
            }
        }
        let reports = Reports::default();
        follow(&server, &reports);
        Ok(Run {
            folder: folder.to_owned(),
            deployment,
            _temporary: temporary,
            backends,
            clock: server.clock.clone(),
            addresses,
            server: Some(server),
            stopping: None,
            reports,
            vars,
            lines,
            background: HashMap::new(),
            touched: Vec::new(),
            generations: [1, 1],
            last: Vec::new(),
        })
    }

    async fn finish(mut self, cut_wanted: bool) -> Result<(), String> {
        if let Some(id) = self.background.keys().next() {
            return Err(format!("background request {id:?} was not joined"));
        }
        self.stop_server();
        let Some(stopping) = self.stopping.take() else {
            return Ok(());
        };
        let cut = stopping
            .await
            .map_err(|e| format!("the stop has panicked: {e}"))?;
        match (cut, cut_wanted) {
            (0, false) => Ok(()),
            (0, true) => {
                Err("running exchanges should have been cut, but all had ended".to_owned())
            }
            (_, true) => Ok(()),
            (cut, false) => Err(format!(
                "the server did not drain: {cut} exchanges were cut at its stop"
            )),
        }
    }

    fn stop_server(&mut self) {
        if let Some(server) = self.server.take() {
            self.stopping = Some(tokio::spawn(server.stop()));
        }
    }

    async fn step(&mut self, table: &toml::Table) -> Result<(), String> {
        let mut step = self.read_step(table, 0)?;
        self.act(&mut step, table).await?;
        self.wait(&step).await?;
        let mut findings = Vec::new();
        self.check_answers(&step, table, &mut findings)?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while step.eventually && !findings.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
            findings.clear();
            self.act(&mut step, table).await?;
            self.check_answers(&step, table, &mut findings)?;
        }
        self.check_reports(&step, &mut findings);
        for received in &step.received {
            let seen = self.backend(&received.backend)?.seen();
            findings.extend(check::received(received, &seen, &self.folder));
        }
        self.check_traffic(&step, &mut findings).await?;
        self.check_log(&step, &mut findings).await;
        if findings.is_empty() {
            Ok(())
        } else {
            Err(findings.join("\n  "))
        }
    }

    /// A step with its variables filled in; `{{i}}` is the number of the repetition.
    fn read_step(&self, table: &toml::Table, i: usize) -> Result<Step, String> {
        let mut vars = self.vars.clone();
        vars.set("i", i.to_string());
        match vars.fill_value(&toml::Value::Table(table.clone()))? {
            toml::Value::Table(table) => Step::read(table),
            _ => Err("a step is a table".to_owned()),
        }
    }

    fn backend(&self, name: &str) -> Result<&Backend, String> {
        self.backends
            .get(name)
            .ok_or_else(|| format!("there is no back-end {name}"))
    }

    fn backend_mut(&mut self, name: &str) -> Result<&mut Backend, String> {
        self.backends
            .get_mut(name)
            .ok_or_else(|| format!("there is no back-end {name}"))
    }

    async fn act(&mut self, step: &mut Step, table: &toml::Table) -> Result<(), String> {
        for (request, port) in [
            (&step.request, None),
            (&step.internal, Some(2)),
            (&step.management, Some(3)),
        ] {
            let Some(request) = request else { continue };
            let port = port.unwrap_or(usize::from(request.tls));
            let address = self.addresses[port].ok_or("this listener is switched off")?;
            let mut requests = Vec::new();
            for i in 0..request.repeat {
                let step = self.read_step(table, i)?;
                let request = step.request.or(step.internal).or(step.management);
                requests.extend(request);
            }
            let go_on = Arc::new(Notify::new());
            for request in &mut requests {
                request.go_on = go_on.clone();
                request.tls |= step.management.is_some();
            }
            let task = tokio::spawn(send_many(requests, address, self.folder.clone()));
            if let Some(id) = &step.background {
                if self.background.insert(id.clone(), (task, go_on)).is_some() {
                    return Err(format!("background request {id:?} is already running"));
                }
            } else {
                self.last = task
                    .await
                    .map_err(|e| format!("the client has panicked: {e}"))??;
            }
        }
        if let Some(id) = &step.join {
            let (task, go_on) = self
                .background
                .remove(id)
                .ok_or_else(|| format!("there is no background request {id:?}"))?;
            go_on.notify_one();
            self.last = task
                .await
                .map_err(|e| format!("the client has panicked: {e}"))??;
        }
        if let Some(name) = &step.stop {
            self.backend_mut(name)?.stop().await?;
        }
        if let Some(name) = &step.start {
            self.backend_mut(name)?.start()?;
        }
        if let Some(table) = &step.behave {
            let spec = BackendSpec::read(table.clone(), "backend")?;
            self.backend(&spec.name)?.behave(&spec, &self.folder)?;
        }
        if let Some(name) = &step.release {
            self.backend(name)?.release()?;
        }
        if let Some(by) = step.advance {
            self.clock.advance(by.0);
        }
        if step.shutdown {
            self.stop_server();
        }
        if step.changes_files() {
            self.change_files(step).await?;
        }
        Ok(())
    }

    async fn wait(&mut self, step: &Step) -> Result<(), String> {
        if step.reload {
            self.await_reload(step).await?;
        }
        if let Some(text) = &step.wait_log {
            let found = until(|| {
                self.current_lines()
                    .iter()
                    .any(|l| l.contains(text.as_str()))
            })
            .await;
            if !found {
                return Err(format!("no log line contains {text:?}"));
            }
        }
        for (name, count) in &step.wait_traffic {
            let backend = self.backend(name)?;
            if !until(|| backend.count() >= *count).await {
                return Err(format!(
                    "back-end {name} should have {count} requests but has {}",
                    backend.count()
                ));
            }
        }
        Ok(())
    }

    fn check_answers(
        &mut self,
        step: &Step,
        table: &toml::Table,
        findings: &mut Vec<String>,
    ) -> Result<(), String> {
        let many = self.last.len() > 1;
        for i in 0..self.last.len() {
            // Read again because the expectation may contain the number of the repetition.
            let Some(expect) = self
                .read_step(table, i)?
                .expect
                .or_else(|| (!self.last[i].gave_up).then(Default::default))
            else {
                continue;
            };
            let found = check::answer(&expect, &self.last[i], &self.folder);
            findings.extend(found.into_iter().map(|f| {
                if many {
                    format!("answer {}: {f}", i + 1)
                } else {
                    f
                }
            }));
        }
        if let Some(expect) = &step.expect {
            findings.extend(check::bodies(expect, &self.last));
        }
        for (name, source) in &step.save {
            if let Some(("received", rest)) = source.split_once(':') {
                let (backend, pattern) = rest
                    .split_once(':')
                    .ok_or("save: received:BACK-END:REGEX")?;
                let seen = self.backend(backend)?.seen();
                let value = seen.last().map(|s| last_group(pattern, &s.body));
                let value = value.transpose()?.flatten().ok_or_else(|| {
                    format!("save: the last request of {backend} does not match {pattern}")
                })?;
                self.vars.set(name, value);
                continue;
            }
            let Some(answer) = self.last.last() else {
                continue;
            };
            let value = match source.split_once(':') {
                Some(("header", wanted)) => header(&answer.headers, wanted).map(str::to_owned),
                Some(("body", pattern)) => last_group(pattern, &answer.body)?,
                None if source == "body" => {
                    Some(String::from_utf8_lossy(&answer.body).into_owned())
                }
                _ => {
                    return Err(format!(
                        "save: {source:?} is not header:NAME, body, body:REGEX or received:BACK-END:REGEX"
                    ));
                }
            };
            let value = value.ok_or_else(|| format!("save: the answer has no {source}"))?;
            self.vars.set(name, value);
        }
        Ok(())
    }

    async fn check_traffic(&self, step: &Step, findings: &mut Vec<String>) -> Result<(), String> {
        if let Some(expected) = &step.traffic {
            let mut pairs = Vec::new();
            for (name, count) in expected {
                pairs.push((self.backend(name)?, *count));
            }
            // What is too few may still be on its way.
            until(|| pairs.iter().all(|(b, count)| b.count() >= *count)).await;
            for (backend, count) in pairs {
                if backend.count() != count {
                    findings.push(format!(
                        "back-end {} should have received {count} requests but received {}",
                        backend.name,
                        backend.count()
                    ));
                }
            }
        }
        if let Some(expected) = &step.connections {
            for (name, count) in expected {
                let backend = self.backend(name)?;
                if backend.connections() != *count {
                    findings.push(format!(
                        "back-end {name} should have accepted {count} connections but accepted {}",
                        backend.connections()
                    ));
                }
            }
        }
        // Kept in the report of a failure, so they are forgotten only when all is well.
        if findings.is_empty() {
            for backend in self.backends.values() {
                if step.traffic.is_some() {
                    backend.forget_requests();
                }
                if step.connections.is_some() {
                    backend.forget_connections();
                }
            }
        }
        Ok(())
    }

    /// What stands around a failure: answers, traffic, log lines, diagnostics.
    fn context(&self) -> String {
        let mut out = String::new();
        for (index, answer) in self.last.iter().enumerate().take(4) {
            let _ = write!(
                out,
                "--- sent ({})\n{}\n--- answer ({})\n{}\n",
                index + 1,
                answer.sent.trim_end(),
                index + 1,
                answer.show()
            );
        }
        if self.last.len() > 4 {
            let _ = writeln!(out, "--- and {} more answers", self.last.len() - 4);
        }
        for backend in self.backends.values() {
            let seen = backend.seen();
            let _ = writeln!(
                out,
                "--- back-end {} ({}): {} requests, {} connections",
                backend.name,
                backend.address,
                seen.len(),
                backend.connections()
            );
            for request in seen.iter().take(6) {
                let _ = writeln!(out, "{} {}", request.method, request.path);
                for (name, value) in &request.headers {
                    let _ = writeln!(out, "{name}: {value}");
                }
                let incomplete = if request.complete {
                    ""
                } else {
                    " (incomplete)"
                };
                let _ = writeln!(out, "\n{}{incomplete}\n", show(&request.body));
            }
        }
        let _ = writeln!(out, "--- log lines\n{}", self.current_lines().join("\n"));
        let _ = write!(
            out,
            "--- diagnostics of generation {}\n{}",
            self.generation(),
            self.diagnostics_text()
        );
        out
    }
}

/// The last group of a pattern in a body.
fn last_group(pattern: &str, body: &[u8]) -> Result<Option<String>, String> {
    let regex = regex::Regex::new(pattern).map_err(|e| e.to_string())?;
    let body = String::from_utf8_lossy(body);
    let group = regex.captures(&body).and_then(|c| c.get(c.len() - 1));
    Ok(group.map(|m| m.as_str().to_owned()))
}

/// Collects the report of every generation.
fn follow(server: &Server, reports: &Reports) {
    let (mut status, reports) = (server.status.clone(), reports.clone());
    tokio::spawn(async move {
        loop {
            {
                let status = status.borrow_and_update();
                let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
                reports.push((status.generation, status.report.clone()));
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    });
}

async fn send_many(requests: Vec<Request>, address: SocketAddr, folder: PathBuf) -> Answers {
    let (parallel, keep_alive) = requests
        .first()
        .map_or((1, false), |r| (r.parallel.max(1), r.keep_alive));
    if keep_alive {
        return send_all(&requests, address, &folder).await;
    }
    let mut answers: Vec<Option<Answer>> = vec![None; requests.len()];
    let mut waiting = requests.into_iter().enumerate();
    let mut running = tokio::task::JoinSet::new();
    loop {
        while running.len() < parallel
            && let Some((index, request)) = waiting.next()
        {
            let folder = folder.clone();
            running.spawn(async move { (index, send(&request, address, &folder).await) });
        }
        match running.join_next().await {
            None => break,
            Some(Ok((index, answer))) => answers[index] = Some(answer?),
            Some(Err(e)) => return Err(format!("the client has panicked: {e}")),
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

/// Waits for a condition; false when it did not come true. Conditions are looked at, not signalled,
/// since they are about sockets and lists.
pub(crate) async fn until(condition: impl Fn() -> bool) -> bool {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        if tokio::time::Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    true
}
