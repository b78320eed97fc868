"""How a program inside says whom it wants, and how it is answered: what HTTP CONNECT and SOCKS5 have in common.

Duty: the words that both ways share, and the choice between them by the first octet, so that one port serves both. A
dialogue is fed octets cut anywhere and never touches a transport. Knows nothing of what is carried afterwards.
"""

import enum
from collections.abc import Callable
from typing import Final, Protocol

import attrs


class ConnectFailure(enum.Enum):
    """Why a requester cannot have what it asked for; each way has words of its own for it."""

    NOT_ALLOWED = "not allowed"
    NO_NAME = "the name is not known"
    NO_ROUTE = "there is no route"
    REFUSED = "the connection is refused"
    TIMED_OUT = "there is no answer in time"
    NOT_ACCEPTABLE = "the far end is not what it should be"
    NOT_READY = "this end is not ready"


@attrs.frozen
class Target:
    """Whom a requester asked for, in its own words.

    :ivar host: a name or an address.
    :ivar port: the port, if one was said.
    """

    host: str
    port: int | None


@attrs.define(auto_exc=True, eq=False, str=False)
class RequestRefused(Exception):
    """A request that is not one, or asks for what is not offered.

    :ivar cause: one sentence of our own; holds no octet of the requester.
    :ivar answer: what the requester is told, in the words of its way.
    """

    cause: str
    answer: bytes

    def __str__(self) -> str:
        return self.cause


class Dialogue(Protocol):
    """One requester's request; nothing is fed to it once its target is known."""

    @property
    def name(self) -> str:
        """The way, for logs."""

    @property
    def target(self) -> Target | None:
        """Whom the requester wants, once that is known."""

    @property
    def rest(self) -> bytes:
        """Octets that came after the request: they are for the far end."""

    def receive(self, octets: bytes) -> bytes:
        """Take octets; what is to be answered at once.

        :raises RequestRefused: if they are wrong.
        """

    def accepted(self) -> bytes:
        """The answer when the far end is there."""

    def refused(self, trouble: ConnectFailure, cause: str) -> bytes:
        """The answer when it is not.

        :param cause: one sentence of our own, for ways that have a place for it.
        """


class FirstOctet:
    """A dialogue that becomes the one that its first octet belongs to.

    :param ways: makes a dialogue, by the first octet that tells it.
    :param otherwise: makes the dialogue of every other first octet.
    """

    def __init__(self, ways: dict[int, Callable[[], Dialogue]], otherwise: Callable[[], Dialogue]) -> None:
        self._ways = ways
        self._otherwise = otherwise
        self._chosen: Dialogue | None = None

    @property
    def name(self) -> str:
        """The way, once it is known."""
        return "unknown" if self._chosen is None else self._chosen.name

    @property
    def target(self) -> Target | None:
        """Whom the requester wants, once that is known."""
        return None if self._chosen is None else self._chosen.target

    @property
    def rest(self) -> bytes:
        """Octets that came after the request."""
        return b"" if self._chosen is None else self._chosen.rest

    def receive(self, octets: bytes) -> bytes:
        """Take octets; the first one chooses."""
        if self._chosen is None:
            if not octets:
                return b""
            self._chosen = self._ways.get(octets[0], self._otherwise)()
        return self._chosen.receive(octets)

    def accepted(self) -> bytes:
        """The answer when the far end is there."""
        return b"" if self._chosen is None else self._chosen.accepted()

    def refused(self, trouble: ConnectFailure, cause: str) -> bytes:
        """The answer when it is not; nothing to whom has said nothing."""
        return b"" if self._chosen is None else self._chosen.refused(trouble, cause)


PORTS: Final = range(1, 65_536)
"""Ports that can be asked for."""
