#!/usr/bin/env python3
"""Benchmark of Myelin as a gateway, beside nginx and HAProxy. See README.md in this folder."""

import sys

sys.dont_write_bytecode = True

import argparse
import http.client
import json
import os
import platform
import re
import select
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import fixtures
from fixtures import HOST, SIZES
from harness import (HEADERS, HERE, Problem, Processes, backend_count, cpu_of, find_tool,
                     machine_cpu, memory_of, must_be_free, post, tail, tree_of, until_up, wrk)

ROOT = HERE.parent.parent
SCENARIOS = ["direct", "sample", "start", "instructions"]
CLIENT_ID = "client-0001"


def say(text):
    print(text, file=sys.stderr, flush=True)


# Set-up ------------------------------------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a look whether it works: one short round, two sizes")
    add("--rounds", type=int, metavar="N", help="rounds over all gateways [default: 5, quick: 1]")
    add("--scenario", action="append", choices=SCENARIOS, metavar="NAME",
        help=f"one of {', '.join(SCENARIOS)}; may be repeated [default: all]")
    add("--sizes", metavar="LIST", help=f"of {','.join(SIZES)} [default: all, quick: 500,10k]")
    add("--seconds", type=int, metavar="N", help="length of one sample [default: 3, quick: 1]")
    add("--connections", type=int, default=100, metavar="N", help="connections of wrk [default: 100]")
    add("--unpinned", action="store_true", help="no CPU pinning; two workers for each gateway")
    add("--cpus", default="0,1", metavar="A,B",
        help="CPU of the gateway and CPU of wrk and back-end [default: 0,1]")
    add("--max-noise", type=float, default=15.0, metavar="PERCENT",
        help="steal or foreign CPU above which a sample does not count [default: 15]")
    add("--binary", type=Path, metavar="PATH", help="a built myelin; nothing is built then")
    add("--backend", type=Path, metavar="PATH",
        help="a built bench-echo [default: examples/bench-echo beside --binary]")
    add("--port-base", type=int, default=19000, metavar="PORT", help="first of 14 ports [default: 19000]")
    add("--json", type=Path, metavar="FILE", help="write every single sample there, too")
    given = parser.parse_args()
    given.scenario = given.scenario or SCENARIOS
    given.rounds = given.rounds or (1 if given.quick else 5)
    given.seconds = given.seconds or (1 if given.quick else 3)
    sizes = (given.sizes or ("500,10k" if given.quick else ",".join(SIZES))).split(",")
    if unknown := [s for s in sizes if s not in SIZES]:
        parser.error(f"unknown size {unknown[0]}; known: {', '.join(SIZES)}")
    given.sizes = sizes
    try:
        given.cpus = [int(c) for c in given.cpus.split(",")]
        assert len(given.cpus) == 2
    except (ValueError, AssertionError):
        parser.error("--cpus needs two numbers")
    if given.rounds < 1 or not 1 <= given.seconds <= 60 or not 1 <= given.connections <= 1000:
        parser.error("--rounds must be at least 1, --seconds 1 to 60, --connections 1 to 1000")
    return given


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

    def body(self, size, client_id=None):
        """The payload and the file it is in."""
        key = (size, client_id)
        if key not in self.bodies:
            body = fixtures.envelope(SIZES[size], client_id)
            file = self.directory / f"{size}{'-id' if client_id else ''}.xml"
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

    def wrk(self, path, file, seconds, connections=None, watch=None):
        return wrk(self.processes, self.port, path, file, connections or self.given.connections,
                   seconds, self.load_cpus, watch)


class Contender:
    """One gateway in one role."""

    def __init__(self, name, argv, path, client_id=None, verify=None):
        self.name, self.argv, self.path = name, argv, path
        self.client_id, self.verify = client_id, verify

    @property
    def ours(self):
        return self.name.startswith("myelin")


