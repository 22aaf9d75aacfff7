//! Regression guard: what fixed operations cost in user instructions, allocations, and receives and
//! sends, next to a committed baseline. No time is measured, so a busy machine changes nothing.
//!
//! `cargo run --profile guard -p myelin-guard` compares, with `UPDATE_BASELINE=1` it writes
//! `baseline.toml` anew. Each operation runs in a process of its own, once with a number of rounds
//! and once with three times as many: the difference is free of start and end. Instructions need
//! valgrind, receives and sends need strace; what is missing is skipped with a line that says so.
//! Exit code: 0, 1 when a figure is more than 3 % past its baseline, 2 when it could not run.

mod baseline;
mod child;
mod counting;
mod message;
mod peers;

use baseline::{Baseline, Environment, Figures, Verdict};
use bytes::Bytes;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Why the guard cannot go on.
pub type Fail = Box<dyn std::error::Error + Send + Sync>;

const SYNAPSE: &str = "http://ws.apache.org/ns/synapse";
/// Rounds of a process; a second one does three times as many.
const ROUNDS: u32 = 300;
/// Arguments of a payloadFactory.
const ARGUMENTS: usize = 20;
/// What is a receive or a send on a socket.
const SOCKET_CALLS: &str = "recvfrom,recvmsg,readv,sendto,sendmsg,writev";

/// How a process is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Nothing,
    Callgrind,
    Strace,
}

/// Requests to a gateway.
struct Flow {
    name: &'static str,
    path: &'static str,
    directory: PathBuf,
    body: Bytes,
    expected: Expected,
}

/// What comes back for a request.
#[derive(Clone, Copy)]
pub enum Expected {
    /// 200 with the body as it was sent.
    Same,
    /// 200 with a body that holds this.
    Holding(&'static str),
    /// 202.
    Accepted,
}

/// Ends its process when it goes.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It has ended already unless something failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => return guard(),
        ["gateway", directory] => child::gateway(Path::new(directory)),
        ["operation", name, count] => match count.parse() {
            Ok(count) => child::operation(name, count),
            Err(_) => Err("operation NAME COUNT".into()),
        },
        _ => Err("the guard takes no arguments".into()),
    };
    finish(done.map(|()| true))
}

fn finish(done: Result<bool, Fail>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("guard: {problem}");
            ExitCode::from(2)
        }
    }
}

fn guard() -> ExitCode {
    finish(compare())
}

