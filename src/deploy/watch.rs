//! Watching the deployment directory: one signal per burst of changes.
//!
//! The operating system's events make it fast; a slow look at the file stamps makes it reliable
//! where events get lost or do not exist (network file systems, exhausted watch limits).

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::scan::{ScanLimits, Sweep, is_ignored_folder, is_read, sweep};

/// How a directory is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// Quiet time after a change before it is signalled; a burst without a quiet time is signalled
    /// after four times this. Default 100 ms.
    pub debounce: Duration,
    /// Time between two looks at the file stamps while events arrive; longer when a look takes more
    /// than a hundredth of it. Default 2 s.
    pub poll: Duration,
    /// The same while they do not: no event service, or no directory. Default 500 ms.
    pub poll_without_events: Duration,
    /// Whether the operating system's events are used at all. Default true.
    pub events: bool,
    /// Bounds for looking at the directory.
    pub limits: ScanLimits,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(100),
            poll: Duration::from_secs(2),
            poll_without_events: Duration::from_millis(500),
            events: true,
            limits: ScanLimits::default(),
        }
    }
}

/// Something below the directory may have changed: scan it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// When the first change of the burst was seen.
    pub since: Instant,
}

/// Why a directory cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// There is no tokio runtime here.
    #[error("a directory can only be watched from within a tokio runtime")]
    NoRuntime,
    /// The path of the directory cannot be made absolute.
    #[error("{}: {source}", path.display())]
    Path {
        /// The directory as given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A directory being watched until this is dropped.
#[derive(Debug)]
pub struct Watch {
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Watches `root`, which need not exist yet. Changes from now on are signalled; to miss none,
    /// start first and scan then. The channel holds one signal: several unread ones are one.
    pub fn start(
        root: PathBuf,
        debounce: Duration,
    ) -> Result<(Watch, mpsc::Receiver<Changed>), WatchError> {
        Self::start_with(
            root,
            WatchOptions {
                debounce,
                ..WatchOptions::default()
            },
        )
    }

    /// [`Watch::start`] with all options.
    pub fn start_with(
        root: PathBuf,
        options: WatchOptions,
    ) -> Result<(Watch, mpsc::Receiver<Changed>), WatchError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| WatchError::NoRuntime)?;
        // Events come with the path that was watched, so it must not depend on the working
        // directory.
        let root = match std::path::absolute(&root) {
            Ok(root) => root,
            Err(source) => return Err(WatchError::Path { path: root, source }),
        };
        let seen = Arc::new(Seen::default());
        // Armed before the first look, so that nothing falls between the two.
        let armed = Armed::new(&root, &options, &seen);
        let last = sweep(&root, &options.limits);
        let (signals, receiver) = mpsc::channel(1);
        let state = State {
            root,
            options,
            seen,
            signals,
            armed,
            last,
            cost: Duration::ZERO,
        };
        let task = runtime.spawn(state.run()).abort_handle();
        Ok((Watch { task }, receiver))
    }
}

/// What the event thread has seen since it was last asked. No queue: flags are all that is needed.
#[derive(Debug, Default)]
struct Seen {
    flags: Mutex<Flags>,
    wake: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    /// An artifact file was written, added or removed.
    artifact: bool,
    /// The root itself came, went or was exchanged: the watches below it are void.
    root: bool,
}

impl Seen {
    fn add(&self, relevance: Relevance) {
        {
            let mut flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
            match relevance {
                Relevance::None => return,
                Relevance::Possible => {}
                Relevance::Certain => flags.artifact = true,
                Relevance::Root => flags.root = true,
            }
        }
        self.wake.notify_one();
    }

