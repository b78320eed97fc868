"""The console programs ``smartproxy-server`` and so on: the daemons without twistd's own switches.

They take the same switches as the twistd plugins, go to the background unless told otherwise, and keep a PID file: one
process per file. What decides is a lock on the file that the process holds as long as it lives, not the number in it: a
file that a dead process left, whatever process has its number today, is not in the way.
"""

import contextlib
import fcntl
import importlib
import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import IService, IServiceMaker, MultiService, Service
from twisted.internet.error import CannotListenError
from twisted.python import usage
from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]  # It is there, but not listed.
from zope.interface import implementer

from smartproxy.tap.daemon import NOT_STARTED, WRONG_USE, DaemonOptions
from smartproxy.tap.output import to_standard_output

_NUMBER_OCTETS_MOST = 32


def server_main() -> None:
    """Run ``smartproxy-server``."""
    _daemon("server", "ServerSwitches")


def client_main() -> None:
    """Run ``smartproxy-client``; without any switch, show them all."""
    _daemon("client", "ClientSwitches", show_all=True)


def backend_main() -> None:
    """Run ``smartproxy-backend``."""
    _daemon("backend", "BackendSwitches")


def plain_server_main() -> None:
    """Run ``smartproxy-plain-server``."""
    _daemon("plain_server", "PlainServerSwitches")


def plain_client_main() -> None:
    """Run ``smartproxy-plain-client``; without any switch, show them all."""
    _daemon("plain_client", "PlainClientSwitches", show_all=True)


def _daemon(name: str, switches: str, *, show_all: bool = False) -> None:
    """Run a daemon; its module is imported only here, because each needs other libraries.

    :param name: its module.
    :param switches: the class of its switches.
    :param show_all: whether it cannot do without switches: given none, it shows them all.
    """
    program = f"smartproxy-{name.replace('_', '-')}"
    try:
        module = importlib.import_module(f"smartproxy.tap.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("smartproxy"):
            raise
        sys.stderr.write(
            f"{program}: {error.name} is not installed; on the machine where this program is to run, install the "
            f"extra {name!r}: pip install 'smartproxy[{name}]'\n"
        )
        raise SystemExit(NOT_STARTED) from None
    options = getattr(module, switches)()
    if show_all and len(sys.argv) == 1:
        sys.stderr.write(f"{options}\n")
        raise SystemExit(WRONG_USE)
    _run(options, module.makeService, sys.argv[1:])


@attrs.frozen
class Occupied(Exception):
    """Another process holds the PID file.

    :ivar number: the process, as it has written itself; 0 as long as it has not.
    """

    path: Path
    number: int

    def __str__(self) -> str:
        if self.number == 0:
            return f"another process that is about to start holds {self.path}; name another file with --pid-file"
        return (
            f"process {self.number} is running and holds {self.path}; "
            f"end it with: kill -HUP {self.number} - or name another file with --pid-file"
        )


class PidFile(Service):
    """The PID file of this process.

    As a service it writes the number of the process when the daemon starts, which is after it went to the background.

    :param path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def claim(self) -> int | None:
        """Lock the file, which is made if need be; the lock passes to the process in the background.

        :return: the number in a file that a dead process left, 0 if it holds none; ``None`` where there was no file.
        :raises Occupied: when another process holds it.
        :raises OSError: when it cannot be opened.
        """
        while True:
            found = self._path.exists()
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                number = _number_in(descriptor)
                os.close(descriptor)
                raise Occupied(self._path, number) from None
            if not _is_ours(descriptor):
                os.close(descriptor)
                raise FileExistsError(0, "it is something else than a PID file", str(self._path))
            if self._is_there(descriptor):
                break
            # Its holder ended, and removed it, between our opening and our locking it.
            os.close(descriptor)
        self._descriptor = descriptor
        number = _number_in(descriptor)
        # From here on, the number in a locked file is its holder's.
        os.ftruncate(descriptor, 0)
        return number if found else None

    def startService(self) -> None:
        """Write the number of this process."""
        super().startService()
        assert self._descriptor is not None
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Remove the file, while it is still locked, and give it up."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._is_there(descriptor):
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(descriptor)

    def _is_there(self, descriptor: int) -> bool:
        """Whether what was opened is what stands there."""
        here = os.fstat(descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _is_ours(descriptor: int) -> bool:
    """Whether it can be a PID file: a plain file that holds no more than a number; nothing else is emptied."""
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and status.st_size <= _NUMBER_OCTETS_MOST


def _number_in(descriptor: int) -> int:
    """The number that a PID file holds; 0 if it holds none."""
    text = os.pread(descriptor, _NUMBER_OCTETS_MOST, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() and len(text) < 10 else 0


@implementer(IServiceMaker)
@attrs.frozen
class _Maker:
    """What twistd's runner makes the daemon with: its switches were read already."""

    tapname: str
    description: str
    options: type[DaemonOptions]
    pid_file: PidFile
    make: Callable[[Any], IService]

    def makeService(self, options: DaemonOptions) -> IService:
        """The daemon, with its PID file."""
        process = MultiService()
        self.pid_file.setServiceParent(process)
        self.make(options).setServiceParent(process)
        return process


def _run(options: DaemonOptions, make: Callable[[Any], IService], words: Sequence[str]) -> None:
    try:
        if status := to_standard_output(options.program, lambda: options.parseOptions(list(words)) or 0, needed=False):
            raise SystemExit(status)
    except usage.UsageError as error:
        options.wrong(str(error))
    path = options.pid_file
    pid_file = PidFile(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stale = pid_file.claim()
    except Occupied as occupied:
        options.end(NOT_STARTED, str(occupied))
    except OSError as error:
        options.end(NOT_STARTED, f"--pid-file: {path}: {error.strerror}")
    if stale is not None:
        options.warn(f"{path} was left by a process that is gone; it is taken over")
        options.notices.append(("pid_file.removed", {"path": str(path), "pid": stale}))
    config = ServerOptions()
    # The PID file is ours: twistd would judge it by the number in it.
    config.parseOptions(["--no_save", "--pidfile", "", *(["--nodaemon"] if options["foreground"] else [])])
    config["logger"] = options.observer
    config.subCommand, config.subOptions = options.program, options
    config.loadedPlugins = {options.program: _Maker(options.program, "", type(options), pid_file, make)}
    try:
        runApp(config)
    except CannotListenError as error:
        options.end(NOT_STARTED, f"cannot listen: {error.socketError}")
    finally:
        pid_file.release()
