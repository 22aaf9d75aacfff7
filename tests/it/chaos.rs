//! Back-ends that die, hang, reset, answer garbage, trickle and come back at random, under load.
//!
//! `MYELIN_CHAOS_SECONDS` makes it longer, `MYELIN_CHAOS_SEED` other.

use crate::support::run::until;
use crate::support::wire::{Framing, Wire, header};
use myelin::clock::Clock;
use myelin::server::{Options, Server};
use myelin::settings::{Environment, parse};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

const NAMES: [&str; 6] = ["A", "B", "C", "D", "E", "F"];
/// The last child of a failover group, which has no trouble.
const REFUGE: &str = "G";
const CLIENTS: u64 = 12;
/// Longest wait of an endpoint for an answer.
const TIMEOUT: Duration = Duration::from_millis(800);
/// How long an endpoint stays suspended.
const SUSPENSION: Duration = Duration::from_millis(300);
/// The same in that group: longer than all of its children can hold up one request, so that
/// none of them is tried twice before the last one is.
const LONG_SUSPENSION: Duration = Duration::from_secs(8);
/// From the end of a back-end's trouble until its endpoint is certainly in use again: the last
/// request that hung there times out, and the suspension ends.
const RECOVERY: Duration = Duration::from_millis(1700);
/// A silence of this process after which nobody can say who was late.
const STALL: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(40);
const SESSION: Duration = Duration::from_secs(2);

/// What a back-end does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Mood {
    Good,
    Hangs,
    Resets,
    Closes,
    Garbage,
    /// A good answer, in small pieces.
    Trickles,
    /// Half of a good answer, then the end of the connection.
    Halves,
    /// Nobody listens.
    Dead,
}

const TROUBLE: [Mood; 7] = [
    Mood::Hangs,
    Mood::Resets,
    Mood::Closes,
    Mood::Garbage,
    Mood::Trickles,
    Mood::Halves,
    Mood::Dead,
];

impl Mood {
    fn of(number: u8) -> Mood {
        let found = TROUBLE.into_iter().find(|m| *m as u8 == number);
        found.unwrap_or(Mood::Good)
    }
}

struct Backend {
    name: &'static str,
    address: SocketAddr,
    /// Bound and never listening: connections to a dead back-end are refused.
    _guard: Socket,
    mood: Arc<AtomicU8>,
    running: Mutex<Option<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn socket(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.set_reuse_port(true).expect("a shared port");
    socket.set_reuse_address(true).expect("a shared port");
    socket.bind(&SockAddr::from(address)).expect("a bound port");
    socket
}

impl Backend {
    fn new(name: &'static str) -> Backend {
        let guard = socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = guard.local_addr().ok().and_then(|a| a.as_socket());
        let backend = Backend {
            name,
            address: address.expect("an address"),
            _guard: guard,
            mood: Arc::default(),
            running: Mutex::default(),
        };
        backend.listen();
        backend
    }

    fn listen(&self) {
        let socket = socket(self.address);
        socket.listen(1024).expect("a listener");
        socket.set_nonblocking(true).expect("a listener");
        let listener = TcpListener::from_std(socket.into()).expect("a listener");
        let (name, mood) = (self.name, self.mood.clone());
        *lock(&self.running) = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        let _ = stream.set_nodelay(true);
                        connections.spawn(serve(stream, name, mood.clone()));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        }));
    }

    async fn become_of(&self, mood: Mood) {
        let before = Mood::of(self.mood.swap(mood as u8, Ordering::AcqRel));
        if mood == Mood::Dead {
            let task = lock(&self.running).take();
            if let Some(task) = task {
                // Ends the listener and every connection.
                task.abort();
                let _ = task.await;
            }
        } else if before == Mood::Dead {
            self.listen();
        }
    }
}