    fn take(&self) -> Flags {
        std::mem::take(&mut *self.flags.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Relevance {
    /// Nothing to us.
    None,
    /// Perhaps a folder or a link: only a look at the stamps tells.
    Possible,
    /// An artifact file.
    Certain,
    /// The root itself.
    Root,
}

fn relevance(event: &Event, root: &Path) -> Relevance {
    if event.need_rescan() {
        return Relevance::Certain;
    }
    let (content, name) = match event.kind {
        // Reading must not count, or every scan would cause the next.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => (true, false),
        EventKind::Access(_) => return Relevance::None,
        EventKind::Modify(ModifyKind::Metadata(_)) => (false, false),
        EventKind::Modify(ModifyKind::Data(_)) => (true, false),
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
            (true, true)
        }
        EventKind::Any | EventKind::Other | EventKind::Modify(_) => (true, true),
    };
    let of_path = |path: &PathBuf| {
        let Ok(inside) = path.strip_prefix(root) else {
            return Relevance::None;
        };
        if inside.file_name().is_none() {
            return if name {
                Relevance::Root
            } else {
                Relevance::None
            };
        }
        let in_ignored_folder = inside.parent().is_some_and(|folder| {
            folder
                .components()
                .any(|c| matches!(c, Component::Normal(n) if is_ignored_folder(n)))
        });
        match (in_ignored_folder, is_read(inside)) {
            (true, _) => Relevance::None,
            (false, true) if content => Relevance::Certain,
            (false, true) => Relevance::Possible,
            // A hidden name counts, too: Kubernetes exchanges a whole volume by renaming `..data`.
            (false, false) if name => Relevance::Possible,
            (false, false) => Relevance::None,
        }
    };
    event
        .paths
        .iter()
        .map(of_path)
        .max()
        .unwrap_or(Relevance::None)
}

/// Tells one directory from another that took its place.
type Identity = (PathBuf, Option<SystemTime>, Option<(u64, u64)>);

fn identity(root: &Path) -> Option<Identity> {
    let real = std::fs::canonicalize(root).ok()?;
    let metadata = std::fs::metadata(&real).ok()?;
    #[cfg(unix)]
    let inode = {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    };
    #[cfg(not(unix))]
    let inode = None;
    Some((real, metadata.created().ok(), inode))
}

/// The watches at the operating system.
struct Armed {
    /// Kept for its `Drop`, which ends the watches.
    watcher: Option<RecommendedWatcher>,
    /// The directory they are on, `None` when it is missing.
    on: Option<Identity>,
}

impl Armed {
    fn new(root: &Path, options: &WatchOptions, seen: &Arc<Seen>) -> Self {
        let on = identity(root);
        if !options.events {
            return Self { watcher: None, on };
        }
        let watcher = Self::watcher(root, on.is_some(), seen).inspect_err(|error| {
            tracing::warn!(
                directory = %root.display(),
                %error,
                "no file system events; looking for changes every {:?}", options.poll_without_events
            );
        });
        Self {
            watcher: watcher.ok(),
            on,
        }
    }

    fn watcher(root: &Path, exists: bool, seen: &Arc<Seen>) -> notify::Result<RecommendedWatcher> {
        let (seen, below) = (Arc::clone(seen), root.to_owned());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            seen.add(match event {
                Ok(event) => relevance(&event, &below),
                // Events may have been lost.
                Err(_) => Relevance::Certain,
            });
        })?;
        // The parent tells when the root is deleted, created or exchanged. It need not be readable:
        // the slow look finds out as well.
        if let Some(parent) = root.parent() {
            let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
        }
        if exists {
            watcher.watch(root, RecursiveMode::Recursive)?;
        }
        Ok(watcher)
    }

    fn gets_events(&self) -> bool {
        self.watcher.is_some() && self.on.is_some()
    }
}

struct State {
    root: PathBuf,
    options: WatchOptions,
    seen: Arc<Seen>,
    signals: mpsc::Sender<Changed>,
    armed: Armed,
    last: Sweep,
    /// How long the last look took.
    cost: Duration,
}

