-- Posts the file BODY to PATH_TO_POST. No request() function: wrk formats the request once.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.path = os.getenv("PATH_TO_POST")
wrk.headers["Content-Type"] = os.getenv("CONTENT_TYPE") or "text/xml; charset=utf-8"
wrk.headers["SOAPAction"] = "\"urn:placeOrder\""

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    "RES requests=%d duration_us=%d p50_us=%d p99_us=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
