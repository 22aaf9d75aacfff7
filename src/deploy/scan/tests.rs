//! Tests of reading the deployment directory.

use std::io::Write;

use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::*;

struct Dir(TempDir);

impl Dir {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = Dir(tempfile::tempdir().unwrap());
        for (path, text) in files {
            dir.write(path, text);
        }
        dir
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn scan(&self, previous: Option<&Snapshot>) -> Snapshot {
        scan(self.root(), previous, &ScanLimits::default()).unwrap()
    }

    /// Files with their text, then problems, one a line.
    fn show(&self, snapshot: &Snapshot) -> String {
        let mut out = String::new();
        for (path, file) in &snapshot.files {
            assert_eq!(*path, file.relative);
            assert_eq!(file.path, self.at(&path.display().to_string()));
            assert_eq!(file.len, file.text.len() as u64);
            let text = String::from_utf8_lossy(&file.text);
            out += &format!("{} = {text}\n", path.display());
        }
        for (path, problem) in &snapshot.problems {
            out += &format!("{}: {problem}\n", path.display());
        }
        out.replace(&self.root().display().to_string(), "ROOT")
    }

    fn check(&self, limits: &ScanLimits, expected: Expect) {
        let snapshot = scan(self.root(), None, limits).unwrap();
        expected.assert_eq(&self.show(&snapshot));
    }
}

/// Makes the content of all files certain for later scans.
fn age(dir: &Dir, paths: &[&str]) {
    for path in paths {
        let file = File::options().append(true).open(dir.at(path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60))
            .unwrap();
    }
}