def others(bench, directory, ports, path, verify):
    """nginx and HAProxy, as far as they are there."""
    out = []
    if tool := find_tool("nginx"):
        config = fixtures.nginx(directory, bench.port, ports, bench.workers, os.geteuid() == 0)
        out.append(Contender("nginx", [tool, "-e", "stderr", "-p", directory, "-c", config], path, verify=verify))
    else:
        bench.note("nginx is missing: no ratios")
    if tool := find_tool("haproxy"):
        config = fixtures.haproxy(directory, bench.port, ports, bench.workers)
        out.append(Contender("haproxy", [tool, "-db", "-f", config], path, verify=verify))
    else:
        bench.note("haproxy is missing")
    return out


def direct_contenders(bench):
    directory = bench.directory / "direct"
    fixtures.echo_proxy(directory / "artifacts", bench.echo_port)
    path = "/services/Echo"
    ours = Contender("myelin", bench.myelin(directory / "artifacts"), path, verify=verify_echo)
    return [ours, *others(bench, directory, [bench.echo_port], path, verify_echo)]


def sample_contenders(bench):
    directory = bench.directory / "sample"
    fixtures.sample(ROOT / "deployment", directory / "artifacts", bench.sample_ports)
    path = "/services/LoadBalanceProxy"
    argv = bench.myelin(directory / "artifacts")
    return [Contender("myelin", argv, path, verify=verify_balanced),
            Contender("myelin, ClientID", argv, path, CLIENT_ID, verify_session),
            *others(bench, directory, bench.sample_ports, path, verify_202)]


# Verification ------------------------------------------------------------------------------------


def expect(condition, text):
    if not condition:
        raise Problem("wrong answer before the measurement: " + text)


def verify_echo(port, contender, body):
    for _ in range(3):
        status, headers, answer = post(port, contender.path, body)
        expect(status == 200 and answer == body,
               f"{contender.name}: status {status}, {len(answer)} bytes instead of {len(body)}")
        expect(headers.get("X-Backend"), f"{contender.name}: no header of the back-end")


def reached(port, contender, body):
    """The back-ends that three one-way orders reached."""
    out = []
    for _ in range(3):
        status, headers, answer = post(port, contender.path, body)
        expect(status == 202 and not answer, f"{contender.name}: status {status}, {answer[:300]!r}")
        out.append(headers.get("X-Backend"))
    return out


def verify_202(port, contender, body):
    expect(all(reached(port, contender, body)), f"{contender.name}: no header of the back-end")


def arrives_addressed(port, contender, body):
    """What the back-end got: all of the order, and the headers that the sample adds."""
    status, _, answer = post(port, contender.path, body, {"X-Bench-Echo": "1"})
    start, end = body.index(b"<s:placeOrder"), body.index(b"</soapenv:Body>")
    expect(status == 200 and body[start:end] in answer, f"{contender.name}: the order was changed")
    for part in (rb"<\w+:To\b[^>]*>http://localhost:", rb"<\w+:Action\b[^>]*>urn:placeOrder<",
                 rb"http://www\.w3\.org/2005/08/addressing"):
        expect(re.search(part, answer), f"{contender.name}: {part!r} is not in {answer[:400]!r}")
    if contender.client_id:
        expect(contender.client_id.encode() in answer, f"{contender.name}: the ClientID is gone")


def verify_balanced(port, contender, body):
    backends = reached(port, contender, body)
    expect(len(set(backends)) == 3, f"{contender.name}: not balanced over three: {backends}")
    arrives_addressed(port, contender, body)


def verify_session(port, contender, body):
    backends = reached(port, contender, body)
    expect(backends[0] and len(set(backends)) == 1, f"{contender.name}: session spread over {backends}")
    arrives_addressed(port, contender, body)


# Load --------------------------------------------------------------------------------------------


