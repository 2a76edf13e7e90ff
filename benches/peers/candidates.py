"""What is compared: how each proxy is configured for the same checks, and started.

A candidate lets a request through when the client's address is in a list of networks and its key is known. The
upstream gets the key's user in `X-Auth-User` and no `Authorization`. Each has one worker thread.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import caddy
import envoy
from processes import Process, StartError, free_ports
from testdata import write_keys

HERE = Path(__file__).parent
# A million keys take their time to be imported and read.
PREPARE_SECONDS = 300
START_SECONDS = 120


@dataclass(frozen=True)
class Setup:
    """Everything that a candidate's configuration says."""

    program: str
    folder: Path
    keys: list
    networks_file: Path
    certificate: Path
    private_key: Path
    upstream: str
    http: str
    tls: str
    ops: str

    def networks(self):
        """The list of networks, as texts."""
        return self.networks_file.read_text(encoding="utf-8").split()


@dataclass(frozen=True)
class Kind:
    """A program that is compared: its name, how it is prepared, and what is known to differ."""

    name: str
    title: str
    prepare: object
    remark: str = ""


class Candidate:
    """A running one."""

    def __init__(self, kind, program, data, upstream, core, folder, *, keys=None, networks_file=None):
        folder.mkdir(parents=True)
        ports = free_ports(3)
        http, tls, ops = (f"127.0.0.1:{port}" for port in ports)
        setup = Setup(
            str(program),
            folder,
            keys or data.keys,
            networks_file or data.networks_file,
            data.certificate,
            data.private_key,
            upstream.address,
            http,
            tls,
            ops,
        )
        self.kind, self.folder, self.data = kind, folder, data
        self.http_port, self.tls_port, self.ops_port = ports
        command, environment = kind.prepare(setup)
        self.process = Process(command, core, folder / "output.log", environment)
        try:
            self.process.wait_for_ports(ports[:2], START_SECONDS)
        except StartError:
            self.process.stop()
            raise

    def cpu_seconds(self):
        """CPU time of its processes since they began."""
        return self.process.cpu_seconds()

    def clear_access_log(self):
        """Keeps the disk from filling up: a run may write hundreds of megabytes."""
        log = self.folder / "access.jsonl"
        if log.exists():
            with open(log, "r+b") as file:
                file.truncate()

    def stop(self):
        """Ends it."""
        self.process.stop()


def fill(template, **values):
    """The text of a file in configs/ with every @NAME@ replaced."""
    text = (HERE / "configs" / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _fill_for(setup, template, **values):
    return fill(
        template,
        FOLDER=setup.folder,
        NETWORKS=setup.networks_file,
        CERTIFICATE=setup.certificate,
        PRIVATE_KEY=setup.private_key,
        UPSTREAM=setup.upstream,
        HTTP=setup.http,
        TLS=setup.tls,
        OPS=setup.ops,
        **values,
    )


def _write(setup, name, text):
    path = setup.folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def _key_lines(setup, form):
    return "".join(form.format(key=key.text, user=key.user) for key in setup.keys)


def _prepare_latchkey(setup):
    config = _write(setup, "latchkey.yaml", _fill_for(setup, "latchkey.yaml"))
    keys = str(write_keys(setup.folder / "keys.txt", setup.keys))
    command = [setup.program, "key", "import", "--config", config, "--create-users", "--scope", "api", "--yes", keys]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PREPARE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise StartError(f"its keys were not imported within {PREPARE_SECONDS} s") from None
    if done.returncode != 0:
        raise StartError(f"its keys could not be imported: {done.stderr.strip()}")
    return [setup.program, "serve", "--config", config], {}


def _prepare_nginx(setup):
    _write(setup, "keys.map", _key_lines(setup, '"ApiKey {key}" {user};\n'))
    _write(setup, "networks.geo", "".join(f"{network} 1;\n" for network in setup.networks()))
    # The next power of two above twice the number of keys.
    size = 1 << max(11, (2 * len(setup.keys) - 1).bit_length())
    config = _write(setup, "nginx.conf", _fill_for(setup, "nginx.conf", MAP_SIZE=size))
    return [setup.program, "-c", config, "-p", str(setup.folder)], {}


def _prepare_haproxy(setup):
    _write(setup, "keys.map", _key_lines(setup, "{key} {user}\n"))
    _write(setup, "certificate.pem", setup.certificate.read_text() + setup.private_key.read_text())
    config = _write(setup, "haproxy.cfg", _fill_for(setup, "haproxy.cfg"))
    return [setup.program, "-db", "-f", config], {}


def _prepare_envoy(setup):
    config = _write(setup, "envoy.json", json.dumps(envoy.configuration(setup)))
    return [setup.program, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"], {}


def _prepare_caddy(setup):
    config = _write(setup, "caddy.json", json.dumps(caddy.configuration(setup)))
    # Caddy keeps what it finds out in the home folder; one thread at a time runs Go.
    home = {name: str(setup.folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    return [setup.program, "run", "--config", config], {"GOMAXPROCS": "1", **home}


def _prepare_pingora(setup):
    keys = _write(setup, "keys.txt", _key_lines(setup, "{key} {user}\n"))
    files = [str(setup.certificate), str(setup.private_key)]
    return [setup.program, keys, str(setup.networks_file), setup.upstream, setup.http, setup.tls, *files], {}


LATCHKEY = Kind("latchkey", "Latchkey", _prepare_latchkey)
PEERS = {
    peer.name: peer
    for peer in (
        Kind("nginx", "nginx", _prepare_nginx, "its map takes a key whose letters are in the other case"),
        Kind("haproxy", "HAProxy", _prepare_haproxy),
        Kind("envoy", "Envoy", _prepare_envoy),
        Kind("caddy", "Caddy", _prepare_caddy, "its map compares one key after the other"),
        Kind("pingora", "Pingora", _prepare_pingora),
    )
}
