"""Load on a gateway: answers are checked, then wrk runs, and the kernel says what it cost."""

import itertools
import os
import re
import sys
import time
from statistics import median

import fixtures
from common import ROOT, Contender, others, say, spread
from fixtures import SIZES
from harness import (Problem, backend_count, cpu_of, find_tool, machine_cpu, memory_of, must_be_free, post, tail,
                     tree_of, until_up)

CLIENT_ID = "client-0001"


def direct_contenders(bench, connections=4096):
    directory = bench.directory / "direct"
    fixtures.echo_proxy(directory / "artifacts", bench.echo_port)
    path = "/services/Echo"
    ours = Contender("myelin", bench.myelin(directory / "artifacts"), path, verify=verify_echo)
    return [ours, *others(bench, directory, [bench.echo_port], path, verify_echo, connections)]


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

def measure(bench, contender, size, connections, backend):
    """One sample on a fresh gateway."""
    body, file = bench.body(size, contender.client_id, contender.json)

    def wrk(seconds):
        return bench.wrk(contender.path, file, seconds, connections, content_type=contender.content_type)

    must_be_free(bench.port)
    child = bench.processes.spawn(contender.argv, bench.gateway_cpus, bench.log("gateway"))
    try:
        until_up(child, bench.port)
        contender.verify(bench.port, contender, body)
        wrk(1)  # warm-up
        pids = tree_of(child.pid)
        count_port = bench.echo_port if contender.path == "/services/Echo" else bench.sample_ports[0]
        count = backend_count(count_port)
        gateway, behind = cpu_of(pids), cpu_of([backend.pid])
        (busy, steal), start = machine_cpu(), time.monotonic()
        load = wrk(bench.given.seconds)
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
        "gateway": contender.name, "size": size, "connections": connections, "requests": load.requests,
        "rate": load.requests / load.seconds, "p50": load.p50, "p99": load.p99,
        "cpu": gateway / load.requests * 1e6,
        "load_cpu": (behind + load.cpu) / load.requests * 1e6,
        "rel": gateway / max(behind + load.cpu, 1e-9),
        "hwm": hwm, "errors": load.errors, "error_kinds": load.kinds,
        "steal": 100 * (steal_after - steal) / whole, "foreign": 100 * foreign / whole,
    }


def noise(sample):
    return max(sample["steal"], sample["foreign"])


def load_scenario(bench, name, title, contenders, ports, *options, sizes=None, connections=None):
    """Rounds over sizes, numbers of connections and gateways. The first contender is what the others
    of ours are compared with."""
    given = bench.given
    wanted = [s for s in given.sizes if s in (sizes or given.sizes)]
    if not wanted:
        return bench.note(f"{name} was skipped: it is measured with {', '.join(sizes)} only")
    sizes = wanted
    connections = connections or given.connections[:1]
    backend = bench.start_backend(ports, *options)
    samples = []
    try:
        for number in range(1, given.rounds + 1):
            for size, count, contender in itertools.product(sizes, connections, contenders):
                sample = measure(bench, contender, size, count, backend)
                if noise(sample) > given.max_noise and not given.quick:
                    again = measure(bench, contender, size, count, backend)
                    sample = min(sample, again, key=noise)
                sample.update(scenario=name, round=number)
                samples.append(sample)
                say(f"{name} {number}/{given.rounds} {size:>4} {count:>4} {contender.name:<16} "
                    f"{sample['rate']:7.0f}/s  {sample['cpu']:6.1f} us  rel {sample['rel']:.2f}  "
                    f"errors {sample['errors']}  steal {sample['steal']:.0f} %  "
                    f"foreign {sample['foreign']:.0f} %")
    finally:
        bench.processes.end(backend)
        bench.samples += samples
        if samples:
            load_tables(bench, title, contenders, samples)


