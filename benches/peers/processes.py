"""Starts and ends the programs of a comparison, and reads the CPU time that they used from /proc.

Nothing outlives the harness: every program that was started is in `_running`, and is ended by its id.
"""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 3
_running = []


class StartError(Exception):
    """A program ended, or did not listen in time; the text tells the end of its log."""


@dataclass(frozen=True)
class Stat:
    """What is used of /proc/PID/stat: the parent's id, and CPU time in ticks."""

    parent: int
    ticks: int


def parse_stat(text):
    """Parses /proc/PID/stat (proc_pid_stat(5)).

    The program's name stands in parentheses and may itself hold spaces and parentheses, so fields are counted from the
    last one. User and system time hold those of all threads; those of children that have ended are added.
    """
    fields = text.rpartition(")")[2].split()
    return Stat(parent=int(fields[1]), ticks=sum(int(field) for field in fields[11:15]))


def family(root, parents):
    """`root` and everything below it; `parents` tells the parent of every process."""
    found = [root]
    for process in found:
        found.extend(child for child, parent in parents.items() if parent == process)
    return found


def _read_stats():
    stats = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                stats[int(name)] = parse_stat(file.read())
        except (FileNotFoundError, ProcessLookupError):
            pass  # It ended meanwhile.
    return stats


def _family_of(root, stats):
    return family(root, {process: stat.parent for process, stat in stats.items()})


class Process:
    """A program that runs on one core, with its output in a file."""

    def __init__(self, argv, core, log, environment=None):
        self.log = log
        with open(log, "wb") as output:
            self._child = subprocess.Popen(
                ["taskset", "-c", str(core), *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
            )
        _running.append(self)

    def cpu_seconds(self):
        """User and system time of the program, all its threads and all its children, since they began."""
        if self._child.poll() is not None:
            raise StartError(f"it ended with status {self._child.returncode}: {self._end_of_log()}")
        stats = _read_stats()
        ids = _family_of(self._child.pid, stats)
        return sum(stats[process].ticks for process in ids if process in stats) / TICKS_PER_SECOND

    def wait_for_ports(self, ports, seconds):
        """Waits until every port takes connections."""
        deadline = time.monotonic() + seconds
        for port in ports:
            while not _is_open(port):
                if self._child.poll() is not None:
                    raise StartError(f"it ended with status {self._child.returncode}: {self._end_of_log()}")
                if time.monotonic() > deadline:
                    raise StartError(f"port {port} is not open after {seconds} s: {self._end_of_log()}")
                time.sleep(0.05)

    def stop(self):
        """Asks it to end, then ends it; what it started ends with it."""
        if self not in _running:
            return
        _running.remove(self)
        children = _family_of(self._child.pid, _read_stats())[1:]
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        # Those that are still there were orphaned by the kill above; an id is not used again this soon.
        left = _read_stats().keys() & set(children)
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _end_of_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-1000:].strip() or "its log is empty"


def stop_all():
    """Ends whatever is still running, the latest first."""
    for process in reversed(list(_running)):
        process.stop()


def free_ports(count):
    """Ports of 127.0.0.1 that nobody listens on; all are held until the last is found, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
