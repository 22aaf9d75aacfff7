"""Flows that look into messages or change them, beside our own direct proxy, nginx and HAProxy.

The other gateways pass the message through: their figures say what the mediation costs, it is no
contest."""

import fixtures
from common import Contender
from harness import find_tool, post
from load import CLIENT_ID, direct_contenders, expect, load_scenario, verify_echo


def answer_of(port, contender, body):
    headers = {"Content-Type": contender.content_type} if contender.json else {}
    status, headers, answer = post(port, contender.path, body, headers)
    expect(status == 200, f"{contender.name}: status {status}, {answer[:300]!r}")
    return answer


def verify_made(count, form=":f{}>{}<", different=False):
    """`form` is how the answer says field and symbol. Fields of orders that are not in the message are not looked at."""
    def verify(port, contender, body):
        answer = answer_of(port, contender, body)
        orders = body.count(b"symbol") // (1 if contender.json else 2)
        for n in (1, count):
            if different and n > orders:
                continue
            field = form.format(n, fixtures.SYMBOLS[(n - 1) % 5] if different else "IBM").encode()
            expect(field in answer, f"{contender.name}: {field!r} is not in {answer[:300]!r}")
        expect(b"placeOrder" not in answer, f"{contender.name}: the old payload is there still")
    return verify


def verify_aggregated(part, count):
    """`count` copies of `part`; None: as many as in the request."""
    def verify(port, contender, body):
        answer = answer_of(port, contender, body)
        wanted, found = count or body.count(part), answer.count(part)
        expect(found == wanted, f"{contender.name}: {found} parts instead of {wanted}")
    return verify


def verify_soap(port, contender, body):
    answer = answer_of(port, contender, body)
    expect(b"Envelope" in answer and b"<symbol>IBM</symbol>" in answer, f"{contender.name}: {answer[:300]!r}")


def groups(port):
    """Scenario to (title, sizes, [(name, artifacts, options of the contender)])."""
    def proxy(sequences):
        return lambda directory: fixtures.flow_proxy(directory, sequences)

    def routed(condition):
        return proxy(fixtures.routed(condition, port))

    return {
        "api": ("Direct API", None, [
            ("API", lambda directory: fixtures.echo_api(directory, port), {"verify": verify_echo})]),
        "cbr": ("Content-based routing", None, [
            ("CBR body, early match", routed("xpath=\"//s:symbol = 'IBM'\""), {"verify": verify_echo}),
            ("CBR body, whole document", routed("xpath=\"//s:symbol = 'NONE'\""), {"verify": verify_echo}),
            ("CBR SOAP header", routed(f"xpath=\"$header/syn:ClientID = '{CLIENT_ID}'\""),
             {"verify": verify_echo, "client_id": CLIENT_ID}),
            ("CBR transport header", routed('source="$trp:SOAPAction" regex=".*placeOrder.*"'),
             {"verify": verify_echo})]),
        "payload": ("payloadFactory", None, [
            *((f"payloadFactory {n}", proxy(fixtures.payload(n, port)), {"verify": verify_made(n)})
              for n in (20, 50, 100)),
            *((f"payloadFactory {n}, different", proxy(fixtures.payload(n, port, different=True)),
               {"verify": verify_made(n, different=True)}) for n in (20, 50, 100)),
            *((f"payloadFactory {n}, JSON", proxy(fixtures.json_payload(n, port)),
               {"verify": verify_made(n, '"f{}":"{}"', different=True), "json": True}) for n in (20, 50, 100))]),
        # At 100 KB an iterate makes 800 requests out of one.
        "split": ("Split and aggregate", ["500", "1k", "10k"], [
            ("iterate + aggregate", proxy(fixtures.iterated(port)),
             {"verify": verify_aggregated(b"<s:symbol", None)}),
            *((f"clone + aggregate {n}", proxy(fixtures.cloned(n, port)),
               {"verify": verify_aggregated(b"<s:placeOrder", n)}) for n in (2, 4, 8))]),
        "json": ("JSON to SOAP", None, [
            ("JSON to SOAP", proxy(fixtures.to_soap(port)), {"verify": verify_soap, "json": True})]),
    }


def scenario(name):
    def work(bench):
        if not find_tool("wrk"):
            return bench.note(f"wrk is missing: {name} was skipped")
        title, sizes, flows = groups(bench.echo_port)[name]
        direct, *others = direct_contenders(bench)
        ours = []
        for number, (flow, artifacts, options) in enumerate(flows):
            directory = bench.directory / f"{name}-{number}"
            artifacts(directory)
            if not bench.knows(directory):
                bench.note(f"{flow} was skipped: this build refuses its artifacts")
                continue
            ours.append(Contender(f"myelin, {flow}", bench.myelin(directory), direct.path, **options))
        if ours:
            load_scenario(bench, name, title, [direct, *ours, *others], [bench.echo_port], sizes=sizes)
    return work


SCENARIOS = {name: scenario(name) for name in groups(0)}
