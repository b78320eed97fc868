"""What is said on the control socket: one JSON object a line in each direction.

A request is ``{"do": ACTION, ...}``; its answer is ``{"ok": true, "answer": {...}}`` or ``{"ok": false, "error": "one
line that says why and what to do"}``, with ``"unknown": true`` where it is no request that the daemon knows. Each
answer has the daemon's ``version``, and its ``protocol``, in a form that never changes. A connection takes any number
of requests, answered in their order. Duty: read requests strictly, within bounds, and word answers. Trusts nothing
about a request; whoever sent it was let in before.

The socket's file name is good for the kernel however long its folder's name is: see :func:`named`.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar

import attrs

from smartproxy._version import __version__
from smartproxy.ctl.answers import DrainBegun, HandedOver, KilledSession, LevelsInForce, Licences, ListedSessions
from smartproxy.ctl.kinds import Words
from smartproxy.ctl.statuses import STATUS, InForce, Status
from smartproxy.policy.limits import SUCCESSION_SECONDS, Limit
from smartproxy.policy.schema import ObjectOf, Tagged, kind, write_object
from smartproxy.policy.strict_json import DocumentRefused, read
from smartproxy.policy.values import Line, ValueKind, Whole
from smartproxy.policy.versions import Part

NAME_OCTETS_MOST = 107
REQUEST_OCTETS_MOST = 4096
ANSWER_OCTETS_MOST = 16 * 1024 * 1024
"""What one answer may have: some thousands of sessions have far less."""
IDLE_SECONDS = 300
"""After so long without a request a daemon ends a connection."""
DAEMON: Final = "the daemon"
_PART: Final = Part(program=DAEMON, version=__version__)
_SAID: Final = {"version": _PART.version, "protocol": _PART.spoken}
"""What each answer says of the daemon."""
A = TypeVar("A")
_TEXT: Final = Line(most=128)
_SECONDS: Final = Limit(default=0, least=0, most=999_999_999, unit="seconds")


class Refused(Exception):
    """A request cannot be carried out; the text is one line for the operator."""


class NoRequest(Refused):
    """What was said is no request, or none that this version knows."""


class Misunderstood(Exception):
    """Command and daemon do not understand each other; the text says at which place.

    :ivar daemon: what the daemon is; ``None`` if it does not say so, as those of before.
    """

    def __init__(self, text: str, daemon: Part | None) -> None:
        super().__init__(text)
        self.daemon = daemon


@attrs.frozen(kw_only=True)
class Request(Generic[A]):
    """What is wanted of a daemon.

    :cvar do: the action's word.
    :cvar answer: what its answer is like.
    :cvar patience: seconds that the answer may take.
    """

    do: ClassVar[str]
    answer: ClassVar[ValueKind]
    patience: ClassVar[float] = 10.0

    def line(self) -> bytes:
        """The request as it is sent, with its line end."""
        said = {name: value for name, value in write_object(self).items() if value is not None}
        return json.dumps({"do": self.do, **said}).encode("ascii") + b"\n"


@attrs.frozen(kw_only=True)
class AskStatus(Request[Status]):
    """How the daemon is."""

    do: ClassVar = "status"
    answer: ClassVar = STATUS


@attrs.frozen(kw_only=True)
class AskSessions(Request[ListedSessions]):
    """The live sessions."""

    do: ClassVar = "sessions"
    answer: ClassVar = ObjectOf(ListedSessions)


@attrs.frozen(kw_only=True)
class AskGeneration(Request[InForce]):
    """The configuration in force."""

    do: ClassVar = "generation"
    answer: ClassVar = ObjectOf(InForce)


@attrs.frozen(kw_only=True)
class AskLicence(Request[Licences]):
    """The licence in force."""

    do: ClassVar = "licence"
    answer: ClassVar = ObjectOf(Licences)


@attrs.frozen(kw_only=True)
class AskLevel(Request[LevelsInForce]):
    """What is logged, and, with a level, a change of it: for a session, a partner, a category, or everything."""

    do: ClassVar = "level"
    answer: ClassVar = ObjectOf(LevelsInForce)
    level: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    session: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    partner: str | None = attrs.field(default=None, metadata=kind(_TEXT))
    category: str | None = attrs.field(default=None, metadata=kind(_TEXT))


@attrs.frozen(kw_only=True)
class TellDrain(Request[DrainBegun]):
    """The daemon is to end by draining.

    :ivar seconds: how long sessions may go on; ``None`` for what is configured.
    """

    do: ClassVar = "drain"
    answer: ClassVar = ObjectOf(DrainBegun)
    seconds: int | None = attrs.field(default=None, metadata=kind(Whole(_SECONDS)))


@attrs.frozen(kw_only=True)
class TellRestart(Request[HandedOver]):
    """The daemon is to leave everything to a new process of it, and to end when its sessions are over."""

    do: ClassVar = "restart"
    answer: ClassVar = ObjectOf(HandedOver)
    patience: ClassVar = SUCCESSION_SECONDS + 10.0


@attrs.frozen(kw_only=True)
class TellKill(Request[KilledSession]):
    """A session is to end."""

    do: ClassVar = "kill"
    answer: ClassVar = ObjectOf(KilledSession)
    session: str = attrs.field(metadata=kind(_TEXT))


REQUESTS: Final = Tagged(
    "do", (AskStatus, AskSessions, AskGeneration, AskLicence, AskLevel, TellDrain, TellRestart, TellKill)
)
"""All requests."""


def read_request(line: bytes) -> Request[Any]:
    """Understand a line without its end.

    :raises NoRequest: when it is none.
    """
    try:
        found: Request[Any] = REQUESTS.read(read(line, octets_most=REQUEST_OCTETS_MOST), "request")
    except DocumentRefused as refused:
        raise NoRequest(f"not a request: {refused}") from refused
    return found


def done(request: Request[A], answer: A) -> bytes:
    """The answer to a request as it is sent."""
    octets = json.dumps({"ok": True, "answer": request.answer.write(answer), **_SAID}).encode("ascii")
    if len(octets) >= ANSWER_OCTETS_MOST:
        return refused("the answer would be too long")
    return octets + b"\n"


def refused(why: str, *, unknown: bool = False) -> bytes:
    """A refusal as it is sent.

    :param unknown: whether it is because the request is none that this version knows.
    """
    document = {"ok": False, "error": why, **({"unknown": True} if unknown else {}), **_SAID}
    return json.dumps(document).encode("ascii") + b"\n"


def read_answer(request: Request[A], line: bytes) -> A:
    """Understand the answer to a request.

    :raises Refused: when the daemon does not carry it out.
    :raises Misunderstood: when this is no answer to it, or the daemon does not know the request.
    """
    daemon = None
    try:
        document = read(line, octets_most=ANSWER_OCTETS_MOST, fractions=True)
        told = document if isinstance(document, dict) else {}
        daemon = _daemon(told)
        if told.get("ok") is False:
            why = Words().read(told.get("error"), "error")
            # A daemon of before does not say whether it knows the request.
            if daemon is None or told.get("unknown") is True:
                raise Misunderstood(why, daemon)
            raise Refused(why)
        found: A = request.answer.read(told.get("answer") if told else document, "answer")
    except DocumentRefused as unread:
        raise Misunderstood(str(unread), daemon) from unread
    return found


def _daemon(told: Mapping[str, object]) -> Part | None:
    """What a daemon says that it is."""
    version, spoken = told.get("version"), told.get("protocol")
    if not isinstance(version, str) or not isinstance(spoken, str):
        return None
    try:
        return Part.told(DAEMON, version, spoken)
    except ValueError:
        return None


@contextlib.contextmanager
def named(path: Path) -> Iterator[str]:
    """A name that a socket can have, good for as long as the context is entered.

    :raises OSError: when the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= NAME_OCTETS_MOST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
