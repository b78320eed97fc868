"""The start of a daemon's process: one process a PID file, into the background, and the word that it serves.

twistd would write the PID file and let its caller go before the reactor runs: who reads the number then and sends a
signal meets a process whose handlers are not installed, and kills it. So both are done here. The caller of a start in
the background waits until the daemon serves or has failed, and ends with its status; what is wrong is said on standard
error. The PID file holds the number of the process from the moment that its signals are handled.

What decides about a PID file is a lock that the process holds as long as it lives, not the number in it: a file that a
dead process left, whatever process has its number today, is not in the way.
"""

import contextlib
import errno
import fcntl
import os
import signal
import stat
import sys
from collections.abc import Collection, Iterable, MutableMapping
from pathlib import Path
from typing import Any, NoReturn

import attrs
from twisted.internet.interfaces import IListeningPort, IReactorDaemonize

from smartproxy.logs.log import STANDARD_OUTPUT, standard_error
from smartproxy.policy.addresses import HostPort
from smartproxy.tap.predecessor import Predecessor
from smartproxy.tap.signals import ENDING

NOT_STARTED = 1
"""Exit status for a daemon that may not or cannot start, or cannot go on."""
BACKGROUND_UMASK = 0o077
_NUMBER_OCTETS_MOST = 32
_STANDARD_INPUT, _STANDARD_OUTPUT, _STANDARD_ERROR = range(3)


@attrs.frozen
class Occupied(Exception):
    """Another process holds the PID file.

    :ivar number: the process that the file names; 0 as long as it names none.
    :ivar proven: whether that process has the file open: whoever else locks a file need not have written it.
    """

    path: Path
    number: int
    proven: bool

    def __str__(self) -> str:
        if self.number == 0:
            return f"another process that is about to start holds {self.path}; name another file with --pid-file"
        if not self.proven:
            return (
                f"another process holds {self.path}, and may be another one than process {self.number}, which the file "
                "names; lsof tells which, or name another file with --pid-file"
            )
        return (
            f"process {self.number} is running and holds {self.path}; "
            f"end it with: kill -HUP {self.number} - or name another file with --pid-file"
        )


class PidFile:
    """The PID file of this process.

    :param path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def claim(self) -> int | None:
        """Lock the file, which is made if need be; the lock passes to the process in the background.

        :return: the number in a file that a dead process left, 0 if it holds none; ``None`` where there was no file.
        :raises Occupied: when another process holds it.
        :raises OSError: when it cannot be opened.
        """
        while True:
            found = self.path.exists()
            descriptor = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                number = _number_in(descriptor)
                proven = _has_open(number, descriptor)
                os.close(descriptor)
                raise Occupied(self.path, number, proven) from None
            if not _is_ours(descriptor):
                os.close(descriptor)
                raise FileExistsError(0, "it is not a PID file", str(self.path))
            if self._is_there(descriptor):
                break
            # Its holder ended, and removed it, between our opening and our locking it.
            os.close(descriptor)
        self._descriptor = descriptor
        number = _number_in(descriptor)
        # From here on, the number in a locked file is its holder's.
        os.ftruncate(descriptor, 0)
        return number if found else None

    def inherit(self, descriptor: int) -> None:
        """Hold the file that the process before this one locked: the lock is of both until that one ends."""
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int | None:
        """The file, while it is claimed."""
        return self._descriptor

    def write(self) -> None:
        """Write the number of this process, if the file was claimed."""
        if self._descriptor is not None:
            length = os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            os.ftruncate(self._descriptor, length)

    def release(self) -> None:
        """Remove the file, while it is still locked, and give it up."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._is_there(descriptor):
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(descriptor)

    def _is_there(self, descriptor: int) -> bool:
        """Whether what was opened is what stands there."""
        here = os.fstat(descriptor)
        try:
            there = self.path.stat()
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


def _has_open(number: int, descriptor: int) -> bool:
    """Whether a process has a file open, as far as this one may see."""
    here = os.fstat(descriptor)
    # The process may be gone, or another user's; or this one, which has opened the file only to look at it.
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{number}/fd").iterdir():
            if number == os.getpid() and each.name == str(descriptor):
                continue
            with contextlib.suppress(OSError):
                there = each.stat()
                if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                    return True
    return False