impl State {
    async fn run(mut self) {
        let debounce = self.options.debounce.max(Duration::from_millis(1));
        loop {
            let poll = if self.armed.gets_events() {
                self.options.poll.max(self.cost * 100)
            } else {
                self.options.poll_without_events
            };
            let mut changed = Flags::default();
            let seen = Arc::clone(&self.seen);
            tokio::select! {
                () = seen.wake.notified() => {}
                () = sleep_until(Instant::now() + poll) => {
                    match self.look(false).await {
                        Some(true) => changed.artifact = true,
                        Some(false) => continue,
                        None => return,
                    }
                }
                () = self.signals.closed() => return,
            }

            let since = Instant::now();
            let latest = since + debounce * 4;
            let mut quiet = since + debounce;
            loop {
                tokio::select! {
                    () = seen.wake.notified() => quiet = Instant::now() + debounce,
                    () = sleep_until(quiet.min(latest)) => break,
                }
            }
            let flags = seen.take();
            changed.artifact |= flags.artifact;
            match self.look(flags.root).await {
                Some(different) => changed.artifact |= different,
                None => return,
            }
            if changed.artifact
                && let Err(mpsc::error::TrySendError::Closed(_)) =
                    self.signals.try_send(Changed { since })
            {
                return;
            }
        }
    }

    /// Renews the watches if the root was exchanged, then compares the stamps with those seen
    /// last. `None` when the runtime is going down.
    async fn look(&mut self, root_changed: bool) -> Option<bool> {
        let (root, options, seen) = (self.root.clone(), self.options, Arc::clone(&self.seen));
        let on = self.armed.on.clone();
        let has_watcher = self.armed.watcher.is_some();
        let start = Instant::now();
        let (armed, now) = spawn_blocking(move || {
            let exchanged = root_changed || identity(&root) != on;
            // Without a watcher there is nothing to renew, except once the root appears.
            let renew = exchanged && (has_watcher || on.is_none());
            let armed = if renew {
                Some(Armed::new(&root, &options, &seen))
            } else if exchanged {
                Some(Armed {
                    watcher: None,
                    on: identity(&root),
                })
            } else {
                None
            };
            (armed, sweep(&root, &options.limits))
        })
        .await
        .ok()?;
        if let Some(armed) = armed {
            self.armed = armed;
        }
        self.cost = start.elapsed();
        let different = now != self.last;
        self.last = now;
        Some(different)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use expect_test::{Expect, expect};
    use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind, RenameMode};
    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;
    use crate::deploy::scan::{Snapshot, scan};

    /// Only a failing test waits that long.
    const PATIENCE: Duration = Duration::from_secs(30);
    const DEBOUNCE: Duration = Duration::from_millis(40);

    /// Signals come from events alone, as polling would take longer than [`PATIENCE`].
    fn by_events() -> WatchOptions {
        let never = PATIENCE * 100;
        WatchOptions {
            debounce: DEBOUNCE,
            poll: never,
            poll_without_events: never,
            ..WatchOptions::default()
        }
    }

    /// Signals come from looking at the stamps alone.
    fn by_polling() -> WatchOptions {
        WatchOptions {
            debounce: DEBOUNCE,
            poll_without_events: Duration::from_millis(20),
            events: false,
            ..WatchOptions::default()
        }
    }

    struct Watched {
        /// Root is `live` in it, so that it can be deleted and exchanged.
        dir: TempDir,
        _watch: Watch,
        signals: mpsc::Receiver<Changed>,
        snapshot: Snapshot,
    }

    impl Watched {
        fn new(options: WatchOptions, before: impl FnOnce(&Path)) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("live");
            fs::create_dir(&root).unwrap();
            before(&root);
            let (watch, signals) = Watch::start_with(root.clone(), options).unwrap();
            let snapshot = scan(&root, None, &options.limits).unwrap();
            Self {
                dir,
                _watch: watch,
                signals,
                snapshot,
            }
        }

        fn root(&self) -> PathBuf {
            self.dir.path().join("live")
        }

        /// The next signal, then what a scan finds.
        async fn scan_after_signal(&mut self) -> String {
            let signal = timeout(PATIENCE, self.signals.recv()).await;
            signal.expect("no signal").expect("the watch ended");
            let now = scan(&self.root(), Some(&self.snapshot), &ScanLimits::default()).unwrap();
            let changes = now.changed_since(&self.snapshot);
            self.snapshot = now;
            let mark = |sign: &str, paths: &[PathBuf]| -> String {
                paths
                    .iter()
                    .map(|p| format!("{sign}{} ", p.display()))
                    .collect()
            };
            mark("+", &changes.added) + &mark("~", &changes.changed) + &mark("-", &changes.removed)
        }