fn names(changes: &ChangeSet) -> String {
    let list = |paths: &[PathBuf]| {
        paths
            .iter()
            .map(|p| p.display().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    format!(
        "added [{}] changed [{}] removed [{}]",
        list(&changes.added),
        list(&changes.changed),
        list(&changes.removed)
    )
}

#[test]
fn finds_artifacts_in_any_folder_and_nothing_else() {
    let dir = Dir::new(&[
        ("b.xml", "b"),
        ("A.XML", "a"),
        ("synapse-configs/default/api/x.xml", "x"),
        ("synapse-configs/default/sequences/deep/er/y.Xml", "y"),
        ("with space/é.xml", "z"),
        ("empty.xml", ""),
        (".hidden.xml", ""),
        (".git/config.xml", ""),
        ("old.back/a.xml", ""),
        ("a.xml.back", ""),
        ("a.1.back", ""),
        ("a.xml~", ""),
        (".a.xml.swp", ""),
        ("a.xml.tmp", ""),
        ("x.tmp/a.xml", ""),
        ("#a.xml#", ""),
        ("#f#/a.xml", ""),
        ("4913", ""),
        ("readme.md", ""),
        ("xml", ""),
        (".xml", ""),
    ]);
    fs::create_dir(dir.at("folder.xml")).unwrap();
    dir.write("folder.xml/inside.xml", "i");
    dir.check(
        &ScanLimits::default(),
        expect![[r#"
            A.XML = a
            b.xml = b
            empty.xml = 
            folder.xml/inside.xml = i
            synapse-configs/default/api/x.xml = x
            synapse-configs/default/sequences/deep/er/y.Xml = y
            with space/é.xml = z
        "#]],
    );
}

#[test]
fn tells_what_changed() {
    let dir = Dir::new(&[
        ("a.xml", "a"),
        ("b.xml", "b"),
        ("c/d.xml", "d"),
        ("e.xml", "e"),
    ]);
    let first = dir.scan(None);
    assert!(first.changed_since(&first).is_empty());
    dir.write("a.xml", "A");
    fs::rename(dir.at("b.xml"), dir.at("bb.xml")).unwrap();
    fs::remove_dir_all(dir.at("c")).unwrap();
    dir.write("new/n.xml", "n");
    dir.write("e.xml", "e");
    let second = dir.scan(Some(&first));
    expect!["added [bb.xml new/n.xml] changed [a.xml] removed [b.xml c/d.xml]"]
        .assert_eq(&names(&second.changed_since(&first)));
    expect!["added [b.xml c/d.xml] changed [a.xml] removed [bb.xml new/n.xml]"]
        .assert_eq(&names(&first.changed_since(&second)));
}

#[test]
fn unchanged_files_are_the_same_object() {
    let dir = Dir::new(&[("a.xml", "a"), ("b.xml", "b")]);
    age(&dir, &["a.xml"]);
    let first = dir.scan(None);
    let second = dir.scan(Some(&first));
    for (path, file) in &first.files {
        assert!(Arc::ptr_eq(file, &second.files[path]), "{path:?}");
    }
    // Only the time is new.
    age(&dir, &["b.xml"]);
    let third = dir.scan(Some(&second));
    let (old, new) = (
        &second.files[Path::new("b.xml")],
        &third.files[Path::new("b.xml")],
    );
    assert!(Arc::ptr_eq(&old.text, &new.text) && old.modified != new.modified);
    assert!(third.changed_since(&second).is_empty());
}

/// A file is not read while its stamp stays, which shows when it cannot be read any more.
#[test]
fn old_files_are_not_opened_again() {
    let dir = Dir::new(&[("a.xml", "a")]);
    age(&dir, &["a.xml"]);
    let first = dir.scan(None);
    let limits = ScanLimits {
        max_file_bytes: 0,
        ..ScanLimits::default()
    };
    let second = scan(dir.root(), Some(&first), &limits).unwrap();
    assert_eq!(second.problems, []);
    assert!(Arc::ptr_eq(
        &first.files[Path::new("a.xml")],
        &second.files[Path::new("a.xml")]
    ));
}

/// Same length, and quick enough for a coarse clock to give the same time.
#[test]
fn quick_changes_are_seen() {
    let dir = Dir::new(&[]);
    let mut previous = Snapshot::default();
    let time = SystemTime::now() - Duration::from_millis(500);
    for i in 0..10 {
        dir.write("a.xml", &i.to_string());
        File::options()
            .append(true)
            .open(dir.at("a.xml"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        let now = dir.scan(Some(&previous));
        assert!(!now.changed_since(&previous).is_empty(), "{i}");
        previous = now;
    }
}

#[test]
fn what_cannot_be_read_is_a_problem_and_stays_as_it_was() {
    let dir = Dir::new(&[("a.xml", "a"), ("b.xml", "b"), ("c.xml", "c")]);
    let first = dir.scan(None);
    dir.write("a.xml", "longer than allowed");
    fs::remove_file(dir.at("b.xml")).unwrap();
    fs::remove_file(dir.at("c.xml")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere", dir.at("c.xml")).unwrap();
    dir.write("new.xml", "also too long");
    let limits = ScanLimits {
        max_file_bytes: 5,
        ..ScanLimits::default()
    };
    let second = scan(dir.root(), Some(&first), &limits).unwrap();
    expect![[r#"
        a.xml = a
        ROOT/a.xml: is larger than 5 bytes; what was read before stays in use
        ROOT/c.xml: is a link to something that does not exist
        ROOT/new.xml: is larger than 5 bytes
    "#]]
    .assert_eq(&dir.show(&second));
    expect!["added [] changed [] removed [b.xml c.xml]"]
        .assert_eq(&names(&second.changed_since(&first)));
}

#[test]
fn depth_and_number_are_bounded() {
    let dir = Dir::new(&[("1/a.xml", "a"), ("1/2/b.xml", "b"), ("1/2/3/c.xml", "c")]);
    dir.check(
        &ScanLimits {
            max_depth: 2,
            ..ScanLimits::default()
        },
        expect![[r#"
            1/2/b.xml = b
            1/a.xml = a
            ROOT/1/2/3: is nested more than 2 deep
        "#]],
    );
    let first = dir.scan(None);
    let limits = ScanLimits {
        max_entries: 2,
        ..ScanLimits::default()
    };
    let bounded = scan(dir.root(), Some(&first), &limits).unwrap();
    assert!(
        bounded.changed_since(&first).is_empty(),
        "what is beyond the bound stays"
    );
    expect![[r#"
        1/2/3/c.xml = c
        1/2/b.xml = b
        1/a.xml = a
        ROOT: has more than 2 entries; what comes after them is not read
    "#]]
    .assert_eq(&dir.show(&bounded));
}

#[test]
fn missing_and_impossible_roots() {
    let dir = Dir::new(&[("file", "")]);
    let missing = scan(&dir.at("no"), None, &ScanLimits::default()).unwrap();
    expect!["ROOT/no: the deployment directory does not exist\n"].assert_eq(&dir.show(&missing));
    assert!(scan(&dir.at("file"), None, &ScanLimits::default()).is_err());
}

#[test]
fn paths_are_shown_relative_to_the_working_directory() {
    let here = std::env::current_dir().unwrap();
    let cases = [
        (here.join("x/y"), "x/y"),
        (here.clone(), here.to_str().unwrap()),
        ("x/y".into(), "x/y"),
        ("./x".into(), "x"),
        ("../x".into(), "../x"),
        ("/no/where".into(), "/no/where"),
        (".".into(), "."),
    ];
    for (root, expected) in cases {
        assert_eq!(shown(&root), Path::new(expected), "{root:?}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let outside = Dir::new(&[("o.xml", "o"), ("sub/p.xml", "p")]);
    let dir = Dir::new(&[("a/x.xml", "x"), ("..data/k.xml", "k")]);
    symlink(dir.root(), dir.at("a/up")).unwrap();
    symlink("..", dir.at("a/up2")).unwrap();
    symlink("self", dir.at("self")).unwrap();
    symlink("self.xml", dir.at("self.xml")).unwrap();
    symlink(outside.root(), dir.at("out")).unwrap();
    symlink(dir.at("a"), outside.at("sub/back")).unwrap();
    symlink("..data/k.xml", dir.at("k.xml")).unwrap();
    symlink("nowhere", dir.at("gone")).unwrap();
    let shown = dir.show(&dir.scan(None));
    expect![[r#"
        a/x.xml = x
        k.xml = k
        out/o.xml = o
        out/sub/p.xml = p
        ROOT/self.xml: Too many levels of symbolic links (os error 40)
    "#]]
    .assert_eq(&shown);
}

#[cfg(unix)]
#[test]
fn a_pipe_does_not_block() {
    let dir = Dir::new(&[]);
    let made = std::process::Command::new("mkfifo")
        .arg(dir.at("p.xml"))
        .status();
    if made.is_ok_and(|s| s.success()) {
        dir.check(
            &ScanLimits::default(),
            expect![[r#"
                ROOT/p.xml: is not a regular file
            "#]],
        );
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_listed_keeps_its_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new(&[("a/x.xml", "x"), ("b.xml", "b")]);
    let first = dir.scan(None);
    let mode = |mode| fs::set_permissions(dir.at("a"), fs::Permissions::from_mode(mode));
    mode(0o000).unwrap();
    let refused = fs::read_dir(dir.at("a")).is_err();
    let second = dir.scan(Some(&first));
    mode(0o755).unwrap();
    assert!(second.changed_since(&first).is_empty());
    // The superuser may list anything.
    assert_eq!(
        second.problems.len(),
        usize::from(refused),
        "{:?}",
        second.problems
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "the writer of a half-written file has to wait"
)]
fn wait(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[test]
fn a_file_being_written_is_read_when_it_is_complete() {
    let dir = Dir::new(&[]);
    let mut file = File::create(dir.at("a.xml")).unwrap();
    file.write_all(b"<half").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait(20);
            file.write_all(b"/>").unwrap();
        });
        let snapshot = dir.scan(None);
        expect!["a.xml = <half/>\n"].assert_eq(&dir.show(&snapshot));
    });
}

/// Files that come and go are either there completely or not at all.
#[test]
fn vanishing_files_are_no_problem() {
    let dir = Dir::new(&[("stays.xml", "s")]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                dir.write("f/comes.xml", "c");
                fs::remove_dir_all(dir.at("f")).unwrap();
            }
        });
        for _ in 0..3 {
            let snapshot = dir.scan(None);
            assert_eq!(snapshot.files[Path::new("stays.xml")].text[..], *b"s");
            let other = snapshot
                .problems
                .iter()
                .find(|(_, p)| !p.contains("being written"));
            assert_eq!(other, None);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_sweep_is_equal_until_something_changes() {
    let dir = Dir::new(&[("a.xml", "a"), ("b/c.xml", "c")]);
    let limits = ScanLimits::default();
    let look = || sweep(dir.root(), &limits);
    let first = look();
    assert_eq!(first, look());
    dir.write("note.txt", "");
    fs::create_dir(dir.at("empty")).unwrap();
    assert_eq!(first, look());
    dir.write("b/c.xml", "longer");
    assert_ne!(first, look());
    assert_eq!(sweep(&dir.at("no"), &limits), Sweep::default());
}
