"""The event script: one run of a program, with the event as JSON on its standard input and in its environment.

Blocks, so that it is called in a thread. Started without a shell, in a session of its own, in the folder ``/``, with an
environment that holds the event and nothing of the daemon's: no secret of the backend reaches it. What the program
leaves behind is ended with it. Trusts nothing of the event: each text is escaped, as it is shown everywhere else, and
is data on a pipe or the value of a variable, never a part of a command line. What the program writes is cut and
escaped before anybody sees it.
"""

import contextlib
import json
import os
import selectors
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from smartproxy.logs.fields import Value
from smartproxy.logs.render import escape
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause

PREFIX: Final = "SMARTPROXY_EVENT_"
"""What the names of the variables begin with that hold the event."""
ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
}
"""What else stands in the environment."""

_PIPE_LOOK_SECONDS: Final = 0.1
"""How often it is looked whether a program has ended, where its pipes are quiet."""
_PIECE: Final = 65_536
_PIPE_PIECES: Final = 2
_LINE_MOST: Final = 1_000


@attrs.frozen(kw_only=True)
class ScriptRun:
    """What came of a run.

    :ivar cause: why it failed; ``None`` if it did not.
    :ivar message: the cause in a sentence.
    :ivar exit_status: its exit status, or the negative number of the signal that ended it; ``None`` if it never ran.
    :ivar output: what it wrote to standard output and error, cut and escaped.
    :ivar interrupted: whether :meth:`EventScripts.stop` ended it.
    """

    cause: Cause | None = None
    message: str = ""
    exit_status: int | None = None
    output: str = ""
    seconds: float = 0.0
    interrupted: bool = False


def environment(event: Mapping[str, Value]) -> dict[str, str]:
    """The environment of a run: one variable for each field of the event; lists and objects as JSON."""
    return {**ENVIRONMENT, **{f"{PREFIX}{name.upper()}": _variable(value) for name, value in event.items()}}


def _variable(value: Value) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list() | dict():
            return json.dumps(value)
        case _:
            return escape(str(value), limits.SCRIPT_OUTPUT_OCTETS)


def unusable(program: str) -> tuple[Cause, str] | None:
    """Why a program is not started, in a code and a sentence; ``None`` if it can be."""
    try:
        found = os.stat(program)
    except OSError as error:
        return Cause.SCRIPT_MISSING, f"{program} cannot be started: {error.strerror}"
    if not stat.S_ISREG(found.st_mode) or not os.access(program, os.X_OK):
        return Cause.SCRIPT_MISSING, f"{program} cannot be started: it is no file that this user may execute"
    if found.st_mode & stat.S_IWOTH:
        return Cause.SCRIPT_UNSAFE, f"{program} is not started: every user may change it (chmod o-w)"
    return None


