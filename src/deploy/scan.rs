//! Reading the deployment directory: which artifact files are there and what is in them.
//!
//! A scan never sees half a file if it can help it, reads again only what may have changed, and
//! never loses a file that is there: what cannot be read now stays as it was read before.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind, Read};
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::settings::DeploySettings;

/// A file this young may still be in the hands of its writer.
const SETTLE: Duration = Duration::from_millis(50);

/// How often a file that will not settle is read again, [`SETTLE`] apart.
const READ_AGAIN: usize = 5;

/// Coarsest time stamp of a file system in use (FAT). A file read sooner than this after its last
/// change can change again without a new time stamp, so its stamp proves nothing.
const COARSEST_STAMP: Duration = Duration::from_secs(2);

/// Bounds of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Larger files are a problem, in bytes. Default 16 MiB.
    pub max_file_bytes: u64,
    /// Folders below this depth are a problem. Default 32.
    pub max_depth: usize,
    /// Most directory entries looked at, of any kind. Default 200000.
    pub max_entries: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self::from(&DeploySettings::default())
    }
}

impl From<&DeploySettings> for ScanLimits {
    fn from(settings: &DeploySettings) -> Self {
        Self {
            max_file_bytes: settings.max_artifact_bytes,
            max_depth: settings.max_folder_depth,
            max_entries: 200_000,
        }
    }
}

/// One artifact file as it was read.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The path for people: relative to the working directory when below it, else as given.
    pub path: PathBuf,
    /// The path inside the deployment directory.
    pub relative: PathBuf,
    /// The content.
    pub text: Arc<[u8]>,
    /// Last change according to the file system.
    pub modified: SystemTime,
    /// Length in bytes.
    pub len: u64,
    /// Hash of the content; comparable only within one process.
    pub hash: u64,
}

/// All artifact files at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Files by their path inside the deployment directory.
    pub files: BTreeMap<PathBuf, Arc<SourceFile>>,
    /// What could not be read and why, in order of the paths (as shown to users).
    pub problems: Vec<(PathBuf, String)>,
    /// The stamps of those files whose content is certain as long as the stamp stays.
    proven: BTreeMap<PathBuf, Stamp>,
}

/// Difference of two snapshots, as paths inside the deployment directory in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Only in the newer one.
    pub added: Vec<PathBuf>,
    /// In both, with different content. A new time stamp alone is no change.
    pub changed: Vec<PathBuf>,
    /// Only in the older one.
    pub removed: Vec<PathBuf>,
}

impl ChangeSet {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Snapshot {
    /// What is different here from `older`.
    pub fn changed_since(&self, older: &Snapshot) -> ChangeSet {
        let mut changes = ChangeSet::default();
        let mut before = InOrder::new(&older.files);
        for (path, file) in &self.files {
            match before.get(path) {
                None => changes.added.push(path.clone()),
                Some(old) if !old.same_content(file) => changes.changed.push(path.clone()),
                Some(_) => {}
            }
        }
        let mut now = InOrder::new(&self.files);
        let gone = older.files.keys().filter(|p| now.get(p).is_none());
        changes.removed = gone.cloned().collect();
        changes
    }
}

/// Looks up paths that come in order. It only goes forward: comparing paths is what a scan of
/// thousands of files would spend most of its time on.
struct InOrder<'a, V>(Peekable<btree_map::Iter<'a, PathBuf, V>>);

impl<'a, V> InOrder<'a, V> {
    fn new(map: &'a BTreeMap<PathBuf, V>) -> Self {
        Self(map.iter().peekable())
    }

    fn get(&mut self, path: &Path) -> Option<&'a V> {
        while self.0.next_if(|(at, _)| at.as_path() < path).is_some() {}
        let (at, value) = self.0.peek()?;
        (at.as_path() == path).then_some(*value)
    }
}

impl SourceFile {
    /// A file with this content.
    pub fn new(
        path: PathBuf,
        relative: PathBuf,
        text: impl Into<Arc<[u8]>>,
        modified: SystemTime,
    ) -> Self {
        let text = text.into();
        let mut hasher = DefaultHasher::new();
        hasher.write(&text);
        let (len, hash) = (text.len() as u64, hasher.finish());
        Self {
            path,
            relative,
            text,
            modified,
            len,
            hash,
        }
    }

