"""Start-up, memory, and what artifacts cost."""

import http.client
import re
import select
import socket
import sys
import time
from statistics import median

import fixtures
from common import ROOT, say, spread
from fixtures import HOST
from harness import HEADERS, Problem, find_tool, memory_of, must_be_free, tail, wrk


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


def start(bench):
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


def hot_changes(bench, directory, child, statuses):
    """ms from the last write of a file to the first answer of the new kind, and odd answers."""
    changes = 3 if bench.given.quick else 10
    small, _ = bench.body("500")
    file = directory / "Hot.xml"
    connection = http.client.HTTPConnection(HOST, bench.port, timeout=10.0)
    waits, odd = [], 0
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
                if response.status == new:
                    waits.append((now - written) * 1e3)
                    break
                odd += response.status != old
                if now - written > 30:
                    raise Problem(f"the change of {file.name} is not live after 30 s:\n{tail(child.log)}")
                time.sleep(0.001)
    finally:
        connection.close()
    return waits, odd


def deploy(bench):
    """What artifacts cost: start, memory, and one changed file among them."""
    runs = 1 if bench.given.quick else 3
    small, _ = bench.body("500")
    statuses = [200, 203]
    rows = []
    for total in (10, 1000) if bench.given.quick else (10, 100, 1000, 10_000):
        directory = bench.directory / f"deploy-{total}"
        fixtures.many(directory, total - 3, bench.echo_port)
        ready, idle, waits, odd = [], [], [], 0
        for run in range(runs):
            fixtures.hot_proxy(directory / "Hot.xml", statuses[0])
            child, _, _, logged = start_once(bench, directory, "/services/Hot", small, statuses[0])
            try:
                ready.append(logged)
                time.sleep(1.0)
                idle.append(memory_of([child.pid], "VmRSS"))
                if run == 0:
                    waits, odd = hot_changes(bench, directory, child, statuses)
            finally:
                bench.processes.end(child)
                bench.check_log(child)
        if odd:
            bench.failed = True
            bench.note(f"deploy, {total}: {odd} answers were neither the old nor the new one")
        rows.append((total, ready, idle, waits, odd))
        bench.samples.append({"scenario": "deploy", "artifacts": total, "ready_ms": ready, "rss": idle,
                              "change_ms": waits, "odd": odd})
        say(f"deploy {total}: ready {spread(ready, 0)} ms, change {spread(waits, 0)} ms")
    print(f"\n### Deploying artifacts ({runs} starts, one of them with changes; unpinned)\n")
    print("| artifacts | ready ms, as logged | VmRSS idle MB | KiB per artifact "
          "| last write of one file to new behaviour ms | odd answers |\n|" + "---:|" * 6)
    for total, ready, idle, waits, odd in rows:
        each = "–"
        if total > rows[0][0]:
            each = f"{(median(idle) - median(rows[0][2])) * 1024 / (total - rows[0][0]):.1f}"
        print(f"| {total:,} | {spread(ready, 0)} | {spread(idle, 1)} | {each} | {spread(waits, 0)} | {odd} |")
    sys.stdout.flush()
