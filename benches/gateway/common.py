"""What the scenarios share: the programs, the gateways, and how figures are written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import fixtures
from fixtures import HOST, SIZES
from harness import CONTENT_TYPE, HERE, Problem, find_tool, must_be_free, until_up, wrk

ROOT = HERE.parent.parent


def say(text):
    print(text, file=sys.stderr, flush=True)


def spread(values, digits=2):
    """Median, with the range when there are several."""
    if not values:
        return "–"
    text = f"{median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f}–{max(values):.{digits}f})"


class Bench:
    """What the scenarios share."""

    def __init__(self, given, processes, directory):
        self.given, self.processes, self.directory = given, processes, directory
        self.log_count = 0
        self.samples = []
        self.failed = False
        base = given.port_base
        self.port, self.echo_port = base, base + 1
        self.sample_ports = [base + 11, base + 12, base + 13]
        self.pin()
        self.binary, self.backend = self.programs()
        self.settings = fixtures.myelin_settings(directory / "conf")
        self.bodies = {}
        must_be_free(self.port, self.echo_port, *self.sample_ports)

    def note(self, text):
        self.processes.note(text)

    def pin(self):
        given = self.given
        usable = os.sched_getaffinity(0)
        if not given.unpinned and not find_tool("taskset"):
            self.note("taskset is missing: nothing is pinned")
            given.unpinned = True
        if not given.unpinned and not set(given.cpus) <= usable:
            raise Problem(f"CPUs {given.cpus} are not all usable here ({sorted(usable)}); "
                          "choose with --cpus or run with --unpinned")
        self.gateway_cpus = None if given.unpinned else given.cpus[:1]
        self.load_cpus = None if given.unpinned else given.cpus[1:]
        self.workers = 2 if given.unpinned else 1

    def programs(self):
        given = self.given
        if given.binary:
            binary = given.binary.resolve()
            backend = (given.backend or binary.parent / "examples" / "bench-echo").resolve()
        else:
            # Separately: features that only tests and examples ask for stay out of the program.
            for what in (["--bin", "myelin"], ["--example", "bench-echo"]):
                say(f"cargo build --release {' '.join(what)}")
                if subprocess.run(["cargo", "build", "--release", *what], cwd=ROOT).returncode != 0:
                    raise Problem("the build failed")
            text = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"],
                                  cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
            release = Path(json.loads(text)["target_directory"]) / "release"
            binary = release / "myelin"
            backend = given.backend or release / "examples" / "bench-echo"
        for program in (binary, backend):
            if not os.access(program, os.X_OK):
                raise Problem(f"{program} is not there; run without --binary to build it")
        return binary, backend

    def log(self, name):
        self.log_count += 1
        return self.directory / f"{name}-{self.log_count}.log"

    def body(self, size, client_id=None, json=False):
        """The payload and the file it is in."""
        key = (size, client_id, json)
        if key not in self.bodies:
            body = fixtures.json_order(SIZES[size]) if json else fixtures.envelope(SIZES[size], client_id)
            file = self.directory / f"{size}{'-id' if client_id else ''}{'-json' if json else ''}"
            file.write_bytes(body)
            self.bodies[key] = (body, file)
        return self.bodies[key]

    def start_backend(self, ports, *options):
        must_be_free(*ports)
        child = self.processes.spawn([self.backend, *options, *ports], self.load_cpus, self.log("backend"))
        for port in ports:
            until_up(child, port)
        return child

    def myelin(self, deployment):
        return [self.binary, "run", "--deployment", deployment, "--config", self.settings,
                "--http-port", self.port, "--https-port", 0, "--management-port", 0,
                "--internal-port", 0]

    def check_log(self, child):
        """Errors that Myelin logged belong into the report."""
        text = child.log.read_text(errors="replace")
        odd = [line for line in text.splitlines()
               if "] ERROR {" in line or "panicked" in line or "connections were cut" in line]
        for line in odd[:3]:
            self.note("myelin logged: " + re.sub(r"^\[[^]]*\] *", "", line)[:300])

    def wrk(self, path, file, seconds, connections=None, watch=None, content_type=CONTENT_TYPE,
            rate=None):
        return wrk(self.processes, self.port, path, file, connections or self.given.connections[0],
                   seconds, self.load_cpus, watch, content_type, rate)

    def knows(self, deployment):
        """Whether this build takes the artifacts of a directory."""
        done = subprocess.run([self.binary, "check", deployment], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        return done.returncode == 0


class Contender:
    """One gateway in one role."""

    def __init__(self, name, argv, path, client_id=None, verify=None, json=False):
        self.name, self.argv, self.path = name, argv, path
        self.client_id, self.verify, self.json = client_id, verify, json
        self.content_type = "application/json" if json else CONTENT_TYPE

    @property
    def ours(self):
        return self.name.startswith("myelin")


def others(bench, directory, ports, path, verify, connections=4096):
    """nginx and HAProxy, as far as they are there."""
    out = []
    if tool := find_tool("nginx"):
        config = fixtures.nginx(directory, bench.port, ports, bench.workers, os.geteuid() == 0,
                                connections)
        out.append(Contender("nginx", [tool, "-e", "stderr", "-p", directory, "-c", config], path, verify=verify))
    else:
        bench.note("nginx is missing: no ratios")
    if tool := find_tool("haproxy"):
        config = fixtures.haproxy(directory, bench.port, ports, bench.workers, connections)
        out.append(Contender("haproxy", [tool, "-db", "-f", config], path, verify=verify))
    else:
        bench.note("haproxy is missing")
    return out