    fn same_content(&self, other: &SourceFile) -> bool {
        Arc::ptr_eq(&self.text, &other.text) || (self.hash == other.hash && self.text == other.text)
    }
}

/// What the file system knows about a file without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: SystemTime,
    /// Device, inode and change time, which also tell a replaced file and a restored time stamp.
    #[cfg(unix)]
    identity: (u64, u64, i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            len: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            #[cfg(unix)]
            identity: (
                metadata.dev(),
                metadata.ino(),
                metadata.ctime(),
                metadata.ctime_nsec(),
            ),
        }
    }

    /// Whether the last change is at least `age` ago. A time in the future comes from another
    /// clock and tells nothing.
    fn is_older_than(&self, age: Duration) -> Option<bool> {
        SystemTime::now()
            .duration_since(self.modified)
            .ok()
            .map(|passed| passed >= age)
    }
}

/// The artifact files of a directory by their stamps; equal as long as nothing seems to have
/// changed. Cheap: no file is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep(Vec<(PathBuf, Stamp)>);

/// Looks at the directory without reading files. A directory that is missing is empty.
pub fn sweep(root: &Path, limits: &ScanLimits) -> Sweep {
    Sweep(
        Listing::of(root, Path::new(""), limits)
            .map(|l| l.files)
            .unwrap_or_default(),
    )
}

/// Whether a file of this name is an artifact: `*.xml` in any case, not hidden. This leaves out
/// `FILE.back` of MI and what editors put beside a file while it is edited.
pub fn is_artifact_name(name: &OsStr) -> bool {
    !is_hidden(name)
        && Path::new(name)
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("xml"))
}

/// The folder of the deployment directory that holds registry resources (spec 04 §3.2).
pub const REGISTRY: &str = "registry";

/// Whether a file, by its path inside the deployment directory, is a registry resource: any file
/// below [`REGISTRY`] that is not hidden.
pub fn is_resource(relative: &Path) -> bool {
    relative.starts_with(REGISTRY)
        && relative.components().nth(1).is_some()
        && !relative.components().any(|c| is_hidden(c.as_os_str()))
}

/// Whether a file is looked after: an artifact, a registry resource, or an archive, which is not read
/// but must not be passed over in silence.
pub fn is_read(relative: &Path) -> bool {
    is_resource(relative)
        || relative
            .file_name()
            .is_some_and(|name| is_artifact_name(name) || is_archive_name(name))
}

/// Whether a file of this name is a Carbon application (spec 04 §1.4).
fn is_archive_name(name: &OsStr) -> bool {
    !is_hidden(name)
        && Path::new(name)
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("car"))
}

/// What is said about a file that is a Carbon application.
pub fn archive_problem(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?;
    is_archive_name(name).then_some(
        "Carbon applications (.car) are not read yet; unpack it and put its artifact files into the deployment directory",
    )
}

