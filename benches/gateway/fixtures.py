"""What is sent and what is deployed: payloads, artifacts, configurations of the other gateways."""

import re
from pathlib import Path

HOST = "127.0.0.1"
SYNAPSE = "http://ws.apache.org/ns/synapse"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
SIZES = {"500": 500, "1k": 1000, "10k": 10_000, "100k": 100_000}

ORDER = ('<s:order id="{n}"><s:symbol>{symbol}</s:symbol><s:buyer>Acme</s:buyer>'
         "<s:price>{price}.25</s:price><s:qty>{qty}</s:qty></s:order>")
SYMBOLS = ["IBM", "SUN", "MSFT", "ORCL", "HPQ"]


def envelope(size, client_id=None):
    """A SOAP 1.1 envelope with as many orders as fit, padded by a comment to exactly `size` bytes."""
    header = ""
    if client_id:
        header = (f'<soapenv:Header><syn:ClientID xmlns:syn="{SYNAPSE}">{client_id}'
                  "</syn:ClientID></soapenv:Header>")
    start = (f'<soapenv:Envelope xmlns:soapenv="{SOAP}">{header}<soapenv:Body>'
             '<s:placeOrder xmlns:s="http://services.samples">')
    end = "</s:placeOrder></soapenv:Body></soapenv:Envelope>"
    comment = len("<!---->")
    parts, length, n = [start], len(start) + len(end) + comment, 0
    while True:
        n += 1
        order = ORDER.format(n=n, symbol=SYMBOLS[(n - 1) % 5], price=100 + n % 50, qty=n % 1000)
        if length + len(order) > size:
            break
        parts.append(order)
        length += len(order)
    if n == 1:
        raise ValueError(f"{size} bytes do not hold an order")
    parts += ["<!--", "." * (size - length), "-->", end]
    body = "".join(parts).encode()
    assert len(body) == size
    return body


def json_order(size):
    """The same orders as JSON, padded to exactly `size` bytes."""
    order = '{{"id":{n},"symbol":"{symbol}","buyer":"Acme","price":{price}.25,"qty":{qty}}}'
    start, end = '{"placeOrder":{"order":[', '],"pad":"%s"}}'
    parts, length = [], len(start) + len(end) - 2
    while True:
        n = len(parts) + 1
        text = order.format(n=n, symbol=SYMBOLS[(n - 1) % 5], price=100 + n % 50, qty=n % 1000)
        if length + len(text) + 1 > size:
            break
        parts.append(text)
        length += len(text) + 1
    used = len(start) + len(",".join(parts)) + len(end) - 2
    body = (start + ",".join(parts) + end % ("." * (size - used))).encode()
    assert len(body) == size
    return body


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def artifact(name, body, kind="proxy", attributes=""):
    return f'<{kind} name="{name}"{attributes} xmlns="{SYNAPSE}">{body}</{kind}>\n'


def address(port, path):
    return f'<endpoint><address uri="http://{HOST}:{port}{path}"/></endpoint>'


def echo_proxy(directory, port):
    """The direct proxy: nothing but an address endpoint."""
    body = f"<target>{address(port, '/services/Echo')}</target>"
    write(directory / "Echo.xml", artifact("Echo", body, attributes=' transports="http"'))


def flow_proxy(directory, sequences):
    """A proxy that is made of sequences."""
    write(directory / "Echo.xml", artifact(
        "Echo", f"<target>{sequences}</target>",
        attributes=' transports="http" xmlns:s="http://services.samples" xmlns:syn="' + SYNAPSE + '"'))


def echo_api(directory, port):
    """The direct proxy as an API, at the same path."""
    write(directory / "Echo.xml", (
        f'<api name="Echo" context="/services" xmlns="{SYNAPSE}"><resource methods="POST" uri-template="/Echo">'
        f"<inSequence><send>{address(port, '/services/Echo')}</send></inSequence>"
        "<outSequence><send/></outSequence></resource></api>\n"))


def routed(condition, port):
    """Sequences that send on by a condition; either way to the same back-end, by another path."""
    def to(path):
        return f"<send>{address(port, path)}</send>"
    return (f"<inSequence><filter {condition}><then>{to('/services/Echo')}</then>"
            f"<else>{to('/services/Else')}</else></filter></inSequence><outSequence><send/></outSequence>")


def payload(count, port, different=False):
    """Sequences that make a message of `count` elements from as many expressions, and send it: all alike, or each
    about another order."""
    elements = "".join(f"<s:f{n}>${n}</s:f{n}>" for n in range(1, count + 1))
    values = "".join(f'<arg expression="//s:order[{n if different else 1}]/s:symbol"/>' for n in range(1, count + 1))
    return made("xml", f'<s:made xmlns:s="http://services.samples">{elements}</s:made>', values, port)


def json_payload(count, port):
    """The same as JSON, each expression about another order."""
    members = ",".join(f'"f{n}":"${n}"' for n in range(1, count + 1))
    values = "".join(f'<arg evaluator="json" expression="$.placeOrder.order[{n}].symbol"/>' for n in range(count))
    return made("json", f"{{{members}}}", values, port)


