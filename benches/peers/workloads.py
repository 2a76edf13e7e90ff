"""What is timed, and by which load generator: wrk with rotating keys for HTTP/1.1, h2load for HTTP/2 and handshakes.

A run counts only when every answer has the expected status; otherwise it is void.
"""

import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from correctness import status_of
from upstream import CHECK_TARGET, LARGE_TARGET

KEYS_SCRIPT = Path(__file__).parent / "keys.lua"
# How long a load generator may take beyond its own time.
GRACE_SECONDS = 20
HTTP2_CONNECTIONS = 16
HTTP2_STREAMS = 4
# Slow enough that the load's core, which pays for the other half of each handshake, keeps up.
HANDSHAKES_PER_SECOND = 600


class Void(Exception):
    """A run that does not count, and why."""


@dataclass(frozen=True)
class Run:
    """What came of one run: the proxy's CPU time, and the rate, which tells whether it was busy."""

    cpu_microseconds_per_request: float
    requests_per_second: float
    core_share: float


@dataclass(frozen=True)
class Workload:
    """One thing that is timed; `load` makes the requests and returns how many were answered as expected."""

    name: str
    title: str
    load: object


def measure(candidate, workload, seconds, core):
    """Loads a candidate and divides the CPU time that it used meanwhile by the requests that it answered."""
    candidate.clear_access_log()
    began, before = time.monotonic(), candidate.cpu_seconds()
    answers = workload.load(candidate, seconds, core)
    used, passed = candidate.cpu_seconds() - before, time.monotonic() - began
    if answers == 0:
        raise Void("nothing was answered")
    return Run(used * 1e6 / answers, answers / passed, used / passed)


def _run(command, core, seconds):
    limit = seconds + GRACE_SECONDS
    command = ["taskset", "-c", str(core), *map(str, command)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise Void(f"the load generator did not end within {limit} s") from None
    if done.returncode != 0:
        raise Void(f"the load generator failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def _wrk(candidate, seconds, core, *, url, keys_file, target, connections):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", KEYS_SCRIPT, url, "--", keys_file, target]
    counts = json.loads(_run(command, core, seconds).splitlines()[-1])
    if counts["broken"]:
        raise Void(f"{counts['broken']} connections or requests broke")
    return counts


def _load_good_keys(candidate, seconds, core, *, url, target=CHECK_TARGET, connections=64):
    keys_file = candidate.data.keys_file
    counts = _wrk(candidate, seconds, core, url=url, keys_file=keys_file, target=target, connections=connections)
    # wrk counts statuses from 400 on; no candidate redirects.
    if counts["error_statuses"]:
        raise Void(f"{counts['error_statuses']} of {counts['answers']} good keys were refused or failed")
    return counts["answers"]


def _load_http1(candidate, seconds, core):
    return _load_good_keys(candidate, seconds, core, url=_plain_url(candidate))


def _load_tls(candidate, seconds, core):
    return _load_good_keys(candidate, seconds, core, url=_tls_url(candidate))


def _load_large_answers(candidate, seconds, core):
    url = _plain_url(candidate)
    return _load_good_keys(candidate, seconds, core, url=url, target=LARGE_TARGET, connections=16)


def _load_wrong_keys(candidate, seconds, core):
    keys_file = candidate.data.wrong_keys_file
    url = _plain_url(candidate)
    counts = _wrk(candidate, seconds, core, url=url, keys_file=keys_file, target=CHECK_TARGET, connections=64)
    if counts["error_statuses"] != counts["answers"]:
        raise Void(f"{counts['answers'] - counts['error_statuses']} wrong keys were let in")
    # wrk tells no single status. A candidate that has begun to answer 429 or 503 still does so now.
    status = status_of(candidate, keys_file.read_text(encoding="utf-8").split()[0])
    if status != 401:
        raise Void(f"wrong keys are answered {status}, not 401")
    return counts["answers"]


def _load_http2(candidate, seconds, core):
    options = ["-t1", f"-c{HTTP2_CONNECTIONS}", f"-m{HTTP2_STREAMS}", f"-D{seconds}"]
    output = _h2load(candidate, seconds, core, options)
    if "Application protocol: h2" not in output:
        raise Void("HTTP/2 was not spoken")
    return parse_h2load(output, unanswered_at_the_end=HTTP2_CONNECTIONS * HTTP2_STREAMS)


def _load_handshakes(candidate, seconds, core):
    # h2load never resumes a session, so each connection is a full handshake; each carries one request.
    count = HANDSHAKES_PER_SECOND * seconds
    options = ["--h1", "-t1", f"-n{count}", f"-c{count}", "-m1", f"-r{HANDSHAKES_PER_SECOND}"]
    output = _h2load(candidate, seconds, core, options)
    answers = parse_h2load(output, unanswered_at_the_end=0)
    if "TLS Protocol: TLSv1.3" not in output:
        raise Void("TLS 1.3 was not spoken")
    return answers


def _h2load(candidate, seconds, core, options):
    # h2load sends the same headers with every request: one key.
    header = f"Authorization: ApiKey {candidate.data.keys[0].text}"
    return _run(["h2load", *options, "-H", header, _tls_url(candidate) + CHECK_TARGET], core, seconds)


def parse_h2load(output, unanswered_at_the_end):
    """The number of answers 2xx in h2load's report, which must be all there are."""
    statuses = re.search(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output, re.MULTILINE)
    requests = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", output)
    if not statuses or not requests:
        raise Void("the report of h2load cannot be read")
    good, *others = map(int, statuses.groups())
    if any(others):
        raise Void(f"h2load reports `{statuses.group()}`")
    # At its end h2load gives up the requests that are under way, and counts them here.
    if int(requests.group(1)) > unanswered_at_the_end:
        raise Void(f"h2load reports `{requests.group()}`")
    return good


def _plain_url(candidate):
    return f"http://127.0.0.1:{candidate.http_port}"


def _tls_url(candidate):
    return f"https://127.0.0.1:{candidate.tls_port}"


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("http1", "HTTP/1.1, 64 kept connections", _load_http1),
        Workload("tls", "HTTP/1.1 over TLS 1.3", _load_tls),
        Workload("http2", "HTTP/2 over TLS", _load_http2),
        Workload("refused", "refused key", _load_wrong_keys),
        Workload("large", "answer of 1 MiB", _load_large_answers),
        Workload("handshake", "full TLS handshake", _load_handshakes),
    )
}
