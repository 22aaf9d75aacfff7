//! Snapshots of what the command line prints. `UPDATE_EXPECT=1` writes them anew.

use expect_test::{Expect, expect};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Runs the program in a directory: exit code, standard output, standard error.
fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_myelin"))
        .args(arguments)
        .current_dir(folder)
        // The width of the help must not depend on where the test runs.
        .env("COLUMNS", "100")
        .env_remove("MYELIN_LOG")
        .output();
    let output = match output {
        Ok(output) => output,
        Err(e) => return format!("the program does not start: {e}"),
    };
    let mut out = String::new();
    if let Some(code) = output.status.code().filter(|c| *c != 0) {
        let _ = writeln!(out, "exit code {code}");
    }
    out.push_str(&String::from_utf8_lossy(&output.stdout));
    if !output.stderr.is_empty() {
        let _ = write!(
            out,
            "on standard error:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    out.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn help(arguments: &[&str], expected: &Expect) {
    expected.assert_eq(&run(Path::new("."), arguments));
}

/// Files in a directory of their own.
fn check(files: &[(&str, &[u8])], arguments: &[&str], expected: &Expect) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a written file");
    }
    let mut all = vec!["check"];
    all.extend(arguments);
    expected.assert_eq(&run(folder.path(), &all));
}

const BROKEN: (&str, &[u8]) = ("broken.xml", b"<proxy name=\"P\"\n  <target/>\n</proxy>\n");
const TYPO: (&str, &[u8]) = (
    "typo.xml",
    b"<sequence name=\"S\" xmlns=\"http://ws.apache.org/ns/synapse\">\n    <respnd/>\n    <log levle=\"full\"/>\n</sequence>\n",
);
const DANGLING: (&str, &[u8]) = (
    "dangling.xml",
    b"<proxy name=\"P\" xmlns=\"http://ws.apache.org/ns/synapse\">\n    <target endpoint=\"Nowhere\">\n        <outSequence>\n            <send/>\n        </outSequence>\n    </target>\n</proxy>\n",
);
const GOOD: (&str, &[u8]) = (
    "good.xml",
    b"<sequence name=\"S\" xmlns=\"http://ws.apache.org/ns/synapse\">\n    <respond/>\n</sequence>\n",
);