def made(media, form, values, port):
    return (f'<inSequence><payloadFactory media-type="{media}"><format>{form}</format><args>{values}</args>'
            f"</payloadFactory><send>{address(port, '/services/Echo')}</send></inSequence>"
            "<outSequence><send/></outSequence>")


def iterated(port):
    """Sequences that send each order by itself and put the answers together again."""
    return ('<inSequence><iterate expression="//s:order"><target><sequence>'
            f"<send>{address(port, '/services/Echo')}</send></sequence></target></iterate></inSequence>"
            "<outSequence>" + aggregated("//s:order") + "</outSequence>")


def cloned(count, port):
    """Sequences that send `count` copies at the same time and put the answers together."""
    target = f"<target><sequence><send>{address(port, '/services/Echo')}</send></sequence></target>"
    return (f"<inSequence><clone>{target * count}</clone></inSequence>"
            "<outSequence>" + aggregated("//s:placeOrder") + "</outSequence>")


def aggregated(expression):
    return ('<aggregate><completeCondition><messageCount min="-1" max="-1"/></completeCondition>'
            f'<onComplete expression="{expression}"><send/></onComplete></aggregate>')


def to_soap(port):
    """Sequences that turn JSON into SOAP for the back-end."""
    return ('<inSequence><send><endpoint>'
            f'<address uri="http://{HOST}:{port}/services/Echo" format="soap11"/></endpoint></send></inSequence>'
            "<outSequence><send/></outSequence>")


def sample(source, directory, ports):
    """The sample of the repository with its back-ends on other ports."""
    seen = set()
    for file in sorted(source.glob("*.xml")):
        def moved(match):
            seen.add(match.group(1))
            return f"localhost:{ports[int(match.group(1)) - 9001]}"
        write(directory / file.name, re.sub(r"localhost:(900[1-3])\b", moved, file.read_text()))
    if len(seen) != 3:
        raise SystemExit(f"{source}: expected the sample with back-ends on 9001, 9002 and 9003")


def many(directory, count, port):
    """`count` proxies P0000...: half go through a named sequence to an inline endpoint, half call
    a named endpoint. With them one sequence and one endpoint."""
    write(directory / "sequences/Common.xml", artifact(
        "Common", '<property name="PASSED" value="true"/>', kind="sequence"))
    write(directory / "endpoints/Backend.xml", (
        f'<endpoint name="Backend" xmlns="{SYNAPSE}">'
        f'<address uri="http://{HOST}:{port}/services/Echo"/></endpoint>\n'))
    for n in range(count):
        if n % 2 == 0:
            endpoint = address(port, f"/services/Echo{n}")
            body = ('<target><inSequence><sequence key="Common"/><call>' + endpoint
                    + "</call><respond/></inSequence></target>")
        else:
            body = ('<target><inSequence><call><endpoint key="Backend"/></call><respond/></inSequence>'
                    "</target>")
        write(directory / f"proxy-services/P{n:04}.xml", artifact(f"P{n:04}", body))


def hot_proxy(path, status):
    """A proxy that answers by itself with `status`. Written in place, as an editor or cp does."""
    body = ('<target><inSequence><property name="HTTP_SC" scope="axis2" '
            f'value="{status}"/><respond/></inSequence></target>')
    write(path, artifact("Hot", body))


def myelin_settings(directory):
    return write(directory / "deployment.toml", (
        "[transport.http.listener]\n"
        f'bind_address = "{HOST}"\nsecured_bind_address = "{HOST}"\n'))


def nginx(directory, port, backends, workers, root, connections=4096):
    """Fastest pass-through of those that were tried: keep-alive to the back-end, nothing buffered."""
    servers = " ".join(f"server {HOST}:{b};" for b in backends)
    shared = " reuseport" if workers > 1 else ""
    temp = " ".join(f"{kind}_temp_path {directory}/nginx-{kind};"
                    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return write(directory / "nginx.conf", f"""
daemon off; worker_processes {workers}; pid {directory}/nginx.pid; error_log stderr warn;
{"user root;" if root else ""}
events {{ worker_connections {connections}; multi_accept on; }}
http {{ access_log off; keepalive_timeout 300s; keepalive_requests 1000000000;
  client_max_body_size 200m; client_body_buffer_size 128k; {temp}
  upstream be {{ {servers} keepalive 512; keepalive_requests 1000000000; }}
  server {{ listen {HOST}:{port} backlog=1024{shared};
    location / {{ proxy_pass http://be; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off; proxy_buffering off; proxy_buffer_size 32k; proxy_buffers 8 32k;
      proxy_busy_buffers_size 64k; proxy_max_temp_file_size 0; }} }} }}
""")


def haproxy(directory, port, backends, threads, connections=4096):
    servers = "\n".join(f"  server s{n} {HOST}:{b} pool-max-conn -1 pool-purge-delay 60s"
                        for n, b in enumerate(backends))
    return write(directory / "haproxy.cfg", f"""
global
  nbthread {threads}
  maxconn {connections}
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
  option http-keep-alive
  http-reuse always
frontend in
  bind {HOST}:{port} backlog 1024
  default_backend out
backend out
  balance roundrobin
{servers}
""")
