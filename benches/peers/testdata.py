"""The keys, networks and certificate that all candidates get: the same at every run, but for the certificate."""

import base64
import ipaddress
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

NETWORKS = 1000
USERS_PER_CUSTOMER = 10
# The last network of the list decides whether the load's address is in it.
EVERY_LOOPBACK_ADDRESS = "127.0.0.0/8"
FEW_LOOPBACK_ADDRESSES = "127.0.0.0/28"
ADDRESS_OUTSIDE_FEW = "127.0.0.77"


@dataclass(frozen=True)
class Key:
    """A key and whose it is."""

    text: str
    customer: str
    user: str


@dataclass(frozen=True)
class TestData:
    """What is written for all candidates."""

    keys: list
    keys_file: Path
    wrong_keys_file: Path
    networks_file: Path
    narrow_networks_file: Path
    certificate: Path
    private_key: Path


def make_keys(count, seed=1):
    """`count` keys of 32 random bytes in base64, a user each; another seed makes other keys."""
    source = random.Random(seed)
    return [
        Key(
            base64.b64encode(source.randbytes(32)).decode(),
            f"customer{number // USERS_PER_CUSTOMER}",
            f"user{number}",
        )
        for number in range(count)
    ]


def make_networks(last):
    """As many IPv4 networks as a long allow-list has, of mixed sizes and apart from each other, `last` among them."""
    source = random.Random(2)
    networks = []
    taken = set()
    while len(networks) < NETWORKS - 1:
        # One in each /16, so that no two overlap: some peers refuse those that do.
        first, second = source.randrange(1, 224), source.randrange(256)
        if first == 127 or (first, second) in taken:
            continue
        taken.add((first, second))
        address = f"{first}.{second}.{source.randrange(256)}.{source.randrange(256)}"
        length = source.choice([16, 20, 22, 24, 24, 24, 28, 32])
        networks.append(str(ipaddress.ip_network(f"{address}/{length}", strict=False)))
    return [*networks, last]


def write_test_data(folder, key_count):
    """Writes everything below `folder`."""
    keys = make_keys(key_count)
    data = TestData(
        keys,
        write_keys(folder / "keys.txt", keys),
        write_keys(folder / "wrong-keys.txt", make_keys(min(key_count, 10_000), seed=3)),
        _write_lines(folder / "networks.txt", make_networks(EVERY_LOOPBACK_ADDRESS)),
        _write_lines(folder / "networks-narrow.txt", make_networks(FEW_LOOPBACK_ADDRESSES)),
        folder / "certificate.crt",
        folder / "certificate.key",
    )
    _make_certificate(data)
    return data


def write_keys(path, keys):
    """A line `KEY CUSTOMER/USER` each, as `latchkey key import` reads them."""
    return _write_lines(path, [f"{key.text} {key.customer}/{key.user}" for key in keys])


def _write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _make_certificate(data):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
    command += ["-days", "7", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(data.private_key), "-out", str(data.certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    data.private_key.chmod(0o600)
