"""The upstream of every candidate: nginx, and behind it, for the checks alone, an echo of what reaches an upstream."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from candidates import fill
from processes import Process, free_ports

# Named in configs/upstream.conf.
CHECK_TARGET = "/v2/domains/example.com/check"
LARGE_TARGET = "/v2/large"
ECHO_TARGET = "/v2/echo"
ANSWER_BYTES = 1024
LARGE_BYTES = 1 << 20


class Upstream:
    """Both servers, running until the harness ends."""

    def __init__(self, folder, core):
        folder.mkdir()
        self.large_answer = os.urandom(LARGE_BYTES)
        (folder / "large").write_bytes(self.large_answer)
        echo = ThreadingHTTPServer(("127.0.0.1", 0), _EchoHeaders)
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        [port] = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        config = folder / "nginx.conf"
        # Started by root, workers would be somebody who may not read this folder.
        user = "user root;" if os.geteuid() == 0 else ""
        values = {"FOLDER": folder, "ADDRESS": self.address, "ANSWER": _answer(), "USER": user}
        values["ECHO"] = f"127.0.0.1:{echo.server_port}"
        config.write_text(fill("upstream.conf", **values), encoding="utf-8")
        nginx = Process(["nginx", "-c", str(config), "-p", str(folder)], core, folder / "output.log")
        nginx.wait_for_ports([port], 10)


class _EchoHeaders(BaseHTTPRequestHandler):
    """Answers every header that it got, as a list of pairs, since a header may come twice."""

    def do_GET(self):
        body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def _answer():
    """A typical answer of a registry's API, filled up to 1 KiB."""
    text = json.dumps({"domainName": "example.com", "available": True, "padding": ""})
    return text.replace('""', '"' + "x" * (ANSWER_BYTES - len(text)) + '"')