fn compare() -> Result<bool, Fail> {
    let work = tempfile::tempdir()?;
    let flows = flows(work.path())?;
    let mut baseline = Baseline::load()?;
    let update = std::env::var_os("UPDATE_BASELINE").is_some();
    let environment = Environment::here();
    let same = environment == baseline.environment;
    let mut tools = vec![Tool::Nothing];
    for (tool, program, what) in [
        (Tool::Callgrind, "valgrind", "instructions"),
        (Tool::Strace, "strace", "receives and sends"),
    ] {
        let works = match tool {
            // It may be there and not allowed to trace.
            Tool::Strace => runs(program, &["-c", "-o", "/dev/null", "true"]),
            _ => runs(program, &["--version"]),
        };
        if works {
            tools.push(tool);
        } else {
            println!("skipped: {what} ({program} is missing or does not work)");
        }
    }
    if tools.contains(&Tool::Callgrind) && !same && !update {
        println!(
            "note: instructions are not enforced here, their baseline is from another environment:\n  here: \
             {environment:?}\n  baseline: {:?}",
            baseline.environment
        );
    }
    let mut good = true;
    let mut figures = Figures::new();
    println!("| operation | counted | now | baseline | |\n|---|---|---:|---:|---|");
    for job in flows
        .iter()
        .map(Job::Flow)
        .chain(child::OPERATIONS.iter().copied().map(Job::Operation))
    {
        let before = baseline.figures.get(job.name());
        let known = |what: &str| before.and_then(|b| b.get(what)).copied();
        for tool in &tools {
            if *tool == Tool::Strace && matches!(job, Job::Operation(_)) {
                continue;
            }
            let mut counts = job.measure(*tool, work.path())?;
            let worse = |counts: &[(&str, f64)]| {
                let mut each = counts.iter();
                each.any(|(what, now)| Verdict::of(*now, known(what)) == Verdict::Worse)
            };
            // Hash seeds differ from process to process: once more before it counts.
            if worse(&counts) {
                let again = job.measure(*tool, work.path())?;
                for (count, again) in counts.iter_mut().zip(again) {
                    count.1 = count.1.min(again.1);
                }
            }
            for (what, now) in counts {
                let verdict = Verdict::of(now, known(what));
                let enforced = what != "instructions" || same;
                let say = match verdict {
                    Verdict::Same => "",
                    Verdict::Worse if enforced && !update => {
                        good = false;
                        "**worse**"
                    }
                    Verdict::Worse => "worse",
                    Verdict::Better => "better: make the baseline anew",
                    Verdict::New => "not in the baseline",
                };
                let shown = known(what).map_or_else(|| "–".to_owned(), |v| format!("{v:.2}"));
                println!("| {} | {what} | {now:.2} | {shown} | {say} |", job.name());
                let place = figures.entry(job.name().to_owned()).or_default();
                place.insert(what.to_owned(), (now * 100.0).round() / 100.0);
            }
        }
    }
    if update {
        // What could not be counted here stays as it was.
        for (name, counts) in figures {
            baseline.figures.entry(name).or_default().extend(counts);
        }
        if tools.contains(&Tool::Callgrind) {
            baseline.environment = environment;
        }
        baseline.save()?;
        println!("the baseline was written");
    } else if !good {
        println!(
            "\nA figure is more than 3 % past its baseline. Take the cost out, or say in the commit why it is \
             worth it and run: UPDATE_BASELINE=1 cargo run --profile guard -p myelin-guard"
        );
    }
    Ok(good)
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// The deployments and what is sent to them.
fn flows(work: &Path) -> Result<Vec<Flow>, Fail> {
    let echo = peers::back_end(false)?;
    let address = |port: u16| {
        format!("<endpoint><address uri=\"http://127.0.0.1:{port}/services/Echo\"/></endpoint>")
    };
    let proxy = |folder: &str, body: &str| -> Result<PathBuf, Fail> {
        let directory = work.join(folder);
        std::fs::create_dir(&directory)?;
        let text =
            format!("<proxy name=\"P\" transports=\"http\" xmlns=\"{SYNAPSE}\">{body}</proxy>");
        std::fs::write(directory.join("P.xml"), text)?;
        Ok(directory)
    };
    let direct = proxy("direct", &format!("<target>{}</target>", address(echo)))?;
    let routed = |symbol: &str, then: &str, otherwise: &str| {
        format!(
            "<target><inSequence><filter xmlns:m=\"{}\" xpath=\"//m:symbol = '{symbol}'\"><then>{then}</then>\
             <else>{otherwise}</else></filter></inSequence><outSequence><send/></outSequence></target>",
            message::ORDERS
        )
    };
    let send = format!("<send>{}</send>", address(echo));
    let route = proxy("route", &routed("IBM", &send, "<drop/>"))?;
    let whole = proxy("whole", &routed("NONE", "<drop/>", &send))?;
    let made = |order: fn(usize) -> usize| {
        let all = 1..=ARGUMENTS;
        let fields: String = all
            .clone()
            .map(|n| format!("<m:f{n}>${n}</m:f{n}>"))
            .collect();
        let values = all.map(|n| {
            let n = order(n);
            format!(
                "<arg xmlns:m=\"{}\" expression=\"//m:order[{n}]/m:symbol\"/>",
                message::ORDERS
            )
        });
        format!(
            "<target><inSequence><payloadFactory media-type=\"xml\"><format><m:made xmlns:m=\"{}\">{fields}</m:made>\
             </format><args>{}</args></payloadFactory>{send}</inSequence><outSequence><send/></outSequence></target>",
            message::ORDERS,
            values.collect::<String>()
        )
    };
    let alike = proxy("alike", &made(|_| 1))?;
    let different = proxy("different", &made(|n| n))?;
    let sample = work.join("sample");
    std::fs::create_dir(&sample)?;
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deployment"));
    let ports = [(); 3].map(|()| peers::back_end(true));
    let mut moved = 0;
    for entry in std::fs::read_dir(source)? {
        let entry = entry?;
        let mut text = std::fs::read_to_string(entry.path())?;
        for (n, port) in ports.iter().enumerate() {
            let port = port.as_ref().map_err(ToString::to_string)?;
            let from = format!("localhost:{}", 9001 + n);
            moved += usize::from(text.contains(&from));
            text = text.replace(&from, &format!("127.0.0.1:{port}"));
        }
        std::fs::write(sample.join(entry.file_name()), text)?;
    }
    if moved != 3 {
        return Err("deployment/ is not the sample with three back-ends".into());
    }
    let flow = |name, directory, path, body: &Bytes, expected| Flow {
        name,
        path,
        directory,
        body: body.clone(),
        expected,
    };
    let plain = message::message(500, true, None);
    let with_id = message::message(500, true, Some("client-0001"));
    let larger = message::message(10_000, true, None);
    let larger_with_id = message::message(10_000, true, Some("client-0001"));
    let balanced = "/services/LoadBalanceProxy";
    let payload = Expected::Holding("<m:f1>IBM</m:f1>");
    Ok(vec![
        flow(
            "direct proxy, 500 B",
            direct,
            "/services/P",
            &plain,
            Expected::Same,
        ),
        flow(
            "route by body, 10 KB",
            route,
            "/services/P",
            &larger,
            Expected::Same,
        ),
        flow(
            "route by body, whole document, 10 KB",
            whole,
            "/services/P",
            &larger,
            Expected::Same,
        ),
        flow(
            "payloadFactory, 20 arguments alike, 10 KB",
            alike,
            "/services/P",
            &larger,
            payload,
        ),
        flow(
            "payloadFactory, 20 different arguments, 10 KB",
            different,
            "/services/P",
            &larger,
            payload,
        ),
        flow(
            "sample with ClientID, 500 B",
            sample.clone(),
            balanced,
            &with_id,
            Expected::Accepted,
        ),
        flow(
            "sample with ClientID, 10 KB",
            sample,
            balanced,
            &larger_with_id,
            Expected::Accepted,
        ),
    ])
}

enum Job<'a> {
    Flow(&'a Flow),
    Operation(&'static str),
}

impl Job<'_> {
    fn name(&self) -> &str {
        match self {
            Job::Flow(flow) => flow.name,
            Job::Operation(name) => name,
        }
    }

    /// What one round costs, by what was counted.
    fn measure(&self, tool: Tool, work: &Path) -> Result<Vec<(&'static str, f64)>, Fail> {
        let once = self.run(tool, work, ROUNDS)?;
        let more = self.run(tool, work, 3 * ROUNDS)?;
        let each = |(less, more): (&f64, &f64)| (more - less) / f64::from(2 * ROUNDS);
        let names: &[&str] = match tool {
            Tool::Nothing => &["allocations", "bytes allocated"],
            Tool::Callgrind => &["instructions"],
            Tool::Strace => &["receives and sends"],
        };
        let values = once.iter().zip(&more).map(each);
        Ok(names.iter().copied().zip(values).collect())
    }

    fn run(&self, tool: Tool, work: &Path, rounds: u32) -> Result<Vec<f64>, Fail> {
        let out = work.join("counted");
        let own = std::env::current_exe()?;
        let mut command = match tool {
            Tool::Nothing => Command::new(&own),
            Tool::Callgrind => {
                let mut command = Command::new("valgrind");
                command.arg("--tool=callgrind").arg("-q");
                let file = format!("--callgrind-out-file={}", out.display());
                command.arg(file).arg(&own);
                command
            }
            Tool::Strace => {
                let mut command = Command::new("strace");
                command.args(["-f", "-q", "-e", &format!("trace={SOCKET_CALLS}"), "-o"]);
                command.arg(&out).arg(&own);
                command
            }
        };
        match self {
            Job::Flow(flow) => command.arg("gateway").arg(&flow.directory),
            Job::Operation(name) => command.args(["operation", name, &rounds.to_string()]),
        };
        let mut child = Ends(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?,
        );
        let mut lines = BufReader::new(child.0.stdout.take().ok_or("no output")?);
        let told = self.work(&mut lines, rounds);
        drop(child.0.stdin.take());
        let mut rest = String::new();
        if told.is_ok() {
            lines.read_to_string(&mut rest)?;
        }
        let failed = match told {
            Ok(()) => (!child.0.wait()?.success()).then(|| "it ended with an error".into()),
            Err(problem) => Some(problem),
        };
        if let Some(problem) = failed {
            let _ = child.0.kill();
            let mut errors = String::new();
            if let Some(mut stream) = child.0.stderr.take() {
                stream.read_to_string(&mut errors)?;
            }
            return Err(format!("{}: {problem}\n{rest}{errors}", self.name()).into());
        }
        match tool {
            Tool::Nothing => {
                let line = rest.lines().find_map(|l| l.strip_prefix("ALLOCATED "));
                let numbers = line.ok_or("the process does not say what it allocated")?;
                Ok(numbers
                    .split(' ')
                    .map(str::parse)
                    .collect::<Result<_, _>>()?)
            }
            Tool::Callgrind => {
                let text = std::fs::read_to_string(&out)?;
                let line = text.lines().find_map(|l| l.strip_prefix("totals: "));
                Ok(vec![line.ok_or("callgrind wrote no totals")?.parse()?])
            }
            Tool::Strace => {
                // A call that another thread interrupts has two lines, of which one says "resumed".
                let text = std::fs::read_to_string(&out)?;
                let calls = text
                    .lines()
                    .filter(|l| l.contains('(') && !l.contains(" resumed>"));
                Ok(vec![calls.count() as f64])
            }
        }
    }

    /// Sends a gateway its requests; an operation works by itself.
    fn work(&self, lines: &mut impl BufRead, rounds: u32) -> Result<(), Fail> {
        let Job::Flow(flow) = self else {
            return Ok(());
        };
        let mut line = String::new();
        while !line.starts_with("LISTENS ") {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                return Err("the gateway did not start".into());
            }
        }
        let at: SocketAddr = line.trim_start_matches("LISTENS ").trim().parse()?;
        peers::drive(at, flow.path, &flow.body, flow.expected, rounds)
    }
}
