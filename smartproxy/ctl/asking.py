"""The operator's end of the control socket: one question, one answer, and no waiting without end.

Plain sockets, no reactor: it is used by a command that asks and ends.
"""

import contextlib
import socket
from pathlib import Path
from typing import TypeVar

from smartproxy import __version__
from smartproxy.ctl.protocol import ANSWER_OCTETS_MOST, DAEMON, Misunderstood, Request, named, read_answer
from smartproxy.policy.versions import Part, PartsApart, agree

A = TypeVar("A")
_NO_SOCKET = "this is not a socket; name the one of the daemon, PROGRAM.sock in its state folder"
_GONE = "the daemon ended the connection; it has stopped, or is being restarted"
_SENT_AWAY = "the daemon ended the connection; is this its own user, or root?"
_US = Part(program="smartproxy", version=__version__)


class Unreachable(Exception):
    """No daemon answers there; the text is one line that says what to do."""


class NotAllowedToAsk(Unreachable):
    """A daemon is there, and this user may not ask it."""


class Connection:
    """A connection to a daemon.

    :param path: of its socket.
    :raises Unreachable: when nobody answers there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answered = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(Request.patience)
        try:
            with named(path) as name:
                self._socket.connect(name)
        except OSError as error:
            self._socket.close()
            kind = NotAllowedToAsk if isinstance(error, PermissionError) else Unreachable
            other = isinstance(error, ConnectionRefusedError) and not path.is_socket()
            raise kind(f"{path}: {_NO_SOCKET if other else _advice(error)}") from error
        self._file = self._socket.makefile("rb")

    def ask(self, request: Request[A]) -> A:
        """Have a request answered.

        :raises Refused: when the daemon does not carry it out.
        :raises Unreachable: when it does not answer, or says what this command does not understand.
        """
        self._socket.settimeout(request.patience)
        try:
            # What the daemon said before it closed the connection can be read all the same.
            with contextlib.suppress(BrokenPipeError):
                self._socket.sendall(request.line())
            line = self._file.readline(ANSWER_OCTETS_MOST + 1)
        except ConnectionError:
            line = b""
        except OSError as error:
            raise Unreachable(f"{self._path}: {_advice(error, request.patience)}") from error
        if not line.endswith(b"\n"):
            # Whoever was answered once is let in.
            kind, why = (Unreachable, _GONE) if self._answered else (NotAllowedToAsk, _SENT_AWAY)
            raise kind(f"{self._path}: {why}")
        self._answered = True
        try:
            return read_answer(request, line)
        except Misunderstood as apart:
            raise Unreachable(f"{self._path}: {apart_words(apart.daemon)} ({apart})") from apart

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def apart_words(daemon: Part | None) -> str:
    """That this command and a daemon do not understand each other, and which of them to restart or update.

    Both are of one installation as a rule: the daemon that was started before an update is the older one.

    :param daemon: ``None`` for one that does not say what it is.
    """
    if daemon is None:
        return f"the daemon is of a version before {_US} and does not understand it; restart the daemon"
    try:
        agree(_US, daemon)
    except PartsApart as apart:
        restart = f"restart {DAEMON}, and if it is the same then, {apart.advice}"
        return f"{apart.message}; {restart if daemon.newest < _US.newest else apart.advice}"
    if daemon.version == _US.version:
        return f"{_US} cannot read what {daemon} says; does something else than a daemon of SmartProxy listen there?"
    return f"{_US} and {daemon} do not understand each other; restart the daemon, or update the older of both"


def _advice(error: OSError, seconds: float = Request.patience) -> str:
    match error:
        case FileNotFoundError():
            return "no such socket; does the daemon run, and is this its --state-dir or --ctl-socket?"
        case ConnectionRefusedError():
            return "no daemon listens there; it ended without removing the socket"
        case PermissionError():
            return "permission denied; ask as root, or as the daemon's own user"
        case TimeoutError():
            return f"no answer within {seconds:g} seconds"
    return error.strerror or str(error)