/// Whether a folder of this name is passed over: hidden, or somebody's temporary or backup copy.
pub fn is_ignored_folder(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let ends = |suffix: &str| bytes.ends_with(suffix.as_bytes());
    is_hidden(name)
        || [".back", ".tmp", ".swp", "~"]
            .iter()
            .any(|suffix| ends(suffix))
        || (bytes.starts_with(b"#") && bytes.ends_with(b"#"))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Reads all artifact files below `root`, reusing from `previous` what did not change.
///
/// Blocks, up to a quarter of a second when files are being written, so call it on a thread that
/// may. Fails only when `root` is there but cannot be listed; a missing `root` is an empty
/// snapshot with a problem.
pub fn scan(root: &Path, previous: Option<&Snapshot>, limits: &ScanLimits) -> io::Result<Snapshot> {
    let shown_root = shown(root);
    let mut listing = match Listing::of(root, &shown_root, limits) {
        Ok(listing) => listing,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let problem = (
                shown_root,
                "the deployment directory does not exist".to_owned(),
            );
            return Ok(Snapshot {
                problems: vec![problem],
                ..Snapshot::default()
            });
        }
        Err(e) => return Err(e),
    };
    let before = |relative: &Path| previous.and_then(|p| p.files.get(relative));

    let mut old_files = previous.map(|p| InOrder::new(&p.files));
    let mut old_stamps = previous.map(|p| InOrder::new(&p.proven));
    let (mut same, mut stamps, mut pending) = (Vec::new(), Vec::new(), Vec::new());
    for (relative, stamp) in std::mem::take(&mut listing.files) {
        if !is_resource(&relative)
            && let Some(problem) = archive_problem(&relative)
        {
            let path = shown_root.join(relative);
            listing.problems.push((path, problem.to_owned()));
            continue;
        }
        let proof = old_stamps.as_mut().and_then(|o| o.get(&relative));
        let proof = proof.is_some_and(|s| *s == stamp);
        match old_files.as_mut().and_then(|o| o.get(&relative)) {
            Some(old) if proof => {
                same.push((relative.clone(), Arc::clone(old)));
                stamps.push((relative, stamp));
            }
            _ => pending.push(relative),
        }
    }
    let mut files = BTreeMap::from_iter(same);
    let mut proven = BTreeMap::from_iter(stamps);

    let mut last_try = false;
    for round in 0.. {
        pending.retain(|relative| {
            let outcome = read(&root.join(relative), limits);
            let content = match outcome {
                Ok(Content { settled: false, .. }) if !last_try => return true,
                Ok(Content {
                    changed_meanwhile: true,
                    ..
                }) => Err("is being written without a pause".to_owned()),
                Ok(content) => Ok(content),
                // Gone since it was listed.
                Err(e) if e.kind() == ErrorKind::NotFound => return false,
                Err(e) => Err(e.to_string()),
            };
            let old = before(relative);
            match content {
                Ok(content) => {
                    if content.stamp.is_older_than(COARSEST_STAMP) == Some(true) {
                        proven.insert(relative.clone(), content.stamp);
                    }
                    let file = content.into_file(shown_root.join(relative), relative, old);
                    files.insert(relative.clone(), file);
                }
                Err(why) => {
                    let kept = if old.is_some() {
                        "; what was read before stays in use"
                    } else {
                        ""
                    };
                    listing
                        .problems
                        .push((shown_root.join(relative), format!("{why}{kept}")));
                    files.extend(old.map(|old| (relative.clone(), Arc::clone(old))));
                }
            }
            false
        });
        if pending.is_empty() {
            break;
        }
        last_try = round + 1 >= READ_AGAIN;
        pause();
    }

    // A folder that cannot be listed for a moment must not undeploy what is in it.
    for (relative, file) in previous.iter().flat_map(|p| &p.files) {
        if listing
            .unlisted
            .iter()
            .any(|folder| relative.starts_with(folder))
        {
            files
                .entry(relative.clone())
                .or_insert_with(|| Arc::clone(file));
        }
    }
    listing.problems.sort();
    Ok(Snapshot {
        files,
        problems: listing.problems,
        proven,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "scan is documented to block; it runs off the workers"
)]
fn pause() {
    std::thread::sleep(SETTLE);
}

/// `root` as users know it.
pub(super) fn shown(root: &Path) -> PathBuf {
    let below_here = std::env::current_dir()
        .ok()
        .and_then(|here| root.strip_prefix(here).ok())
        .or_else(|| root.strip_prefix(".").ok());
    match below_here {
        Some(inside) if !inside.as_os_str().is_empty() => inside.to_owned(),
        _ => root.to_owned(),
    }
}

/// What one read of a file gave.
struct Content {
    bytes: Vec<u8>,
    stamp: Stamp,
    /// The stamp changed between opening and the last byte, or the length does not fit.
    changed_meanwhile: bool,
    /// Nobody seems to be writing it.
    settled: bool,
}

fn read(path: &Path, limits: &ScanLimits) -> io::Result<Content> {
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let file = File::open(path)?;
    let before = Stamp::of(&file.metadata()?);
    let too_large = || io::Error::other(format!("is larger than {} bytes", limits.max_file_bytes));
    if before.len > limits.max_file_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len).unwrap_or(0) + 1);
    (&file)
        .take(limits.max_file_bytes + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits.max_file_bytes {
        return Err(too_large());
    }
    let stamp = Stamp::of(&file.metadata()?);
    let changed_meanwhile = before != stamp || bytes.len() as u64 != stamp.len;
    let young = stamp.is_older_than(SETTLE) == Some(false);
    Ok(Content {
        bytes,
        stamp,
        changed_meanwhile,
        settled: !changed_meanwhile && !young,
    })
}

