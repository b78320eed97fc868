"""The console programs ``smartproxy-server`` and so on: the daemons without twistd's own switches.

They take the same switches as the twistd plugins, go to the background unless told otherwise, and keep a PID file.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Application, IService, IServiceCollection
from twisted.internet.error import CannotListenError
from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions, UnixApplicationRunner

from smartproxy.tap.daemon import NOT_STARTED, WRONG_USE, DaemonOptions


def server_main() -> None:
    """Run ``smartproxy-server``."""
    from smartproxy.tap import server

    _run(server.Options(), server.makeService, sys.argv[1:])


def client_main() -> None:
    """Run ``smartproxy-client``; without any switch, show them all."""
    from smartproxy.tap import client

    _show_all(client.Options())
    _run(client.Options(), client.makeService, sys.argv[1:])


def backend_main() -> None:
    """Run ``smartproxy-backend``."""
    from smartproxy.tap import backend

    _run(backend.Options(), backend.makeService, sys.argv[1:])


def plain_server_main() -> None:
    """Run ``smartproxy-plain-server``."""
    from smartproxy.tap import plain_server

    _run(plain_server.Options(), plain_server.makeService, sys.argv[1:])


def plain_client_main() -> None:
    """Run ``smartproxy-plain-client``; without any switch, show them all."""
    from smartproxy.tap import plain_client

    _show_all(plain_client.Options())
    _run(plain_client.Options(), plain_client.makeService, sys.argv[1:])


def _show_all(options: DaemonOptions) -> None:
    """Show the switches of a program that cannot do without some, and was given none."""
    if len(sys.argv) == 1:
        sys.stderr.write(f"{options}\n")
        raise SystemExit(WRONG_USE)


class _Runner(UnixApplicationRunner):
    """twistd's runner, with the service of switches that were read already."""

    def __init__(self, config: ServerOptions, program: str, make: Callable[[], IService]) -> None:
        super().__init__(config)
        self._program = program
        self._make = make

    def createOrGetApplication(self) -> Any:
        """What is run."""
        application = Application(self._program)
        self._make().setServiceParent(IServiceCollection(application))
        return application


def _run(options: DaemonOptions, make: Callable[[Any], IService], words: Sequence[str]) -> None:
    try:
        options.parseOptions(list(words))
    except usage.UsageError as error:
        options.wrong(str(error))
    path = options.pid_file
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stale = claim(path)
    except Occupied as occupied:
        options.end(NOT_STARTED, str(occupied))
    except OSError as error:
        options.end(NOT_STARTED, f"--pid-file: {path}: {error.strerror}")
    if stale is not None:
        options.warn(f"{path} was left by process {stale}, which is gone; it was removed")
        options.notices.append(("pid_file.removed", {"path": str(path), "pid": stale}))
    config = ServerOptions()
    config.parseOptions(["--no_save", "--pidfile", str(path), *(["--nodaemon"] if options["foreground"] else [])])
    config["logger"] = options.observer
    try:
        _Runner(config, options.program, lambda: make(options)).run()
    except CannotListenError as error:
        options.end(NOT_STARTED, f"cannot listen: {error.socketError}")


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
