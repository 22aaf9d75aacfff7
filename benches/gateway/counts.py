"""User instructions per request, under callgrind."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import say, spread
from harness import Problem, backend_count, find_tool, must_be_free, tail, until_up
from load import direct_contenders, sample_contenders


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