class Launch:
    """The way of one daemon from its command line to the moment that it serves.

    :param program: its name, in front of what is said.
    :ivar pid_file: where its PID file is, if it has one.
    :param predecessor: the process that this one takes over from, if it does.
    :ivar background: whether it is to leave its caller's terminal.
    :ivar succeeded: whether a newer process has taken over: the PID file is its.
    """

    def __init__(
        self,
        program: str,
        pid_file: Path | None,
        *,
        background: bool,
        predecessor: Predecessor | None = None,
    ) -> None:
        self.pid_file = pid_file
        self.background = background
        self.predecessor = predecessor
        self.succeeded = False
        self._program = program
        self._lock = None if pid_file is None else PidFile(pid_file)
        self._twistd: MutableMapping[str, Any] = {}
        self._caller: int | None = None
        self._output: int | None = None

    def take_over(self, twistd: MutableMapping[str, Any]) -> None:
        """Have twistd neither fork nor write a PID file.

        :param twistd: twistd's own options.
        """
        twistd["nodaemon"], twistd["pidfile"] = True, ""
        if self.background and twistd.get("umask") is None:
            twistd["umask"] = BACKGROUND_UMASK
        self._twistd = twistd

    def claim(self) -> int | None:
        """Take the PID file; what :meth:`PidFile.claim` returns, ``None`` without a PID file.

        :raises SystemExit: after a line that says why not.
        """
        if self._lock is None:
            return None
        if self.predecessor is not None and self.predecessor.pid_file is not None:
            self._lock.inherit(self.predecessor.pid_file)
            return None
        path = self._lock.path
        try:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except FileExistsError:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
            stale = self._lock.claim()
        except Occupied as occupied:
            self.fail(str(occupied))
        except OSError as error:
            self.fail(f"--pid-file: {path}: {error.strerror}")
        if stale is not None:
            self._say(f"{path} was left by a process that is gone; it is taken over")
        return stale

    def detach(self, reactor: Any) -> None:
        """Go on in a process of its own, without a terminal; the calling process waits for it, and ends here.

        Standard error stays as it is until the daemon serves, so that its caller sees what is wrong.
        """
        if not self.background:
            return
        if self.predecessor is not None:
            # A process in the background has started this one, and ends it if it does not come to serve.
            self._twistd["nodaemon"] = False
            return
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        if IReactorDaemonize.providedBy(reactor):
            reactor.beforeDaemonize()
        waiting, self._caller = os.pipe()
        if os.fork():
            os.close(self._caller)
            _wait(waiting)
        os.close(waiting)
        os.setsid()
        if os.fork():
            os._exit(0)
        with contextlib.suppress(OSError):
            self._output = os.dup(_STANDARD_OUTPUT)
        _close(_STANDARD_INPUT, _STANDARD_OUTPUT)
        if IReactorDaemonize.providedBy(reactor):
            reactor.afterDaemonize()
        # If the main loop breaks, twistd writes what broke it into a file, and not to the terminal that is gone.
        self._twistd["nodaemon"] = False

    def serving(self, reactor: Any, logs: Collection[str], told: Iterable[str] = ()) -> None:
        """The daemon serves, and its signals are handled: write the PID file, and tell and leave the caller.

        :param logs: where it logs to.
        :param told: what else is told on the console; in the foreground only what the log does not write there.
        """
        if self._lock is not None:
            try:
                self._lock.write()
            except OSError as error:
                # The lock says that the daemon runs; who waits for it to serve would do so for ever.
                why = f"{self._lock.path}: {error.strerror}"
                self._say(f"--pid-file: {why}; the daemon runs, but the file does not name process {os.getpid()}")
        if self.predecessor is not None:
            self.predecessor.serving()
        lines = "".join(f"{self._program}: {each}\n" for each in told)
        if self._caller is None:
            if STANDARD_OUTPUT not in logs:
                with contextlib.suppress(OSError):
                    os.write(_STANDARD_OUTPUT, lines.encode("utf-8", "surrogateescape"))
            return
        words = [f"{self._program}: process {os.getpid()} runs in the background"]
        if ports := _ports(reactor):
            words.append(f"listens at {', '.join(ports)}")
        if places := ", ".join(logs):
            words.append(f"logs to {places}")
        if self._output is not None:
            with contextlib.suppress(OSError):
                os.write(self._output, f"{'; '.join(words)}\n{lines}".encode("utf-8", "surrogateescape"))
            os.close(self._output)
        _close(_STANDARD_ERROR)
        self._tell(0)

    def fail(self, message: str) -> NoReturn:
        """End the process, and its caller with it: the daemon cannot serve.

        :param message: what is wrong, and what to do about it.
        """
        self._say(message)
        self.over()
        self._tell(NOT_STARTED)
        raise SystemExit(NOT_STARTED)

    def over(self) -> None:
        """The process ends: remove its PID file."""
        if self._lock is not None and not self.succeeded:
            self._lock.release()

    @property
    def locked(self) -> int | None:
        """The descriptor of the PID file, if there is one."""
        return None if self._lock is None else self._lock.descriptor

    def _say(self, message: str) -> None:
        if self.predecessor is not None:
            self.predecessor.tell(message)
        # Not sys.stderr, which belongs to the log as soon as there is one.
        with contextlib.suppress(OSError, ValueError):
            errors = standard_error()
            errors.write(f"{self._program}: {message}\n")
            errors.flush()

    def _tell(self, status: int) -> None:
        """Let the caller end with this status."""
        caller, self._caller = self._caller, None
        if caller is not None:
            # A caller that did not wait is no reason to end.
            with contextlib.suppress(OSError):
                os.write(caller, bytes([status]))
            os.close(caller)


def fill_standard_files() -> None:
    """Have standard files that are closed lead nowhere.

    What is opened next would take their places, such as the reactor's epoll, and be lost when the process leaves its
    terminal.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(descriptor)


def _wait(waiting: int) -> NoReturn:
    """End with the status that the daemon tells; with NOT_STARTED if it ends without a word."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    told = os.read(waiting, 1)
    os._exit(told[0] if told else NOT_STARTED)


def _close(*standard: int) -> None:
    """Let standard input, output or error be nothing."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in standard:
        os.dup2(null, number)
    if null not in standard:
        os.close(null)


def _ports(reactor: Any) -> list[str]:
    """The addresses at which the process listens for TCP."""
    hosts: list[Any] = [each.getHost() for each in reactor.getReaders() if IListeningPort.providedBy(each)]
    return sorted(str(HostPort(host.host, host.port)) for host in hosts if hasattr(host, "port"))