/// One connection. A whole answer goes out in one write.
async fn serve(stream: TcpStream, name: &'static str, mood: Arc<AtomicU8>) {
    let mut wire = Wire::new(stream);
    while let Some(head) = wire.head().await {
        let (body, complete) = wire.body(head.framing(Framing::Length(0))).await;
        wire.next();
        if !complete {
            return;
        }
        let mood = Mood::of(mood.load(Ordering::Acquire));
        let content_type = header(&head.headers, "content-type").unwrap_or("text/xml");
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nX-Backend: {name}\r\nX-Mood: {mood:?}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        let head = answer.len();
        answer.extend(&body);
        match mood {
            Mood::Good => {
                if wire.stream().write_all(&answer).await.is_err() {
                    return;
                }
            }
            Mood::Hangs => {
                wire.read_to_end().await;
                return;
            }
            Mood::Resets => {
                let _ = socket2::SockRef::from(&*wire.stream()).set_linger(Some(Duration::ZERO));
                return;
            }
            Mood::Closes | Mood::Dead => return,
            Mood::Garbage => {
                let _ = wire.stream().write_all(b"\x16\x03not HTTP\r\n\r\n").await;
                return;
            }
            Mood::Trickles => {
                for piece in answer.chunks(answer.len().div_ceil(12)) {
                    if wire.stream().write_all(piece).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(4)).await;
                }
            }
            Mood::Halves => {
                let half = head + body.len() / 2;
                let _ = wire.stream().write_all(&answer[..half]).await;
                return;
            }
        }
    }
}

fn child(backend: &Backend, suspension: Duration) -> String {
    let (name, address) = (backend.name, backend.address);
    let (timeout, suspension) = (TIMEOUT.as_millis(), suspension.as_millis());
    format!(
        "<endpoint name=\"{name}\"><address uri=\"http://{address}/\"><timeout><duration>{timeout}</duration><responseAction>fault</responseAction></timeout><suspendOnFailure><initialDuration>{suspension}</initialDuration><progressionFactor>1.0</progressionFactor></suspendOnFailure></address></endpoint>"
    )
}

fn deployment(backends: &[Backend], refuge: &Backend) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let children: String = backends.iter().map(|b| child(b, SUSPENSION)).collect();
    let ordered = backends.iter().chain([refuge]);
    let ordered: String = ordered.map(|b| child(b, LONG_SUSPENSION)).collect();
    let session = SESSION.as_millis();
    let policy: String = [
        ("lb_policy", "LEAST_REQUEST"),
        ("outlier_detection.consecutive_5xx", "3"),
        ("outlier_detection.base_ejection_time", "200ms"),
        ("outlier_detection.max_ejection_time", "300ms"),
        ("outlier_detection.max_ejection_percent", "80"),
        ("retry_back_off.base_interval", "2ms"),
        ("slow_start.slow_start_window", "500ms"),
    ]
    .map(|(name, value)| format!("<property name=\"myelin.{name}\" value=\"{value}\"/>"))
    .concat();
    for (name, group) in [
        ("Plain", format!("<loadbalance>{children}</loadbalance>")),
        (
            "Careful",
            format!("<loadbalance>{children}</loadbalance>{policy}"),
        ),
        ("Order", format!("<failover>{children}</failover>")),
        ("Last", format!("<failover>{ordered}</failover>")),
        (
            "Sticky",
            format!(
                "<session type=\"simpleClientSession\"><sessionTimeout>{session}</sessionTimeout></session><loadbalance>{children}</loadbalance>"
            ),
        ),
    ] {
        let text = format!(
            "<proxy name=\"{name}\" xmlns=\"http://ws.apache.org/ns/synapse\"><target><endpoint name=\"{name}Group\">{group}</endpoint></target></proxy>"
        );
        std::fs::write(folder.path().join(format!("{name}.xml")), text).expect("a written file");
    }
    folder
}

async fn start(deployment: &Path) -> Server {
    let toml = "[myelin]\nidle_connection_timeout = 300\nmax_attempts_per_request = 40\n";
    let (mut settings, _) = parse(
        Path::new("deployment.toml"),
        toml,
        &Environment::of_process(),
    )
    .expect("settings");
    settings.http.port = 0;
    settings.http.secured_port = 0;
    settings.server.workers = 2;
    settings.server.shutdown_timeout = Duration::from_secs(10);
    Server::start(Options {
        deployment: deployment.to_owned(),
        settings,
        management_port: 0,
        internal_port: 0,
        loopback: true,
        clock: Clock::default(),
        lines: Some(Arc::default()),
    })
    .await
    .expect("a server")
}