def measure(bench, contender, size, backend):
    """One sample on a fresh gateway."""
    body, file = bench.body(size, contender.client_id)
    must_be_free(bench.port)
    child = bench.processes.spawn(contender.argv, bench.gateway_cpus, bench.log("gateway"))
    try:
        until_up(child, bench.port)
        contender.verify(bench.port, contender, body)
        bench.wrk(contender.path, file, 1)  # warm-up
        pids = tree_of(child.pid)
        count_port = bench.echo_port if contender.path == "/services/Echo" else bench.sample_ports[0]
        count = backend_count(count_port)
        gateway, behind = cpu_of(pids), cpu_of([backend.pid])
        (busy, steal), start = machine_cpu(), time.monotonic()
        load = bench.wrk(contender.path, file, bench.given.seconds)
        gateway, behind = cpu_of(pids) - gateway, cpu_of([backend.pid]) - behind
        (busy_after, steal_after), end = machine_cpu(), time.monotonic()
        count = backend_count(count_port) - count
        if child.poll() is not None:
            raise Problem(f"{contender.name} ended under load:\n{tail(child.log)}")
        hwm = memory_of(pids, "VmHWM")
    finally:
        bench.processes.end(child)
        if contender.ours:
            bench.check_log(child)
    if load.requests == 0:
        raise Problem(f"{contender.name}: no request was answered within {load.seconds:.1f} s")
    if count < load.requests:
        raise Problem(f"{contender.name}: {load.requests} answers, but only {count} requests reached the back-end")
    whole = (end - start) * (os.cpu_count() or 1)
    foreign = max(0.0, busy_after - busy - gateway - behind - load.cpu)
    return {
        "gateway": contender.name, "size": size, "requests": load.requests,
        "rate": load.requests / load.seconds, "p50": load.p50, "p99": load.p99,
        "cpu": gateway / load.requests * 1e6,
        "load_cpu": (behind + load.cpu) / load.requests * 1e6,
        "rel": gateway / max(behind + load.cpu, 1e-9),
        "hwm": hwm, "errors": load.errors, "error_kinds": load.kinds,
        "steal": 100 * (steal_after - steal) / whole, "foreign": 100 * foreign / whole,
    }


def noise(sample):
    return max(sample["steal"], sample["foreign"])


def load_scenario(bench, name, title, contenders, ports, *options):
    given = bench.given
    backend = bench.start_backend(ports, *options)
    samples = []
    try:
        for number in range(1, given.rounds + 1):
            for size in given.sizes:
                for contender in contenders:
                    sample = measure(bench, contender, size, backend)
                    if noise(sample) > given.max_noise and not given.quick:
                        again = measure(bench, contender, size, backend)
                        sample = min(sample, again, key=noise)
                    sample.update(scenario=name, round=number)
                    samples.append(sample)
                    say(f"{name} {number}/{given.rounds} {size:>4} {contender.name:<16} "
                        f"{sample['rate']:7.0f}/s  {sample['cpu']:6.1f} us  rel {sample['rel']:.2f}  "
                        f"errors {sample['errors']}  steal {sample['steal']:.0f} %  "
                        f"foreign {sample['foreign']:.0f} %")
    finally:
        bench.processes.end(backend)
        bench.samples += samples
        if samples:
            load_tables(bench, title, contenders, samples)