#[test]
fn help_of_the_program() {
    help(
        &["--help"],
        &expect![[r#"
        A native runtime for Apache Synapse and WSO2 Micro Integrator configurations

        Usage: myelin <COMMAND>

        Commands:
          run      Deploy a directory and serve it
          check    Load and link artifacts without running them
          backend  Serve the SimpleStockQuote sample back-end
          tap      Forward HTTP to a target and print what goes through
          help     Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help
          -V, --version  Print version
    "#]],
    );
}

#[test]
fn help_of_run() {
    help(
        &["run", "--help"],
        &expect![[r#"
        Deploy a directory and serve it

        Usage: myelin run [OPTIONS]

        Options:
              --deployment <DIR>        Directory with artifacts; changes in it are deployed at once
                                        [default: deployment]
              --config <FILE>           Settings file in the format of MI's deployment.toml
              --http-port <PORT>        Port of the HTTP listener; 0 picks a free one [default: 8290]
              --https-port <PORT>       Port of the HTTPS listener; 0 picks a free one [default: 8253]
              --management-port <PORT>  Port of the management API (HTTPS, on loopback); 0 picks a free one
                                        [default: 9164]
              --internal-port <PORT>    Port of health and endpoint states; 0 picks a free one [default:
                                        9201]
              --sample-backends         Also start three sample back-ends on 9001, 9002 and 9003
          -h, --help                    Print help
    "#]],
    );
}

#[test]
fn help_of_check() {
    help(
        &["check", "--help"],
        &expect![[r#"
            Load and link artifacts without running them

            Usage: myelin check [OPTIONS] <PATH>...

            Arguments:
              <PATH>...
                      Files and directories with artifacts

            Options:
                  --config <FILE>
                      Settings file in the format of MI's deployment.toml, as for `run`: variables in artifacts
                      are filled in from it and from the file.properties beside it

                  --format <FORMAT>
                      How findings are printed

                      Possible values:
                      - text: For people
                      - json: One JSON object with the key "diagnostics"

                      [default: text]

                  --syntax-only
                      Read each file by itself: references between artifacts are not checked

              -h, --help
                      Print help (see a summary with '-h')
        "#]],
    );
}

#[test]
fn help_of_backend() {
    help(
        &["backend", "--help"],
        &expect![[r#"
        Serve the SimpleStockQuote sample back-end

        Usage: myelin backend [OPTIONS]

        Options:
              --port <PORT>       Port to listen on (0: any free port) [default: 9000]
              --host <HOST>       Host name or address to listen on; 0.0.0.0 makes the service reachable
                                  from elsewhere [default: 127.0.0.1]
              --name <NAME>       Name sent in the X-Backend header and written to the log [default:
                                  backend-PORT]
              --delay <DURATION>  Wait this long before every answer, for example 200ms, 2s or 1m
              --fail <N%>         Answer this share of the requests, evenly spaced, with a fault and status
                                  500
              --status <CODE>     Answer every request with this status; from 400 on with a fault, and
                                  without doing anything
          -h, --help              Print help
    "#]],
    );
}

#[test]
fn help_of_tap() {
    help(
        &["tap", "--help"],
        &expect![[r#"
        Forward HTTP to a target and print what goes through

        Usage: myelin tap --listen <[HOST:]PORT> --target <HOST:PORT>

        Options:
              --listen <[HOST:]PORT>  Port or HOST:PORT to listen on (host 127.0.0.1 if left out); may be
                                      repeated
              --target <HOST:PORT>    Where to forward to: once for all listeners, or once for each, in the
                                      same order
          -h, --help                  Print help
    "#]],
    );
}

#[test]
fn an_unknown_command() {
    help(
        &["chekc"],
        &expect![[r#"
        exit code 2
        on standard error:
        error: unrecognized subcommand 'chekc'

          tip: a similar subcommand exists: 'check'

        Usage: myelin <COMMAND>

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn check_of_good_artifacts() {
    check(
        &[GOOD],
        &["good.xml"],
        &expect![[r#"
        0 errors, 0 warnings
    "#]],
    );
}

#[test]
fn check_of_xml_that_is_not_well_formed() {
    check(
        &[BROKEN],
        &["broken.xml"],
        &expect![[r#"
        exit code 1
        error[M0001]: invalid name token
         --> broken.xml:2:3
          |
        2 |   <target/>
          |   ^
        1 error, 0 warnings
    "#]],
    );
}

#[test]
fn check_of_slips() {
    check(
        &[TYPO],
        &["typo.xml"],
        &expect![[r#"
        exit code 1
        error[M0101]: Unknown mediator referenced by configuration element : {http://ws.apache.org/ns/synapse}respnd
         --> typo.xml:2:5
          |
        2 |     <respnd/>
          |     ^^^^^^^
          = help: did you mean <respond>?
        warning[M0005]: attribute "levle" is not known on <log>; it has no effect
         --> typo.xml:3:10
          |
        3 |     <log levle="full"/>
          |          ^^^^^
          = help: did you mean "level"?
        1 error, 1 warning
    "#]],
    );
}

#[test]
fn check_of_references() {
    check(
        &[DANGLING],
        &["dangling.xml"],
        &expect![[r#"
        exit code 1
        error[M0102]: endpoint "Nowhere" is not defined
         --> dangling.xml:2:23
          |
        2 |     <target endpoint="Nowhere">
          |                       ^^^^^^^
        1 error, 0 warnings
    "#]],
    );
}

#[test]
fn check_without_references() {
    check(
        &[DANGLING],
        &["--syntax-only", "dangling.xml"],
        &expect![[r#"
        0 errors, 0 warnings
    "#]],
    );
}

#[test]
fn check_of_several_files_as_json() {
    let files = [BROKEN, TYPO, DANGLING, GOOD];
    check(
        &files,
        &["--format", "json", "."],
        &expect![[r#"
        exit code 1
        {
          "diagnostics": [
            {
              "file": "./broken.xml",
              "line": 2,
              "column": 3,
              "code": "M0001",
              "severity": "error",
              "message": "invalid name token",
              "help": null
            },
            {
              "file": "./dangling.xml",
              "line": 2,
              "column": 23,
              "code": "M0102",
              "severity": "error",
              "message": "endpoint \"Nowhere\" is not defined",
              "help": null
            },
            {
              "file": "./typo.xml",
              "line": 2,
              "column": 5,
              "code": "M0101",
              "severity": "error",
              "message": "Unknown mediator referenced by configuration element : {http://ws.apache.org/ns/synapse}respnd",
              "help": "did you mean <respond>?"
            },
            {
              "file": "./typo.xml",
              "line": 3,
              "column": 10,
              "code": "M0005",
              "severity": "warning",
              "message": "attribute \"levle\" is not known on <log>; it has no effect",
              "help": "did you mean \"level\"?"
            }
          ]
        }
    "#]],
    );
}

#[test]
fn check_of_what_is_not_there() {
    check(
        &[],
        &["missing.xml"],
        &expect![[r#"
        exit code 2
        on standard error:
        myelin: cannot read missing.xml: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn check_of_what_is_not_there_as_json() {
    check(
        &[],
        &["--format", "json", "missing.xml"],
        &expect![[r#"
        exit code 2
        {
          "diagnostics": []
        }
        on standard error:
        myelin: cannot read missing.xml: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn check_of_an_archive() {
    check(
        &[("Shop_1.0.0.car", b"PK\x03\x04\xff")],
        &["Shop_1.0.0.car"],
        &expect![[r#"
        exit code 1
        error[M0002]: Carbon applications (.car) are not read yet; unpack it and put its artifact files into the deployment directory
         --> Shop_1.0.0.car:1:1
        1 error, 0 warnings
    "#]],
    );
}
