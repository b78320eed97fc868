"""Programs as processes of their own: started, listened to, stopped, never left behind.

A program's output goes into a file; lines of JSON that it writes, on standard output or into a log of its own, are read
while they come. Every program is on a leash: it dies with the process that started it, however that one ends.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure

import smartproxy

POLL_SECONDS = 0.02
"""How often a log is looked into while somebody waits for an entry."""

PATIENCE_SECONDS = 720.0
"""How long one thing is waited for: many times what it takes on a quiet machine. A program's end is seen at once."""

STOPPING_SECONDS = 60.0
"""How long a program may take to end before it is killed: many times what it takes on a quiet machine."""

_TAIL_OCTETS = 2000


class ProgramFailed(Exception):
    """A program ended, or did not do what was waited for; the message says which and shows the end of its output."""


def script(name: str) -> list[str]:
    """How to run a script that was installed beside this Python."""
    return [sys.executable, str(Path(sys.executable).with_name(name))]


def module(name: str) -> list[str]:
    """How to run a module with this Python."""
    return [sys.executable, "-m", name]


def environment() -> dict[str, str]:
    """What programs find in their environment: ours, without the settings of SmartProxy, and with its package."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("SMARTPROXY_")}
    return {**found, "PYTHONPATH": str(Path(smartproxy.__file__).parent.parent)}


@attrs.frozen(kw_only=True)
class Finished:
    """How a program that ran to its end did."""

    status: int
    out: str
    err: str


async def finish(reactor: Any, argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Finished:
    """Run a program to its end."""
    out, err, status = await getProcessOutputAndValue(
        argv[0], argv[1:], env=dict(environment), path=str(folder), reactor=reactor
    )
    return Finished(status=status, out=out.decode(errors="replace"), err=err.decode(errors="replace"))


class Program(ProcessProtocol):
    """A program that runs.

    :param name: what it is called in messages.
    :param argv: the program, by its path, and its arguments.
    :param folder: its working directory.
    :param output: the file that its standard error goes to, and its standard output unless that is ``journal``.
    :param journal: the file that its lines of JSON go to.
    :param prints: whether it prints these lines, rather than writing the file itself.
    :ivar records: the lines of JSON read so far.
    :ivar status: its exit status once it has ended, negative for a signal.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        argv: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        output: Path,
        journal: Path,
        prints: bool,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.records: list[dict[str, Any]] = []
        self.status: int | None = None
        self._waiting: list[Deferred[None]] = []
        self._reactor = reactor
        self._output = output
        self._journal = journal
        self._position = 0
        with output.open("ab") as err, journal.open("ab") as out:
            self._process: IProcessTransport = reactor.spawnProcess(
                self,
                sys.executable,
                [*module("smartproxy.testing.leash"), str(os.getpid()), *argv],
                env=dict(environment),
                path=str(folder),
                childFDs={0: "w", 1: (out if prints else err).fileno(), 2: err.fileno()},
            )

    @property
    def pid(self) -> int:
        """Its process id, for as long as it runs."""
        pid: int = self._process.pid
        return pid

    def connectionMade(self) -> None:
        """Give it nothing to read."""
        assert self.transport is not None
        self.transport.closeStdin()

    def processEnded(self, reason: Failure) -> None:
        """Note how it ended."""
        end = reason.value
        assert isinstance(end, ProcessDone | ProcessTerminated)
        self.status = -end.signal if end.signal else end.exitCode
        for waiting in self._waiting:
            waiting.callback(None)

    def read(self) -> list[dict[str, Any]]:
        """The lines of JSON that have come since this was called last."""
        with self._journal.open("rb") as file:
            file.seek(self._position)
            lines, newline, _ = file.read().rpartition(b"\n")
        self._position += len(lines) + len(newline)
        found = [json.loads(line) for line in lines.splitlines()]
        self.records += found
        return found

    async def wait(
        self, wanted: Callable[[dict[str, Any]], bool], what: str, seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """The first line of JSON, past or to come, that is wanted.

        :param what: what is waited for, for the message.
        :raises ProgramFailed: if it does not come in time, or the program ends.
        """
        deadline = self._reactor.seconds() + seconds
        while True:
            running = self.status is None
            self.read()
            for record in self.records:
                if wanted(record):
                    return record
            if not running:
                raise ProgramFailed(f"{self.name} ended with status {self.status} before {what}{self._tail()}")
            if self._reactor.seconds() > deadline:
                raise ProgramFailed(f"{self.name}: no {what} within {seconds:.0f} seconds{self._tail()}")
            await deferLater(self._reactor, POLL_SECONDS)

    async def wait_for_event(self, name: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The first event of this name in a daemon's log."""
        return await self.wait(lambda record: record.get("name") == name, name, seconds)

    async def stop(self) -> None:
        """Ask it to end; kill it if it does not."""
        self._signal(signal.SIGTERM)
        kill = self._reactor.callLater(STOPPING_SECONDS, self._signal, signal.SIGKILL)
        await self.end()
        if kill.active():
            kill.cancel()

    async def end(self) -> int:
        """Wait for its end; gives its exit status."""
        if self.status is None:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
        assert self.status is not None
        return self.status

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessExitedAlready):
            self._process.signalProcess(number)

    def _tail(self) -> str:
        text = self._output.read_bytes()[-_TAIL_OCTETS:].decode(errors="replace").strip()
        return f"; the end of {self._output}:\n{text}" if text else ""
