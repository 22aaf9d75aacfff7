"""Bodies that are large and connections that are many: what they cost in memory."""

import resource
import socket
import sys
import threading
import time

from common import say
from fixtures import HOST
from harness import CONTENT_TYPE, Problem, memory_of, must_be_free, tree_of, until_up
from load import direct_contenders

LARGE = 100 * 1024 * 1024
CHUNK = b"x" * (256 * 1024)


# Large bodies ------------------------------------------------------------------------------------


def head_of(connection):
    """(head in lower case, what came after it)"""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return None, b""
        data += part
    head, rest = data.split(b"\r\n\r\n", 1)
    return head.decode("latin-1").lower(), rest


def number_in(head, name):
    for line in head.split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key == name:
            return int(value)
    raise Problem(f"no {name} in {head!r}")


def send(connection, length):
    while length > 0:
        length -= connection.send(CHUNK[:length])


def discard(connection, length):
    room = bytearray(256 * 1024)
    while length > 0:
        got = connection.recv_into(room, min(length, len(room)))
        if not got:
            raise Problem("a body ended early")
        length -= got


class Streams:
    """A back-end that reads any body and answers with as many bytes as `X-Want` says."""

    def __init__(self, port):
        self.listener = socket.create_server((HOST, port))
        self.received = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def end(self):
        # Closing alone does not wake the thread that accepts, and the port would answer still.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def serve(self, connection):
        with connection:
            try:
                while True:
                    head, rest = head_of(connection)
                    if head is None:
                        return
                    length, want = number_in(head, "content-length"), number_in(head, "x-want")
                    discard(connection, length - len(rest))
                    self.received += length
                    connection.sendall((f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\n"
                                        f"Content-Length: {want}\r\n\r\n").encode())
                    send(connection, want)
            except (OSError, Problem):
                return  # the client notices


def exchange(port, path, up, down):
    """Sends `up` bytes, takes `down`; seconds."""
    start = time.monotonic()
    with socket.create_connection((HOST, port), timeout=60) as client:
        client.sendall((f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {CONTENT_TYPE}\r\n"
                        f"X-Want: {down}\r\nContent-Length: {up}\r\n\r\n").encode())
        send(client, up)
        head, rest = head_of(client)
        if head is None or " 200 " not in head.split("\r\n")[0] + " ":
            raise Problem(f"a body of {up} bytes was answered with {head!r}")
        if (length := number_in(head, "content-length")) != down:
            raise Problem(f"{length} bytes come back instead of {down}")
        discard(client, down - len(rest))
    return time.monotonic() - start


def stream(bench):
    must_be_free(bench.echo_port)
    backend = Streams(bench.echo_port)
    rows = []
    try:
        for contender in direct_contenders(bench):
            must_be_free(bench.port)
            child = bench.processes.spawn(contender.argv, bench.gateway_cpus, bench.log("gateway"))
            try:
                until_up(child, bench.port)
                exchange(bench.port, contender.path, 1000, 1000)
                pids = tree_of(child.pid)
                before = memory_of(pids, "VmHWM")
                values = [before]
                for up, down in ((LARGE, 1000), (1000, LARGE), (LARGE, LARGE)):
                    received = backend.received
                    values.append(exchange(bench.port, contender.path, up, down))
                    if backend.received != received + up:
                        raise Problem(f"{contender.name}: the back-end got {backend.received - received} bytes")
                values.append(memory_of(pids, "VmHWM"))
            finally:
                bench.processes.end(child)
                if contender.ours:
                    bench.check_log(child)
            rows.append((contender.name, *values))
            bench.samples.append({"scenario": "stream", "gateway": contender.name, "values": values})
            say(f"stream {contender.name}: peak {values[-1] - before:.1f} MB more")
    finally:
        backend.end()
    print("\n### Bodies of 100 MiB, one at a time\n")
    print("| gateway | VmHWM before MB | request s | response s | both, one after the other, s | VmHWM after MB "
          "| growth MB |\n|---|" + "---:|" * 6)
    for name, before, up, down, both, after in rows:
        print(f"| {name} | {before:.1f} | {up:.2f} | {down:.2f} | {both:.2f} | {after:.1f} | {after - before:.1f} |")
    sys.stdout.flush()


# Many connections --------------------------------------------------------------------------------


def idle(bench):
    """Memory of connections that have had an answer and wait for their next request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1000 if bench.given.quick else 10_000
    count = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - 500)
    if count < wanted:
        bench.note(f"idle: only {count} connections, since a process may have {hard} files open (ulimit -Hn)")
    if count < 100:
        return bench.note("idle was skipped")
    if soft != resource.RLIM_INFINITY and soft < count + 500:
        # Children inherit it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 500, hard))
    backend = bench.start_backend([bench.echo_port])
    body, _ = bench.body("500")
    rows = []
    try:
        # nginx closes idle connections when fewer than a sixteenth are left.
        for contender in direct_contenders(bench, connections=count + count // 5):
            try:
                before, after = memory_with(bench, contender, body, count)
            except Problem as problem:
                if contender.ours:
                    raise
                # HAProxy wants two files for each connection it allows.
                bench.note(f"idle: {contender.name} was skipped: {str(problem)[:300]}")
                continue
            each = (after - before) * 1024 / count
            rows.append((contender.name, before, after, each))
            bench.samples.append({"scenario": "idle", "gateway": contender.name, "connections": count,
                                  "before": before, "after": after})
            say(f"idle {contender.name}: {each:.1f} KiB per connection")
    finally:
        bench.processes.end(backend)
    print(f"\n### {count:,} idle keep-alive connections\n")
    print("| gateway | VmRSS before MB | VmRSS with them MB | KiB per connection |\n|---|---:|---:|---:|")
    for name, before, after, each in rows:
        print(f"| {name} | {before:.1f} | {after:.1f} | {each:.1f} |")
    sys.stdout.flush()


def memory_with(bench, contender, body, count):
    """VmRSS before and with the connections, MB."""
    request = (f"POST {contender.path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {CONTENT_TYPE}\r\n"
               f"Content-Length: {len(body)}\r\n\r\n").encode() + body
    must_be_free(bench.port)
    child = bench.processes.spawn(contender.argv, bench.gateway_cpus, bench.log("gateway"))
    clients = []
    try:
        until_up(child, bench.port)
        contender.verify(bench.port, contender, body)
        pids = tree_of(child.pid)
        before = memory_of(pids, "VmRSS")
        for _ in range(count):
            clients.append(ask(bench.port, request))
        time.sleep(1.0)
        after = memory_of(pids, "VmRSS")
        # They live: one in a hundred is asked again.
        for client in clients[::100]:
            answered(client, request)
    finally:
        for client in clients:
            client.close()
        bench.processes.end(child)
        if contender.ours:
            bench.check_log(child)
    return before, after


def ask(port, request):
    client = socket.create_connection((HOST, port), timeout=10)
    answered(client, request)
    return client


def answered(client, request):
    client.sendall(request)
    head, rest = head_of(client)
    if head is None or " 200 " not in head.split("\r\n")[0] + " ":
        raise Problem(f"an idle connection was answered with {head!r}")
    discard(client, number_in(head, "content-length") - len(rest))