def spread(values, digits=2):
    """Median, with the range when there are several."""
    if not values:
        return "–"
    text = f"{median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def load_tables(bench, title, contenders, samples):
    limit = bench.given.max_noise
    for size in bench.given.sizes:
        of_size = [s for s in samples if s["size"] == size]
        if not of_size:
            continue
        print(f"\n### {title}, {SIZES[size]} bytes, {bench.given.connections} connections\n")
        print("| gateway | req/s | p50 ms | p99 ms | CPU µs/req | load µs/req | rel "
              "| req/s ÷ nginx | CPU ÷ nginx | rel ÷ nginx | VmHWM MB | errors | steal % | foreign % | rounds |")
        print("|---|" + "---:|" * 14)

        def counted(name):
            """(samples by round, how many were dropped for noise; None if only noisy ones are left)"""
            rows = [s for s in of_size if s["gateway"] == name]
            quiet = [s for s in rows if noise(s) <= limit]
            dropped = len(rows) - len(quiet) if quiet else None
            return {s["round"]: s for s in quiet or rows}, rows, dropped

        nginx, _, _ = counted("nginx")
        for contender in contenders:
            used, rows, dropped = counted(contender.name)
            if not rows:
                continue

            def middle(key, digits):
                return f"{median(s[key] for s in used.values()):.{digits}f}"

            def ratio(key):
                return spread([used[r][key] / nginx[r][key] for r in used if r in nginx and nginx[r][key]])

            errors = sum(s["errors"] for s in rows)
            if errors:
                bench.failed = True
                kinds = {k: v for s in rows for k, v in s["error_kinds"].items() if v}
                bench.note(f"{title}, {size}: {contender.name} had {errors} errors: {kinds}")
            rounds = "all noisy" if dropped is None else str(len(used))
            rounds += f" of {len(rows)}" if dropped else ""
            print(f"| {contender.name} | {middle('rate', 0)} | {middle('p50', 2)} | {middle('p99', 2)} "
                  f"| {middle('cpu', 1)} | {middle('load_cpu', 1)} | {spread([s['rel'] for s in used.values()])} "
                  f"| {ratio('rate')} | {ratio('cpu')} | {ratio('rel')} | {middle('hwm', 1)} "
                  f"| {'**' + str(errors) + '**' if errors else 0} "
                  f"| {max(s['steal'] for s in rows):.0f} | {max(s['foreign'] for s in rows):.0f} | {rounds} |")
    sys.stdout.flush()


def direct(bench):
    if not find_tool("wrk"):
        return bench.note("wrk is missing: direct was skipped")
    load_scenario(bench, "direct", "Direct proxy", direct_contenders(bench), [bench.echo_port])


def sample(bench):
    if not find_tool("wrk"):
        return bench.note("wrk is missing: sample was skipped")
    load_scenario(bench, "sample", "Sample: session load balance over three back-ends",
                  sample_contenders(bench), bench.sample_ports, "--reply-202")


# Start-up, memory, hot deployment ----------------------------------------------------------------


def request_bytes(path, body):
    head = [f"POST {path} HTTP/1.1", f"Host: {HOST}", f"Content-Length: {len(body)}"]
    head += [f"{k}: {v}" for k, v in HEADERS.items()]
    return "\r\n".join([*head, "", ""]).encode() + body


def start_once(bench, deployment, path, body, wanted):
    """(the process, ms from exec to the line, ms to the first answer, ms as logged)"""
    must_be_free(bench.port)
    log = bench.log("start")
    request = request_bytes(path, body)
    start = time.monotonic()
    child = bench.processes.spawn(bench.myelin(deployment), None, log)
    client = ready = answered = logged = None
    answer, position, text = b"", 0, ""
    try:
        while ready is None or answered is None:
            now = time.monotonic()
            if ready is None:
                with open(log, "rb") as file:
                    file.seek(position)
                    new = file.read()
                position += len(new)
                text += new.decode(errors="replace")
                if found := re.search(r"ready in (\d+) ms", text):
                    ready, logged = now - start, int(found.group(1))
            if client is None:
                client = socket.socket()
                client.settimeout(10.0)
                if client.connect_ex((HOST, bench.port)) == 0:
                    client.sendall(request)
                else:
                    client.close()
                    client = None
            if client and answered is None:
                if select.select([client], [], [], 0.0005)[0]:
                    part = client.recv(4096)
                    answer += part
                    if b"\r\n\r\n" in answer or not part:
                        answered = time.monotonic() - start
            else:
                time.sleep(0.0005)
            if child.poll() is not None:
                raise Problem(f"myelin ended at start:\n{tail(log)}")
            if now - start > 60:
                raise Problem(f"myelin is not ready after 60 s:\n{tail(log)}")
        status = answer.split(b"\r\n", 1)[0].decode(errors="replace")
        if f" {wanted} " not in status + " ":
            raise Problem(f"the first answer was {status!r}\n{tail(log)}")
    except BaseException:
        bench.processes.end(child)
        raise
    finally:
        if client:
            client.close()
    return child, ready * 1e3, answered * 1e3, logged