/// What clients and chaos know of each other.
#[derive(Default)]
struct World {
    /// Since when a back-end is good, by number.
    good_since: Mutex<[Option<Instant>; NAMES.len()]>,
    /// The last time that this process stood still.
    stalled: Mutex<Option<Instant>>,
    wrong: Mutex<Vec<String>>,
    over: AtomicBool,
    /// Answered, answered well, and those that had to be answered well.
    counts: [AtomicU64; 3],
}

impl World {
    /// A back-end that has been good for long enough before this moment.
    fn reliable(&self, at: Instant) -> Option<(usize, Instant)> {
        let good = lock(&self.good_since);
        let since = |n: usize| good[n].filter(|since| *since + RECOVERY <= at);
        (0..NAMES.len()).find_map(|n| Some((n, since(n)?)))
    }

    /// Whether it stayed good from then until now, and this process never stood still.
    fn held(&self, (number, since): (usize, Instant)) -> bool {
        !self.stalled_since(since + STALL) && lock(&self.good_since)[number] == Some(since)
    }

    fn stalled_since(&self, at: Instant) -> bool {
        lock(&self.stalled).is_some_and(|stalled| stalled >= at)
    }

    fn count(&self, which: usize) {
        self.counts[which].fetch_add(1, Ordering::AcqRel);
    }

    fn complain(&self, text: String) {
        lock(&self.wrong).push(text);
    }
}

/// Notices when this process stands still: then a healthy back-end may well have been too late.
async fn watch_for_stalls(world: Arc<World>) {
    let step = Duration::from_millis(10);
    while !world.over.load(Ordering::Acquire) {
        let before = Instant::now();
        sleep(step).await;
        if before.elapsed() > step + STALL {
            *lock(&world.stalled) = Some(Instant::now());
        }
    }
}

/// Changes moods at random. Mostly one back-end is left in peace for a while, and the next one
/// before its time is over, so that somebody is good throughout most requests.
async fn chaos(
    backends: Arc<Vec<Backend>>,
    world: Arc<World>,
    mut random: fastrand::Rng,
    end: Instant,
) {
    let mut anchors = vec![(
        random.usize(..NAMES.len()),
        Instant::now() + Duration::from_secs(4),
    )];
    while Instant::now() < end {
        sleep(Duration::from_millis(random.u64(5..60))).await;
        let now = Instant::now();
        // The next one starts while the last one still has time for the requests on their way.
        let last = anchors.last().map_or(now, |(_, until)| *until);
        if last < now + Duration::from_millis(2500) {
            let next =
                (anchors.last().map_or(0, |a| a.0) + random.usize(1..NAMES.len())) % NAMES.len();
            // Now and then there is a hole, and nobody is good.
            let pause = if random.u8(..6) == 0 { 2500 } else { 0 };
            let from = now + Duration::from_millis(pause);
            anchors.push((next, from + Duration::from_millis(random.u64(4500..7000))));
            if pause == 0 {
                make(&backends, &world, next, Mood::Good).await;
            }
        }
        anchors.retain(|(_, until)| *until > now);
        let number = random.usize(..NAMES.len());
        if anchors.iter().any(|(anchor, _)| *anchor == number) {
            make(&backends, &world, number, Mood::Good).await;
            continue;
        }
        let mood = if random.u8(..4) == 0 {
            Mood::Good
        } else {
            TROUBLE[random.usize(..TROUBLE.len())]
        };
        make(&backends, &world, number, mood).await;
    }
    world.over.store(true, Ordering::Release);
    for number in 0..NAMES.len() {
        make(&backends, &world, number, Mood::Good).await;
    }
}

async fn make(backends: &[Backend], world: &World, number: usize, mood: Mood) {
    let good = mood == Mood::Good;
    if !good {
        lock(&world.good_since)[number] = None;
    }
    backends[number].become_of(mood).await;
    if good {
        lock(&world.good_since)[number].get_or_insert_with(Instant::now);
    }
}

