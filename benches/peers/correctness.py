"""Does a candidate do what is compared? A proxy that lets wrong keys through, or forgets a header, would be cheap."""

import http.client
import json
import re
import ssl

from testdata import ADDRESS_OUTSIDE_FEW, make_keys
from upstream import CHECK_TARGET, ECHO_TARGET, LARGE_TARGET

GOOD_KEYS = 20
TIMEOUT_SECONDS = 20


def find_faults(candidate, large_answer):
    """Everything that a running candidate does wrong, as sentences; an empty list means that it may be timed."""
    keys = candidate.data.keys
    faults = []
    for key in keys[:: max(1, len(keys) // GOOD_KEYS)][:GOOD_KEYS]:
        faults += _faults_of_good_key(candidate, key)
        if faults:
            break  # What is wrong with one key is as a rule wrong with all.
    wrong = {"an unknown key": make_keys(1, seed=4)[0].text, "half a key": keys[0].text[:20]}
    wrong |= {"a key with more behind it": keys[0].text + "A", "no key": None}
    for what, text in wrong.items():
        faults += _faults_of_status(candidate, what, 401, text)
    faults += _faults_of_large_answer(candidate, keys[0], large_answer)
    faults += _faults_of_tls(candidate, keys[0])
    return faults


def find_faults_of_narrow_list(candidate, key):
    """The same for a candidate whose networks hold only a few addresses of this machine."""
    faults = _faults_of_status(candidate, "an address in the list", 200, key.text)
    outside = "an address outside of the list"
    return faults + _faults_of_status(candidate, outside, 403, key.text, source=ADDRESS_OUTSIDE_FEW)


def status_of(candidate, key_text, source="127.0.0.1"):
    """The status of one request."""
    return _get(_plain(candidate, source), CHECK_TARGET, key_text)[0]


def lost_log_lines(latchkey):
    """Lines that Latchkey's access log let go. It is measured with its log, so that there must be none."""
    connection = http.client.HTTPConnection("127.0.0.1", latchkey.ops_port, timeout=TIMEOUT_SECONDS)
    _, body = _get(connection, "/metrics", None)
    return int(re.search(rb"^latchkey_access_log_dropped_lines_total (\d+)$", body, re.MULTILINE).group(1))


def _faults_of_status(candidate, what, expected, key_text, source="127.0.0.1"):
    status = status_of(candidate, key_text, source)
    return [] if status == expected else [f"{what} is answered {status}, not {expected}"]


def _faults_of_good_key(candidate, key):
    forged = {"X-Auth-User": "forged"}
    status, body = _get(_plain(candidate), ECHO_TARGET, key.text, forged)
    if status != 200:
        return [f"the key of {key.user} is answered {status}, not 200"]
    headers = json.loads(body)
    users = [value for name, value in headers if name == "x-auth-user"]
    faults = []
    if users != [key.user]:
        faults.append(f"the upstream is told that the key of {key.user} is that of {users}")
    if any(name == "authorization" for name, _ in headers):
        faults.append("the upstream gets the Authorization header")
    return faults


def _faults_of_large_answer(candidate, key, expected):
    status, body = _get(_plain(candidate), LARGE_TARGET, key.text)
    return [] if (status, body) == (200, expected) else [f"an answer of 1 MiB came as {status}, {len(body)} bytes"]


def _faults_of_tls(candidate, key):
    context = ssl.create_default_context(cafile=candidate.data.certificate)
    address = ("127.0.0.1", candidate.tls_port)
    connection = http.client.HTTPSConnection(*address, timeout=TIMEOUT_SECONDS, context=context)
    try:
        connection.connect()
        version = connection.sock.version()
        status, _ = _get(connection, CHECK_TARGET, key.text)
    except OSError as error:
        return [f"TLS fails: {error}"]
    return [] if (version, status) == ("TLSv1.3", 200) else [f"over TLS ({version}) a good key is answered {status}"]


def _plain(candidate, source="127.0.0.1"):
    address = ("127.0.0.1", candidate.http_port)
    return http.client.HTTPConnection(*address, timeout=TIMEOUT_SECONDS, source_address=(source, 0))


def _get(connection, target, key_text, headers=None):
    headers = dict(headers or {})
    if key_text is not None:
        headers["Authorization"] = f"ApiKey {key_text}"
    try:
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{target} is not answered in HTTP: {error!r}") from None
    finally:
        connection.close()