def start_up(bench):
    given = bench.given
    runs = 2 if given.quick else max(5, given.rounds)
    sample_dir, many_dir = bench.directory / "start-2", bench.directory / "start-1000"
    fixtures.sample(ROOT / "deployment", sample_dir, bench.sample_ports)
    fixtures.many(many_dir, 1000, bench.echo_port)
    small, _ = bench.body("500")
    _, file = bench.body("10k")
    backends = [bench.start_backend([bench.echo_port]),
                bench.start_backend(bench.sample_ports, "--reply-202")]
    rows = []
    try:
        for name, directory, path, wanted in (
                ("sample (deployment/)", sample_dir, "/services/LoadBalanceProxy", 202),
                ("1,000 proxies", many_dir, "/services/P0500", 200)):
            times, idle, loaded, hwm = [], [], [], []
            for run in range(runs):
                child, *measured = start_once(bench, directory, path, small, wanted)
                try:
                    times.append(measured)
                    if run >= (1 if given.quick else 3):
                        continue  # memory repeats well
                    time.sleep(1.0)
                    idle.append(memory_of([child.pid], "VmRSS"))
                    if not find_tool("wrk"):
                        continue
                    peak = []
                    load = wrk(bench.processes, bench.port, path, file, 100, max(given.seconds, 2),
                               watch=lambda: peak.append(memory_of([child.pid], "VmRSS")))
                    loaded.append(max(peak))
                    hwm.append(memory_of([child.pid], "VmHWM"))
                    if load.errors:
                        bench.failed = True
                        bench.note(f"{name}: errors under load: {load.kinds}")
                finally:
                    bench.processes.end(child)
                    bench.check_log(child)
            rows.append((name, times, idle, loaded, hwm))
            bench.samples.append({"scenario": "start", "deployment": name, "times_ms": times,
                                  "rss_idle": idle, "rss_loaded": loaded, "hwm": hwm})
            say(f"start {name}: ready {spread([t[0] for t in times], 1)} ms")
    finally:
        for backend in backends:
            bench.processes.end(backend)
    if not find_tool("wrk"):
        bench.note("wrk is missing: no memory under load")
    print(f"\n### Start-up and memory ({runs} starts, unpinned)\n")
    print("| deployment | exec to \"ready in\" ms | exec to first answer ms | as logged ms | VmRSS idle MB "
          "| VmRSS 100 connections, 10 KB, MB | VmHWM MB |")
    print("|---|" + "---:|" * 6)
    for name, times, idle, loaded, hwm in rows:
        columns = [spread(list(c), 1) for c in zip(*times)]
        columns += [spread(m, 1) for m in (idle, loaded, hwm)]
        print(f"| {name} | " + " | ".join(columns) + " |")
    sys.stdout.flush()