impl Content {
    fn into_file(
        self,
        path: PathBuf,
        relative: &Path,
        old: Option<&Arc<SourceFile>>,
    ) -> Arc<SourceFile> {
        let modified = self.stamp.modified;
        match old {
            // The same object is the cheapest way to say "nothing new".
            Some(old) if *old.text == *self.bytes && old.modified == modified => Arc::clone(old),
            Some(old) if *old.text == *self.bytes => Arc::new(SourceFile {
                modified,
                ..SourceFile::clone(old)
            }),
            _ => Arc::new(SourceFile::new(
                path,
                relative.to_owned(),
                self.bytes,
                modified,
            )),
        }
    }
}

/// The artifact files below a directory, not yet read.
#[derive(Default)]
struct Listing {
    /// In order of the paths.
    files: Vec<(PathBuf, Stamp)>,
    problems: Vec<(PathBuf, String)>,
    /// Folders that are there but could not be listed.
    unlisted: Vec<PathBuf>,
}

struct Walk<'a> {
    root: &'a Path,
    shown: &'a Path,
    limits: &'a ScanLimits,
    /// Real paths of the folders seen, so that a link cannot lead round in circles.
    visited: BTreeSet<PathBuf>,
    entries: usize,
    listing: Listing,
}

impl Listing {
    fn of(root: &Path, shown: &Path, limits: &ScanLimits) -> io::Result<Listing> {
        let mut walk = Walk {
            root,
            shown,
            limits,
            visited: BTreeSet::from([fs::canonicalize(root)?]),
            entries: 0,
            listing: Listing::default(),
        };
        walk.folder(Path::new(""), 0)?;
        if walk.entries > limits.max_entries {
            let message = format!(
                "has more than {} entries; what comes after them is not read",
                limits.max_entries
            );
            walk.problem(Path::new(""), message);
        }
        Ok(walk.listing)
    }
}

impl Walk<'_> {
    fn folder(&mut self, relative: &Path, depth: usize) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(relative))? {
            self.entries += 1;
            if self.entries > self.limits.max_entries {
                // Dropping the rest would undeploy it.
                self.listing.unlisted.push(relative.to_owned());
                break;
            }
            let entry = entry?;
            let known_file = entry.file_type().is_ok_and(|t| t.is_file());
            let name = entry.file_name();
            // Most files need no look at their metadata.
            if is_read(&relative.join(&name)) || (!known_file && !is_ignored_folder(&name)) {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let path = relative.join(&name);
            match fs::metadata(self.root.join(&path)) {
                Ok(metadata) if metadata.is_dir() => {
                    if !is_ignored_folder(&name) {
                        self.sub_folder(&path, depth + 1);
                    }
                }
                Ok(metadata) if is_read(&path) => {
                    self.listing.files.push((path, Stamp::of(&metadata)));
                }
                Ok(_) => {}
                Err(e) if is_read(&path) => self.without_metadata(&path, &e),
                // Gone, or a link to nowhere that is no artifact.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn sub_folder(&mut self, relative: &Path, depth: usize) {
        if depth > self.limits.max_depth {
            self.problem(
                relative,
                format!("is nested more than {} deep", self.limits.max_depth),
            );
            return;
        }
        let listed = fs::canonicalize(self.root.join(relative)).and_then(|real| {
            if self.visited.insert(real) {
                self.folder(relative, depth)
            } else {
                Ok(())
            }
        });
        match listed {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                self.problem(relative, format!("cannot be listed: {e}"));
                self.listing.unlisted.push(relative.to_owned());
            }
            _ => {}
        }
    }

    fn without_metadata(&mut self, relative: &Path, error: &io::Error) {
        let is_link = fs::symlink_metadata(self.root.join(relative)).is_ok_and(|m| m.is_symlink());
        if error.kind() != ErrorKind::NotFound {
            self.problem(relative, error.to_string());
            self.listing.unlisted.push(relative.to_owned());
        } else if is_link {
            self.problem(
                relative,
                "is a link to something that does not exist".to_owned(),
            );
        }
    }

    fn problem(&mut self, relative: &Path, message: String) {
        let path = if relative.as_os_str().is_empty() {
            self.shown.to_owned()
        } else {
            self.shown.join(relative)
        };
        self.listing.problems.push((path, message));
    }
}

#[cfg(test)]
mod tests;