def load_tables(bench, title, contenders, samples):
    limit = bench.given.max_noise
    for size, connections in dict.fromkeys((s["size"], s["connections"]) for s in samples):
        of_size = [s for s in samples if s["size"] == size and s["connections"] == connections]
        print(f"\n### {title}, {SIZES[size]} bytes, {connections} connections\n")
        print("| gateway | req/s | p50 ms | p99 ms | CPU µs/req | load µs/req | rel "
              f"| req/s ÷ nginx | CPU ÷ nginx | rel ÷ nginx | CPU ÷ {contenders[0].name} "
              "| VmHWM MB | errors | steal % | foreign % | rounds |")
        print("|---|" + "---:|" * 15)

        def counted(name):
            """(samples by round, how many were dropped for noise; None if only noisy ones are left)"""
            rows = [s for s in of_size if s["gateway"] == name]
            quiet = [s for s in rows if noise(s) <= limit]
            dropped = len(rows) - len(quiet) if quiet else None
            return {s["round"]: s for s in quiet or rows}, rows, dropped

        nginx, _, _ = counted("nginx")
        first, _, _ = counted(contenders[0].name)
        for contender in contenders:
            used, rows, dropped = counted(contender.name)
            if not rows:
                continue

            def middle(key, digits):
                return f"{median(s[key] for s in used.values()):.{digits}f}"

            def ratio(key, to=nginx):
                return spread([used[r][key] / to[r][key] for r in used if r in to and to[r][key]])

            errors = sum(s["errors"] for s in rows)
            if errors:
                bench.failed = True
                kinds = {k: v for s in rows for k, v in s["error_kinds"].items() if v}
                bench.note(f"{title}, {size}: {contender.name} had {errors} errors: {kinds}")
            rounds = "all noisy" if dropped is None else str(len(used))
            rounds += f" of {len(rows)}" if dropped else ""
            print(f"| {contender.name} | {middle('rate', 0)} | {middle('p50', 2)} | {middle('p99', 2)} "
                  f"| {middle('cpu', 1)} | {middle('load_cpu', 1)} | {spread([s['rel'] for s in used.values()])} "
                  f"| {ratio('rate')} | {ratio('cpu')} | {ratio('rel')} | {ratio('cpu', first)} | {middle('hwm', 1)} "
                  f"| {'**' + str(errors) + '**' if errors else 0} "
                  f"| {max(s['steal'] for s in rows):.0f} | {max(s['foreign'] for s in rows):.0f} | {rounds} |")
    sys.stdout.flush()


def direct(bench):
    if not find_tool("wrk"):
        return bench.note("wrk is missing: direct was skipped")
    load_scenario(bench, "direct", "Direct proxy", direct_contenders(bench), [bench.echo_port],
                  connections=bench.given.connections)


def sample(bench):
    if not find_tool("wrk"):
        return bench.note("wrk is missing: sample was skipped")
    load_scenario(bench, "sample", "Sample: session load balance over three back-ends",
                  sample_contenders(bench), bench.sample_ports, "--reply-202")


def rate(bench):
    """Latency at a rate that all of them bear."""
    if not find_tool("wrk2"):
        return bench.note("wrk2 is missing: rate was skipped, and every p50 and p99 above is that of a saturated "
                          "gateway")
    rates, samples = (2000, 5000), []
    backend = bench.start_backend([bench.echo_port])
    contenders = direct_contenders(bench)
    body, file = bench.body("1k")
    try:
        for number in range(bench.given.rounds):
            for wanted, contender in itertools.product(rates, contenders):
                must_be_free(bench.port)
                child = bench.processes.spawn(contender.argv, bench.gateway_cpus, bench.log("gateway"))
                try:
                    until_up(child, bench.port)
                    contender.verify(bench.port, contender, body)
                    bench.wrk(contender.path, file, 1)
                    # wrk2 calibrates for 10 s before it counts.
                    found = bench.wrk(contender.path, file, 20, rate=wanted)
                finally:
                    bench.processes.end(child)
                samples.append((wanted, contender.name, found))
                bench.samples.append({"scenario": "rate", "wanted": wanted, "gateway": contender.name,
                                      "round": number, "requests": found.requests, "p50": found.p50,
                                      "p99": found.p99, "errors": found.errors})
    finally:
        bench.processes.end(backend)
    print(f"\n### Latency at a fixed rate, 1,000 bytes, {bench.given.connections[0]} connections (wrk2)\n")
    print("| rate/s | gateway | answered/s | p50 ms | p99 ms | errors |\n|---:|---|" + "---:|" * 4)
    for wanted, contender in itertools.product(rates, contenders):
        rows = [f for r, name, f in samples if (r, name) == (wanted, contender.name)]
        print(f"| {wanted:,} | {contender.name} | {spread([f.requests / f.seconds for f in rows], 0)} "
              f"| {spread([f.p50 for f in rows])} | {spread([f.p99 for f in rows])} | {sum(f.errors for f in rows)} |")
    sys.stdout.flush()