def hot_deployment(bench):
    """From the end of the last write of a file to the first answer of the new kind."""
    changes = 3 if bench.given.quick else 10
    small, _ = bench.body("500")
    rows = []
    for total in (2, 1000):
        directory = bench.directory / f"hot-{total}"
        if total == 2:
            fixtures.write(directory / "Common.xml", fixtures.artifact(
                "Common", '<property name="PASSED" value="true"/>', kind="sequence"))
        else:
            fixtures.many(directory, total - 3, bench.echo_port)
        file = directory / "Hot.xml"
        statuses = [200, 203]
        fixtures.hot_proxy(file, statuses[0])
        child, *_ = start_once(bench, directory, "/services/Hot", small, statuses[0])
        connection = http.client.HTTPConnection(HOST, bench.port, timeout=10.0)
        waits, asked, odd = [], 0, 0
        try:
            for change in range(1, changes + 1):
                # Uneven, so that the changes do not fall into step with anything periodic.
                time.sleep(0.5 + 0.37 * (change % 4))
                old, new = statuses[(change - 1) % 2], statuses[change % 2]
                fixtures.hot_proxy(file, new)
                written = time.monotonic()
                while True:
                    connection.request("POST", "/services/Hot", small, HEADERS)
                    response = connection.getresponse()
                    response.read()
                    now = time.monotonic()
                    asked += 1
                    if response.status == new:
                        waits.append((now - written) * 1e3)
                        break
                    odd += response.status != old
                    if now - written > 30:
                        raise Problem(f"the change of {file.name} is not live after 30 s:\n{tail(child.log)}")
                    time.sleep(0.001)
        finally:
            connection.close()
            bench.processes.end(child)
            bench.check_log(child)
        if odd:
            bench.failed = True
            bench.note(f"hot deployment: {odd} of {asked} answers were neither the old nor the new one")
        rows.append((total, waits, odd))
        bench.samples.append({"scenario": "hot", "artifacts": total, "ms": waits, "odd": odd})
        say(f"hot deployment, {total} artifacts: {spread(waits, 1)} ms")
    print("\n### Hot deployment: last write of one file to new behaviour\n")
    print("| artifacts | ms | changes | odd answers |\n|---:|---:|---:|---:|")
    for total, waits, odd in rows:
        print(f"| {total:,} | {spread(waits, 1)} | {len(waits)} | {odd} |")
    sys.stdout.flush()


def start(bench):
    start_up(bench)
    hot_deployment(bench)


# Instructions ------------------------------------------------------------------------------------


