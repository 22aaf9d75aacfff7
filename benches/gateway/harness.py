"""Processes, their cost as the kernel counts it, and wrk."""

import http.client
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from fixtures import HOST

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
CONTENT_TYPE = "text/xml; charset=utf-8"
HEADERS = {"Content-Type": CONTENT_TYPE, "SOAPAction": '"urn:placeOrder"'}


class Problem(Exception):
    """The benchmark cannot go on."""


def find_tool(name):
    """System-wide servers are often outside a user's PATH."""
    places = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin:/sbin"
    return shutil.which(name, path=places)


# Processes ---------------------------------------------------------------------------------------


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into KeyboardInterrupt, but not between the start of a child
    and its entry in the books."""

    def __init__(self):
        self.held, self.pending, self.deaf = 0, False, False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._handle)

    def _handle(self, _number, _frame):
        if self.deaf:
            return
        if self.held:
            self.pending = True
        else:
            raise KeyboardInterrupt

    @contextmanager
    def hold(self):
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1
        if self.pending and not self.held and not self.deaf:
            self.pending = False
            raise KeyboardInterrupt


class Processes:
    """All children, each ended by its process id."""

    def __init__(self):
        self.signals = Signals()
        self.running = []
        self.notes = []

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def spawn(self, argv, cpus=None, log=None, **options):
        """Starts a child in a session of its own, so that Ctrl-C reaches only this script."""
        if cpus is not None:
            argv = ["taskset", "-c", ",".join(map(str, cpus)), *argv]
        with self.signals.hold():
            out = open(log, "ab") if log else subprocess.DEVNULL
            try:
                options.setdefault("stdout", out)
                options.setdefault("stderr", out)
                child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                         start_new_session=True, **options)
            finally:
                if log:
                    out.close()
            child.log = log
            self.running.append(child)
        return child

    def end(self, child, patience=8.0):
        """SIGTERM, then SIGKILL for it and for what it started."""
        if child not in self.running:
            return
        with self.signals.hold():
            tree = [(pid, stat(pid).start) for pid in tree_of(child.pid) if stat(pid)]
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(patience)
                except subprocess.TimeoutExpired:
                    self.note(f"{name_of(child)} did not end within {patience:.0f} s of SIGTERM")
                    child.kill()
                    child.wait()
            for pid, start in tree:
                now = stat(pid)
                if pid != child.pid and now and now.start == start and now.state != "Z":
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            self.running.remove(child)

    def end_all(self):
        self.signals.deaf = True
        for child in list(reversed(self.running)):
            self.end(child, patience=3.0)


def name_of(child):
    argv = child.args[3:] if child.args[0] == "taskset" else child.args
    return Path(argv[0]).name


class Stat:
    def __init__(self, text):
        self.pid = int(text[:text.index(" ")])
        fields = text[text.rindex(")") + 2:].split()
        self.state, self.parent = fields[0], int(fields[1])
        self.cpu = (int(fields[11]) + int(fields[12])) / TICK
        self.start = int(fields[19])


def stat(pid):
    try:
        return Stat(Path(f"/proc/{pid}/stat").read_text())
    except (OSError, ValueError):
        return None


def tree_of(pid):
    """The process and all its descendants."""
    children = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (found := stat(int(entry.name))):
            children.setdefault(found.parent, []).append(found.pid)
    out, queue = [], [pid]
    while queue:
        out.append(queue.pop())
        queue += children.get(out[-1], [])
    return out


def cpu_of(pids):
    """Seconds of user and system time so far."""
    return sum(s.cpu for s in map(stat, pids) if s)


def memory_of(pids, field):
    """`VmRSS` or `VmHWM` of all, in MB."""
    total = 0
    for pid in pids:
        try:
            found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
        except OSError:
            continue
        total += int(found.group(1)) if found else 0
    return total / 1024


def machine_cpu():
    """(busy, steal) seconds of all CPUs so far."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + soft) / TICK, steal / TICK


# Ports and requests ------------------------------------------------------------------------------


def answers(port):
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def must_be_free(*ports):
    for port in ports:
        if answers(port):
            raise Problem(f"port {port} answers already: end what listens there or choose other "
                          "ports with --port-base")


def tail(log, lines=5):
    text = Path(log).read_text(errors="replace") if log and Path(log).exists() else ""
    return "\n".join(text.splitlines()[-lines:])


def until_up(child, port, patience=10.0):
    deadline = time.monotonic() + patience
    while not answers(port):
        if child.poll() is not None:
            raise Problem(f"{name_of(child)} ended with {child.returncode}:\n{tail(child.log)}")
        if time.monotonic() > deadline:
            raise Problem(f"{name_of(child)} does not listen on {port}:\n{tail(child.log)}")
        time.sleep(0.005)


def post(port, path, body, headers=None, timeout=10.0):
    """(status, headers, body) of one request on a connection of its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("POST", path, body, {**HEADERS, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def backend_count(port):
    connection = http.client.HTTPConnection(HOST, port, timeout=10.0)
    try:
        connection.request("GET", "/bench/count")
        return int(connection.getresponse().read())
    finally:
        connection.close()


# wrk ---------------------------------------------------------------------------------------------


class Wrk:
    """One run: what wrk says, and the CPU seconds it took itself."""

    def __init__(self, numbers, cpu):
        self.requests = numbers["requests"]
        self.seconds = numbers["duration_us"] / 1e6
        self.p50, self.p99 = numbers["p50_us"] / 1e3, numbers["p99_us"] / 1e3
        self.kinds = {k: numbers[k] for k in ("connect", "read", "write", "status", "timeout")}
        self.errors = sum(self.kinds.values())
        self.cpu = cpu


def wrk(processes, port, path, body_file, connections, seconds, cpus=None, watch=None,
        content_type=CONTENT_TYPE, rate=None):
    """Loads 127.0.0.1 for `seconds`; `watch` is called every 50 ms meanwhile. With a `rate`, wrk2 sends
    that many requests per second, however slow the answers are."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = processes.spawn(
        [*([find_tool("wrk2"), f"-R{rate}"] if rate else [find_tool("wrk")]),
         "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
         "-s", HERE / "post.lua", f"http://{HOST}:{port}"],
        cpus, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "BODY": str(body_file), "PATH_TO_POST": path,
             "CONTENT_TYPE": content_type})
    deadline = time.monotonic() + seconds + 20
    while True:
        try:
            text, _ = child.communicate(timeout=0.05 if watch else seconds + 20)
            break
        except subprocess.TimeoutExpired:
            if watch:
                watch()
            if time.monotonic() > deadline:
                raise Problem("wrk does not come to an end") from None
    processes.running.remove(child)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = text.decode(errors="replace")
    found = re.search(r"^RES (.*)$", text, re.M)
    if child.returncode != 0 or not found:
        raise Problem(f"wrk failed:\n{text}")
    numbers = {k: int(v) for k, v in (pair.split("=") for pair in found.group(1).split())}
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return Wrk(numbers, cpu)
