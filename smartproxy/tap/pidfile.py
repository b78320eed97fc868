"""PID files: one process per file, named when it is in the way.

twistd writes and removes the file; this module decides before whether the program may start. A process that has the
number of a dead one, but is another program, is not in the way.
"""

import os
from pathlib import Path

import attrs

_OURS = (b"smartproxy", b"twistd")


@attrs.frozen
class Occupied(Exception):
    """The file names a process that runs."""

    path: Path
    pid: int
    command: str

    def __str__(self) -> str:
        return (
            f"process {self.pid} ({self.command}) is running, as {self.path} says; "
            f"end it with: kill -HUP {self.pid} - or name another file with --pid-file"
        )


def claim(path: Path) -> int | None:
    """Make way for a new process.

    :return: the process ID that a stale file held, which was removed; ``None`` if there was no file; 0 if it held none.
    :raises Occupied: when the process in the file runs.
    :raises OSError: when the file can be neither read nor removed.
    """
    try:
        text = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    pid = int(text) if text.isdecimal() and len(text) < 10 else 0
    command = _command_of(pid)
    if command is not None and pid != os.getpid() and any(word in command for word in _OURS):
        raise Occupied(path, pid, command.replace(b"\0", b" ").decode("utf-8", "backslashreplace").strip()[:200])
    path.unlink(missing_ok=True)
    return pid


def _command_of(pid: int) -> bytes | None:
    """The command line of a process; ``None`` when there is no such process."""
    if pid == 0:
        return None
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        # It exists and is somebody else's; without a look at it, it counts as ours.
        return b"smartproxy"