        /// Collects changes over as many signals as it takes to find `expected`.
        async fn changes(&mut self, expected: &str) {
            let mut all = String::new();
            while all.split_whitespace().ne(expected.split_whitespace()) {
                assert!(
                    all.split_whitespace().count() <= expected.split_whitespace().count(),
                    "{all} is more than {expected}"
                );
                all += &self.scan_after_signal().await;
            }
        }

        async fn is_quiet(&mut self) -> bool {
            timeout(DEBOUNCE * 8, self.signals.recv()).await.is_err()
        }
    }

    fn put(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Name, what is there before, what happens, what a scan finds after the signal.
    type Case = (&'static str, fn(&Path), fn(&Path), &'static str);

    const CASES: &[Case] = &[
        ("add", |_| {}, |r| put(r.join("a.xml"), "a"), "+a.xml"),
        (
            "add in a new folder",
            |_| {},
            |r| put(r.join("x/y/a.xml"), "a"),
            "+x/y/a.xml",
        ),
        (
            "change",
            |r| put(r.join("a.xml"), "a"),
            |r| put(r.join("a.xml"), "b"),
            "~a.xml",
        ),
        (
            "change below",
            |r| put(r.join("x/y/a.xml"), "a"),
            |r| put(r.join("x/y/a.xml"), "b"),
            "~x/y/a.xml",
        ),
        (
            "rename",
            |r| put(r.join("a.xml"), "a"),
            |r| fs::rename(r.join("a.xml"), r.join("b.xml")).unwrap(),
            "+b.xml -a.xml",
        ),
        (
            "delete",
            |r| put(r.join("a.xml"), "a"),
            |r| fs::remove_file(r.join("a.xml")).unwrap(),
            "-a.xml",
        ),
        (
            "put away as MI does",
            |r| put(r.join("a.xml"), "a"),
            |r| fs::rename(r.join("a.xml"), r.join("a.xml.back")).unwrap(),
            "-a.xml",
        ),
        (
            "save by renaming a temporary file",
            |r| put(r.join("a.xml"), "a"),
            |r| {
                put(r.join(".a.xml.tmp"), "b");
                fs::rename(r.join(".a.xml.tmp"), r.join("a.xml")).unwrap();
            },
            "~a.xml",
        ),
        (
            "folder moved in",
            |r| put(r.parent().unwrap().join("x/y/a.xml"), "a"),
            |r| fs::rename(r.parent().unwrap().join("x"), r.join("x")).unwrap(),
            "+x/y/a.xml",
        ),
        (
            "folder moved out",
            |r| put(r.join("x/y/a.xml"), "a"),
            |r| fs::rename(r.join("x"), r.parent().unwrap().join("x")).unwrap(),
            "-x/y/a.xml",
        ),
        (
            "folder renamed",
            |r| put(r.join("x/a.xml"), "a"),
            |r| fs::rename(r.join("x"), r.join("y")).unwrap(),
            "+y/a.xml -x/a.xml",
        ),
        (
            "folder deleted",
            |r| put(r.join("x/y/a.xml"), "a"),
            |r| fs::remove_dir_all(r.join("x")).unwrap(),
            "-x/y/a.xml",
        ),
        (
            "root exchanged",
            |r| {
                put(r.join("a.xml"), "a");
                put(r.parent().unwrap().join("next/b.xml"), "b");
            },
            |r| {
                fs::rename(r, r.parent().unwrap().join("old")).unwrap();
                fs::rename(r.parent().unwrap().join("next"), r).unwrap();
            },
            "+b.xml -a.xml",
        ),
        #[cfg(unix)]
        (
            "Kubernetes volume",
            |r| {
                use std::os::unix::fs::symlink;
                put(r.join("..1/a.xml"), "a");
                put(r.join("..2/a.xml"), "b");
                symlink("..1", r.join("..data")).unwrap();
                symlink("..data/a.xml", r.join("a.xml")).unwrap();
            },
            |r| {
                std::os::unix::fs::symlink("..2", r.join("..tmp")).unwrap();
                fs::rename(r.join("..tmp"), r.join("..data")).unwrap();
            },
            "~a.xml",
        ),
    ];

    async fn run_cases(options: WatchOptions) {
        for (name, before, action, expected) in CASES {
            println!("{name}");
            let mut watched = Watched::new(options, before);
            action(&watched.root());
            watched.changes(expected).await;
        }
    }

    #[tokio::test]
    async fn changes_are_signalled_by_events() {
        run_cases(by_events()).await;
    }

    #[tokio::test]
    async fn changes_are_signalled_without_events() {
        run_cases(by_polling()).await;
    }

    #[tokio::test]
    async fn a_root_deleted_and_created_again_is_still_watched() {
        for options in [by_events(), by_polling()] {
            let mut watched = Watched::new(options, |r| put(r.join("x/a.xml"), "a"));
            for round in 0..3 {
                fs::remove_dir_all(watched.root()).unwrap();
                watched.changes("-x/a.xml").await;
                put(watched.root().join("x/a.xml"), "a");
                watched.changes("+x/a.xml").await;
                put(watched.root().join("x/a.xml"), &format!("{round}"));
                watched.changes("~x/a.xml").await;
            }
        }
    }

    #[tokio::test]
    async fn a_root_may_come_later() {
        for options in [by_events(), by_polling()] {
            let mut watched = Watched::new(options, |r| fs::remove_dir(r).unwrap());
            assert_eq!(watched.snapshot.problems.len(), 1);
            put(watched.root().join("a.xml"), "a");
            watched.changes("+a.xml").await;
            put(watched.root().join("b/c.xml"), "c");
            watched.changes("+b/c.xml").await;
        }
    }

    /// Events that never come, as on a network file system, are made up for by looking.
    #[tokio::test]
    async fn lost_events_are_made_up_for() {
        let options = WatchOptions {
            debounce: DEBOUNCE,
            poll: Duration::from_millis(20),
            ..WatchOptions::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let seen = Arc::new(Seen::default());
        let (signals, mut receiver) = mpsc::channel(1);
        let armed = Armed::new(dir.path(), &options, &Arc::new(Seen::default()));
        assert!(armed.gets_events());
        let last = sweep(dir.path(), &options.limits);
        let state = State {
            root: dir.path().to_owned(),
            options,
            seen,
            signals,
            armed,
            last,
            cost: Duration::ZERO,
        };
        let _watch = Watch {
            task: tokio::spawn(state.run()).abort_handle(),
        };
        put(dir.path().join("a.xml"), "a");
        assert!(timeout(PATIENCE, receiver.recv()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_file_written_in_two_parts_is_complete_in_the_end() {
        for options in [by_events(), by_polling()] {
            let mut watched = Watched::new(options, |_| {});
            let path = watched.root().join("a.xml");
            let writer = std::thread::spawn(move || {
                let mut file = File::create(path).unwrap();
                file.write_all(b"<half").unwrap();
                wait(DEBOUNCE * 5);
                file.write_all(b"/>").unwrap();
            });
            let complete = |s: &Snapshot| {
                s.files
                    .get(Path::new("a.xml"))
                    .is_some_and(|f| *f.text == *b"<half/>")
            };
            while !complete(&watched.snapshot) {
                watched.scan_after_signal().await;
            }
            writer.join().unwrap();
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the writer of a half-written file has to wait"
    )]
    fn wait(time: Duration) {
        std::thread::sleep(time);
    }

    #[tokio::test]
    async fn many_writes_are_few_signals() {
        let mut watched = Watched::new(by_events(), |_| {});
        let root = watched.root();
        let start = Instant::now();
        let writer = std::thread::spawn(move || {
            for i in 0..200 {
                put(
                    root.join(format!("{}/a{}.xml", i % 3, i % 50)),
                    &i.to_string(),
                );
            }
        });
        let complete = |s: &Snapshot| {
            s.files.len() == 150 && s.files[Path::new("1/a49.xml")].text[..] == *b"199"
        };
        let mut signals = 0;
        while !complete(&watched.snapshot) {
            watched.scan_after_signal().await;
            signals += 1;
        }
        writer.join().unwrap();
        while !watched.is_quiet().await {
            signals += 1;
        }
        let most = 3 + start.elapsed().as_millis() / (DEBOUNCE * 4).as_millis();
        assert!(signals <= most, "{signals} signals, {most} at most");
    }

    #[tokio::test]
    async fn a_burst_without_a_pause_is_signalled_before_it_ends() {
        let mut watched = Watched::new(by_events(), |_| {});
        let path = watched.root().join("a.xml");
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let mut i = 0u32;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(&path, i.to_string()).unwrap();
                wait(DEBOUNCE / 10);
                i += 1;
            }
        });
        let signal = timeout(PATIENCE, watched.signals.recv()).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        assert!(signal.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_is_no_artifact_is_not_signalled() {
        for options in [by_events(), by_polling()] {
            let mut watched = Watched::new(options, |r| put(r.join("a.xml"), "a"));
            let root = watched.root();
            put(root.join("note.txt"), "");
            put(root.join(".git/x.xml"), "");
            put(root.join(".a.xml.swp"), "");
            put(root.join("4913"), "");
            put(root.join("empty/note.md"), "");
            put(root.parent().unwrap().join("beside.xml"), "");
            fs::remove_file(root.join("4913")).unwrap();
            scan(&root, None, &ScanLimits::default()).unwrap();
            assert!(watched.is_quiet().await);
        }
    }

    #[tokio::test]
    async fn dropping_the_watch_ends_the_signals() {
        let Watched {
            _watch: watch,
            mut signals,
            dir,
            ..
        } = Watched::new(by_events(), |_| {});
        drop(watch);
        assert_eq!(timeout(PATIENCE, signals.recv()).await.unwrap(), None);
        drop(dir);
    }

    #[test]
    fn without_a_runtime_there_is_no_watch() {
        let error = Watch::start("x".into(), DEBOUNCE).unwrap_err();
        expect!["a directory can only be watched from within a tokio runtime"]
            .assert_eq(&error.to_string());
    }

    #[tokio::test]
    async fn an_empty_path_cannot_be_watched() {
        let error = Watch::start(PathBuf::new(), DEBOUNCE).unwrap_err();
        expect![": cannot make an empty path absolute"].assert_eq(&error.to_string());
    }

    fn check_relevance(kind: EventKind, expected: Expect) {
        let paths = [
            "",
            "a.xml",
            "x/B.XML",
            "x",
            "a.txt",
            ".git/a.xml",
            ".git",
            "x.tmp/a.xml",
            "..data",
            "../a.xml",
        ];
        let mut out = String::new();
        for path in paths {
            let full = match path {
                "" => PathBuf::from("/r"),
                "../a.xml" => PathBuf::from("/a.xml"),
                inside => Path::new("/r").join(inside),
            };
            let found = relevance(&Event::new(kind).add_path(full), Path::new("/r"));
            if found != Relevance::None {
                out += &format!("{found:?} {path:?}\n");
            }
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn relevance_of_events() {
        check_relevance(
            EventKind::Create(CreateKind::File),
            expect![[r#"
                Root ""
                Certain "a.xml"
                Certain "x/B.XML"
                Possible "x"
                Possible "a.txt"
                Possible ".git"
                Possible "..data"
            "#]],
        );
        check_relevance(
            EventKind::Remove(RemoveKind::Folder),
            expect![[r#"
                Root ""
                Certain "a.xml"
                Certain "x/B.XML"
                Possible "x"
                Possible "a.txt"
                Possible ".git"
                Possible "..data"
            "#]],
        );
        check_relevance(
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
            expect![[r#"
                Root ""
                Certain "a.xml"
                Certain "x/B.XML"
                Possible "x"
                Possible "a.txt"
                Possible ".git"
                Possible "..data"
            "#]],
        );
        check_relevance(
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            expect![[r#"
                Certain "a.xml"
                Certain "x/B.XML"
            "#]],
        );
        check_relevance(
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
            expect![[r#"
                Possible "a.xml"
                Possible "x/B.XML"
            "#]],
        );
        check_relevance(
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            expect![[r#"
                Certain "a.xml"
                Certain "x/B.XML"
            "#]],
        );
        check_relevance(
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            expect![""],
        );
        check_relevance(
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            expect![""],
        );
        let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(relevance(&overflow, Path::new("/r")), Relevance::Certain);
    }
}
