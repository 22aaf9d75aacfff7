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
import subprocess
import tempfile
import time
from pathlib import Path

import counts
import extremes
import flows
import load
import startup
from common import ROOT, Bench, say
from fixtures import SIZES
from harness import Problem, Processes, find_tool


WORK = {
    "direct": load.direct, "sample": load.sample, **flows.SCENARIOS, "rate": load.rate, "stream": extremes.stream,
    "idle": extremes.idle, "start": startup.start, "deploy": startup.deploy, "instructions": counts.instructions,
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a look whether it works: one short round, two sizes")
    add("--rounds", type=int, metavar="N", help="rounds over all gateways [default: 5, quick: 1]")
    add("--scenario", action="append", choices=list(WORK), metavar="NAME",
        help=f"one of {', '.join(WORK)}; may be repeated [default: all]")
    add("--sizes", metavar="LIST", help=f"of {','.join(SIZES)} [default: all, quick: 500,10k]")
    add("--seconds", type=int, metavar="N", help="length of one sample [default: 3, quick: 1]")
    add("--connections", metavar="LIST",
        help="connections of wrk, 1 to 1000; others than direct take the first [default: 100,200,500,1000, quick: 100]")
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
    given.scenario = given.scenario or list(WORK)
    given.rounds = given.rounds or (1 if given.quick else 5)
    given.seconds = given.seconds or (1 if given.quick else 3)
    sizes = (given.sizes or ("500,10k" if given.quick else ",".join(SIZES))).split(",")
    if unknown := [s for s in sizes if s not in SIZES]:
        parser.error(f"unknown size {unknown[0]}; known: {', '.join(SIZES)}")
    given.sizes = sizes
    connections = given.connections or ("100" if given.quick else "100,200,500,1000")
    try:
        given.connections = [int(c) for c in connections.split(",")]
        assert all(1 <= c <= 1000 for c in given.connections)
    except (ValueError, AssertionError):
        parser.error("--connections needs numbers from 1 to 1000")
    try:
        given.cpus = [int(c) for c in given.cpus.split(",")]
        assert len(given.cpus) == 2
    except (ValueError, AssertionError):
        parser.error("--cpus needs two numbers")
    if given.rounds < 1 or not 1 <= given.seconds <= 60 :
        parser.error("--rounds must be at least 1, --seconds 1 to 60")
    return given


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
    for name, option in (("nginx", "-v"), ("haproxy", "-v"), ("wrk", "-v"), ("wrk2", "-v"), ("valgrind", "--version")):
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
    for name, work in WORK.items():
        if name not in bench.given.scenario:
            continue
        try:
            work(bench)
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