struct Answer {
    status: u16,
    backend: Option<String>,
    mood: Option<String>,
    body: String,
    complete: bool,
    closes: bool,
}

async fn exchange(wire: &mut Wire<TcpStream>, service: &str, body: &str) -> Option<Answer> {
    let request = format!(
        "POST /services/{service} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    wire.next();
    wire.stream().write_all(request.as_bytes()).await.ok()?;
    let head = wire.head().await?;
    let (body, complete) = wire.body(head.framing(Framing::Length(0))).await;
    let field = |name: &str| header(&head.headers, name).map(str::to_owned);
    Some(Answer {
        status: head.first.split(' ').nth(1)?.parse().ok()?,
        backend: field("x-backend"),
        mood: field("x-mood"),
        body: String::from_utf8_lossy(&body).into_owned(),
        complete,
        closes: field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")),
    })
}

fn envelope(id: &str, nonce: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Header><c:ClientID xmlns:c=\"http://ws.apache.org/ns/synapse\">{id}</c:ClientID></s:Header><s:Body><n>{nonce}</n></s:Body></s:Envelope>"
    )
}

/// A session of a client: its id, when it began, and the back-end of its first answer.
struct Session {
    id: String,
    began: Instant,
    backend: String,
}

async fn client(number: u64, address: SocketAddr, world: Arc<World>, mut random: fastrand::Rng) {
    let mut wire = None;
    let mut session: Option<Session> = None;
    let mut count = 0_u64;
    while !world.over.load(Ordering::Acquire) {
        count += 1;
        let nonce = format!("{number}-{count}");
        session = session.filter(|s| s.began.elapsed() < SESSION);
        let (service, body, first) = match random.u8(..7) {
            0 => ("Order", format!("<n>{nonce}</n>"), false),
            1 => ("Plain", format!("<n>{nonce}</n>"), false),
            2 | 3 => ("Careful", format!("<n>{nonce}</n>"), false),
            4 => ("Last", format!("<n>{nonce}</n>"), false),
            _ => {
                let id = session.as_ref().map_or(&nonce, |s| &s.id);
                ("Sticky", envelope(id, &nonce), session.is_none())
            }
        };
        let began = Instant::now();
        let reliable = world.reliable(began);
        let stream = match &mut wire {
            Some(wire) => wire,
            None => {
                let stream = TcpStream::connect(address).await.expect("a connection");
                wire.insert(Wire::new(stream))
            }
        };
        let outcome = timeout(PATIENCE, exchange(stream, service, &body)).await;
        let took = began.elapsed().as_millis();
        let what = format!("{service} {nonce} after {took} ms");
        let Ok(Some(answer)) = outcome else {
            let how = if outcome.is_err() {
                "no answer"
            } else {
                "the connection ended without an answer"
            };
            world.complain(format!("{what}: {how}"));
            wire = None;
            continue;
        };
        world.count(0);
        if answer.closes || !answer.complete {
            wire = None;
        }
        let good = answer.status == 200 && answer.complete;
        // Half an answer is all that such a back-end gave, or was able to give when it died.
        let cut = answer.status == 200
            && !answer.complete
            && matches!(answer.mood.as_deref(), Some("Halves" | "Trickles"));
        if good {
            world.count(1);
            if answer.body != body {
                world.complain(format!("{what}: another answer: {}", answer.body));
            }
        } else if !cut && answer.status != 500 {
            let (status, mood) = (answer.status, answer.mood.as_deref());
            world.complain(format!(
                "{what}: {status} from {mood:?}, complete: {}",
                answer.complete
            ));
        }
        let healthy = match service {
            // It takes the first ready child: those that hang can keep it from the others.
            "Order" => None,
            "Last" => (!world.stalled_since(began)).then_some(REFUGE),
            _ => reliable
                .filter(|r| world.held(*r))
                .map(|(number, _)| NAMES[number]),
        };
        // A message of a session stays with its back-end, whatever happens there.
        let must = service != "Sticky" || first;
        if must && let Some(healthy) = healthy {
            world.count(2);
            if !good && !cut {
                world.complain(format!(
                    "{what}: {} although {healthy} was good: {}",
                    answer.status, answer.body
                ));
            }
        }
        if service == "Sticky" && answer.status == 200 {
            let backend = answer.backend.unwrap_or_default();
            match &session {
                None if good => {
                    session = Some(Session {
                        id: nonce,
                        began,
                        backend,
                    })
                }
                // It may end while this message is on its way.
                Some(s) if s.backend != backend && s.began.elapsed() < SESSION => world.complain(
                    format!("{what}: the session of {} went to {backend}", s.backend),
                ),
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_among_failing_back_ends() {
    let number = |name: &str, default| {
        let text = std::env::var(name).ok();
        text.and_then(|t| t.parse::<u64>().ok()).unwrap_or(default)
    };
    let seconds = number("MYELIN_CHAOS_SECONDS", 10);
    let seed = number("MYELIN_CHAOS_SEED", 7);
    let mut random = fastrand::Rng::with_seed(seed);
    let backends: Arc<Vec<Backend>> = Arc::new(NAMES.map(Backend::new).into_iter().collect());
    let refuge = Backend::new(REFUGE);
    let folder = deployment(&backends, &refuge);
    let server = start(folder.path()).await;
    let address = server.http.expect("the HTTP listener");
    // Two listeners with their timers per worker, and what looks after health checks.
    let tasks = 9;
    assert!(
        until(|| server.tasks() == tasks).await,
        "tasks: {}",
        server.tasks()
    );

    let world = Arc::new(World::default());
    *lock(&world.good_since) = [Some(Instant::now()); NAMES.len()];
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut running = JoinSet::new();
    running.spawn(watch_for_stalls(world.clone()));
    running.spawn(chaos(backends.clone(), world.clone(), random.fork(), end));
    for number in 0..CLIENTS {
        running.spawn(client(number, address, world.clone(), random.fork()));
    }
    while let Some(done) = running.join_next().await {
        done.expect("a task without panic");
    }

    let counts: Vec<u64> = world
        .counts
        .iter()
        .map(|c| c.load(Ordering::Acquire))
        .collect();
    let wrong = std::mem::take(&mut *lock(&world.wrong));
    let mut kinds: HashMap<&str, usize> = HashMap::new();
    for text in &wrong {
        *kinds
            .entry(text.split(' ').next().unwrap_or_default())
            .or_default() += 1;
    }
    let few: Vec<&String> = wrong.iter().take(10).collect();
    assert!(
        wrong.is_empty(),
        "seed {seed}, {counts:?} (answered, well, had to be): {} wrong {kinds:?}: {few:#?}",
        wrong.len()
    );
    println!(
        "seed {seed}: {} answered, {} well, {} had to be",
        counts[0], counts[1], counts[2]
    );
    assert!(counts[2] > 0, "requests were judged: {counts:?}");

    // Everything is good again, and nothing is left behind.
    assert!(
        until(|| server.load() == (0, 0, 0)).await,
        "left: {:?}",
        server.load()
    );
    assert!(
        until(|| server.backend_connections() == 0).await,
        "connections: {}",
        server.backend_connections()
    );
    // Each worker's client has started its sweeper meanwhile.
    assert!(
        until(|| server.tasks() <= tasks + 2).await,
        "tasks: {} after {tasks}",
        server.tasks()
    );
    server.clock.advance(SESSION);
    let rows = server
        .engine()
        .plan()
        .describe_endpoints(server.clock.now());
    let sessions: Vec<usize> = rows.iter().filter_map(|row| row.sessions).collect();
    assert_eq!(sessions, [0]);
    let balanced: Vec<_> = rows.iter().filter_map(|row| row.balance.as_ref()).collect();
    assert_eq!(balanced.len(), 1);
    assert_eq!(balanced[0].children.len(), NAMES.len());
    for child in &balanced[0].children {
        assert_eq!(child.active_requests, 0, "{}", child.name);
    }
    assert_eq!(server.stop().await, 0, "exchanges that were cut");
}