def control(pid, state):
    done = subprocess.run([find_tool("callgrind_control"), "-i", state, str(pid)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60, text=True)
    if done.returncode != 0 or "OK" not in done.stdout:
        raise Problem(f"callgrind_control -i {state} failed:\n{done.stdout}")


def instructions_once(bench, contender, size, seconds, count_port):
    body, file = bench.body(size, contender.client_id)
    must_be_free(bench.port)
    directory = Path(tempfile.mkdtemp(dir=bench.directory))
    argv = [find_tool("valgrind"), "--tool=callgrind", "--instr-atstart=no",
            f"--callgrind-out-file={directory}/callgrind.out.%p", *contender.argv]
    if contender.name == "nginx":
        argv += ["-g", "master_process off;"]
    child = bench.processes.spawn(argv, bench.gateway_cpus, bench.log("callgrind"))
    try:
        until_up(child, bench.port, patience=120.0)
        contender.verify(bench.port, contender, body)
        bench.wrk(contender.path, file, 2, 50)  # warm-up
        control(child.pid, "on")
        before = backend_count(count_port)
        load = bench.wrk(contender.path, file, seconds, 50)
        # The last 50 come to their end; the back-end has counted them, wrk has not.
        time.sleep(0.5)
        count = backend_count(count_port) - before
        control(child.pid, "off")
    finally:
        bench.processes.end(child, patience=60.0)
        if contender.ours:
            bench.check_log(child)
    totals = [int(t) for file in directory.glob("callgrind.out.*")
              for t in re.findall(r"^totals: (\d+)", file.read_text(errors="replace"), re.M)]
    if not totals or not count:
        raise Problem(f"{contender.name}: nothing was counted ({count} requests):\n{tail(child.log)}")
    if load.errors:
        bench.failed = True
        bench.note(f"instructions: {contender.name} had {load.errors} errors: {load.kinds}")
    return sum(totals) / count, count


def instructions(bench):
    for tool in ("valgrind", "callgrind_control", "wrk"):
        if not find_tool(tool):
            return bench.note(f"{tool} is missing: instructions was skipped")
    given = bench.given
    # Long enough that opening the 50 connections does not matter.
    runs, seconds = (1, 2) if given.quick else (2, 10)
    parts = [("Direct proxy", direct_contenders(bench), [bench.echo_port], [])]
    if not given.quick:
        ours = [c for c in sample_contenders(bench) if c.ours]
        parts.append(("Sample", ours, bench.sample_ports, ["--reply-202"]))
    rows = []
    for title, contenders, ports, options in parts:
        backend = bench.start_backend(ports, *options)
        try:
            for contender in contenders:
                values, requests = [], 0
                for _ in range(runs if contender.ours else 1):
                    value, count = instructions_once(bench, contender, "500", seconds, ports[0])
                    values.append(value)
                    requests += count
                    say(f"instructions {title} {contender.name}: {value:.0f} ({count} requests)")
                rows.append((title, contender.name, values, requests))
                bench.samples.append({"scenario": "instructions", "flow": title, "gateway": contender.name,
                                      "instructions": values, "requests": requests})
        finally:
            bench.processes.end(backend)
    print("\n### User instructions per request, 500 bytes, 50 connections (callgrind)\n")
    print("| flow | gateway | instructions | requests |\n|---|---|---:|---:|")
    for title, name, values, requests in rows:
        print(f"| {title} | {name} | {spread(values, 0)} | {requests} |")
    sys.stdout.flush()


# Report ------------------------------------------------------------------------------------------


def output_of(*argv):
    try:
        done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=10, text=True, errors="replace")
        return done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def header(bench):
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    versions = []
    for name, option in (("nginx", "-v"), ("haproxy", "-v"), ("wrk", "-v"), ("valgrind", "--version")):
        if tool := find_tool(name):
            found = re.search(r"\d+\.\d+(\.\d+)?", output_of(tool, option))
            versions.append(f"{name} {found.group(0) if found else '?'}")
    given = bench.given
    revision = output_of("git", "rev-parse", "--short", "HEAD")
    changed = "+changes" if output_of("git", "status", "--porcelain", "--untracked-files=no") else ""
    layout = (f"gateway on CPU {given.cpus[0]}, wrk and back-end on CPU {given.cpus[1]}"
              if bench.gateway_cpus else "unpinned, two workers each")
    print(f"## Gateway benchmark{' (quick: not for comparison)' if given.quick else ''}\n")
    print(f"- {time.strftime('%Y-%m-%d %H:%M')}, revision {revision or '?'}{changed}, "
          f"{output_of(bench.binary, '--version')}")
    print(f"- {os.cpu_count()} × {cpu.group(1) if cpu else platform.machine()}, "
          f"{platform.system()} {platform.release()}")
    print(f"- {', '.join(versions)}")
    print(f"- {layout}; {given.rounds} round(s) of {given.seconds} s after 1 s of warm-up", flush=True)


def run(bench):
    header(bench)
    work = {"direct": direct, "sample": sample, "start": start, "instructions": instructions}
    for name in SCENARIOS:
        if name not in bench.given.scenario:
            continue
        try:
            work[name](bench)
        except (Problem, OSError, http.client.HTTPException, subprocess.SubprocessError) as problem:
            bench.failed = True
            bench.note(f"{name} was given up: {type(problem).__name__}: {problem}")


def main():
    given = arguments()
    processes = Processes()
    bench = None
    code = 2
    with tempfile.TemporaryDirectory(prefix="myelin-bench-") as directory:
        os.chmod(directory, 0o755)  # a worker of nginx may run as another user
        try:
            bench = Bench(given, processes, Path(directory))
            run(bench)
            code = 1 if bench.failed else 0
        except Problem as problem:
            say(f"run.py: {problem}")
        except KeyboardInterrupt:
            say("run.py: interrupted")
            code = 130
        finally:
            processes.end_all()
            if processes.notes:
                print("\nNotes:\n" + "\n".join(f"- {n}" for n in processes.notes))
            if given.json and bench:
                given.json.write_text(json.dumps(bench.samples, indent=1) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