class EventScripts:
    """The runs of the event script in this process; each is in a thread of its own.

    :param seconds: tells how much time passed.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._stopped = False

    def run(self, program: str, event: Mapping[str, Value], seconds: float) -> ScriptRun:
        """Start the program for an event, and wait for its end.

        :param seconds: after this long it is ended.
        """
        fault = unusable(program)
        if fault is not None:
            return ScriptRun(cause=fault[0], message=fault[1])
        begun = self._seconds()
        with self._lock:
            # Between the lock's two uses no run can begin that a stop does not see.
            if self._is_stopped():
                return ScriptRun(interrupted=True)
            try:
                process = subprocess.Popen(  # noqa: S603  The operator's program, and no argument at all.
                    [program],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env=environment(event),
                    start_new_session=True,
                )
            except OSError as error:
                return ScriptRun(cause=Cause.SCRIPT_MISSING, message=f"{program} cannot be started: {error.strerror}")
            self._running.add(process.pid)
        with process:
            talk = _Talk(process, json.dumps(event).encode() + b"\n", self._seconds)
            in_time = talk.until(begun + seconds)
            if not in_time:
                _signal(process.pid, signal.SIGTERM)
                talk.until(self._seconds() + limits.SCRIPT_KILL_SECONDS)
            # Its group is its own as long as it was not waited for; what it left behind there ends, too.
            _signal(process.pid, signal.SIGKILL)
            talk.rest()
            with self._lock:
                self._running.discard(process.pid)
                stopped = self._is_stopped()
            status = process.wait()
        run = ScriptRun(exit_status=status, output=talk.output, seconds=self._seconds() - begun)
        if stopped and status != 0:
            return attrs.evolve(run, interrupted=True)
        return _judged(run, program, seconds, in_time=in_time)

    def _is_stopped(self) -> bool:
        # In a method, because another thread sets it.
        return self._stopped

    def stop(self) -> None:
        """End all runs, and begin none."""
        with self._lock:
            self._stopped = True
            for pid in self._running:
                _signal(pid, signal.SIGKILL)


def _judged(run: ScriptRun, program: str, seconds: float, *, in_time: bool) -> ScriptRun:
    status = run.exit_status or 0
    if not in_time:
        message = f"{program} was ended: it ran for longer than {seconds:g} s"
        return attrs.evolve(run, cause=Cause.SCRIPT_TIMEOUT, message=message)
    if status:
        end = f"the signal {-status}" if status < 0 else f"exit status {status}"
        return attrs.evolve(run, cause=Cause.SCRIPT_STATUS, message=f"{program} ended with {end}")
    return run


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class _Talk:
    """What is written to a program, and what is read from it, with bounds."""

    def __init__(self, process: "subprocess.Popen[bytes]", told: bytes, seconds: Callable[[], float]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._pid = process.pid
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._left = memoryview(told)
        self._seconds = seconds
        self._kept = bytearray()
        self._cut = False
        self._silent = False
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)

    @property
    def output(self) -> str:
        """What was written, line by line safe to show; ``…`` at the end where it was cut."""
        text = bytes(self._kept).decode("utf-8", "replace")
        lines = [escape(each.rstrip("\r"), _LINE_MOST) for each in text.rstrip("\n").split("\n")]
        return "\n".join(lines) + ("\n…" if self._cut else "")

    def until(self, deadline: float) -> bool:
        """Talk until the program has ended; return whether it did before the deadline."""
        with selectors.DefaultSelector() as selector:
            if self._left:
                selector.register(self._stdin, selectors.EVENT_WRITE)
            if not self._silent:
                selector.register(self._stdout, selectors.EVENT_READ)
            while not self._has_ended():
                rest = deadline - self._seconds()
                if rest <= 0:
                    return False
                # A selector without files waits, too.
                for key, _ in selector.select(min(rest, _PIPE_LOOK_SECONDS)):
                    if key.fileobj is self._stdin:
                        if self._write():
                            selector.unregister(self._stdin)
                    elif self._read():
                        self._silent = True
                        selector.unregister(self._stdout)
            return True

    def rest(self) -> None:
        """Read what is still in the pipe, but not from one that writes on and on from another session."""
        for _ in range(_PIPE_PIECES):
            if self._silent or self._read(waiting=False):
                return

    def _has_ended(self) -> bool:
        """Whether the program has ended; it is not waited for, so that its number is not given to another one."""
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _write(self) -> bool:
        """Write some; return whether there is no more to write."""
        try:
            self._left = self._left[os.write(self._stdin.fileno(), self._left) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self._left = memoryview(b"")
        if not self._left:
            self._stdin.close()
        return not self._left

    def _read(self, *, waiting: bool = True) -> bool:
        """Read some; return whether there is no more to read."""
        try:
            piece = os.read(self._stdout.fileno(), _PIECE)
        except BlockingIOError:
            return not waiting
        room = limits.SCRIPT_OUTPUT_OCTETS - len(self._kept)
        self._cut = self._cut or len(piece) > room
        self._kept += piece[:room]
        return not piece
