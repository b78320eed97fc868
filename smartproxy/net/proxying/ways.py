"""What HTTP CONNECT and SOCKS5 have in common: how a local program names its target, and how it is answered.

Duty: the types that both protocols share, and the choice between them by the first octet, so that one port serves both.
A dialogue is fed octets cut anywhere and never touches a transport. Knows nothing of what is carried afterwards.
"""

import enum
from collections.abc import Callable
from typing import Final, Protocol

import attrs


class ConnectFailure(enum.Enum):
    """Why a program gets no connection; each protocol has its own answer for it."""

    NOT_ALLOWED = "not allowed"
    NO_NAME = "the host name is unknown"
    NO_ROUTE = "there is no route to the host"
    REFUSED = "the connection was refused"
    TIMED_OUT = "there was no answer in time"
    NOT_ACCEPTABLE = "the far end is not the expected one"
    NOT_READY = "the proxy is not ready"


@attrs.frozen
class Target:
    """The host and port that a program asked for, as the program wrote them.

    :ivar host: a name or an address.
    :ivar port: the port, if the program named one.
    """

    host: str
    port: int | None


@attrs.define(auto_exc=True, eq=False, str=False)
class RequestRefused(Exception):
    """A request that is malformed, or asks for what is not offered.

    :ivar cause: one sentence of our own; holds no octet of the requester.
    :ivar answer: the octets that answer it, in the program's protocol.
    """

    cause: str
    answer: bytes

    def __str__(self) -> str:
        return self.cause


class Dialogue(Protocol):
    """One requester's request; nothing is fed to it once its target is known."""

    @property
    def name(self) -> str:
        """The protocol's name, for logs."""

    @property
    def target(self) -> Target | None:
        """The target, once it is known."""

    @property
    def rest(self) -> bytes:
        """Octets that came after the request: they are for the far end."""

    def receive(self, octets: bytes) -> bytes:
        """Take octets; returns what has to be sent at once.

        :raises RequestRefused: if they are wrong.
        """

    def accepted(self) -> bytes:
        """The answer that the connection is established."""

    def refused(self, trouble: ConnectFailure, cause: str) -> bytes:
        """The answer that there is no connection.

        :param cause: one sentence of our own, for protocols that have a field for it.
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
        """The protocol's name, once it is known."""
        return "unknown" if self._chosen is None else self._chosen.name

    @property
    def target(self) -> Target | None:
        """The target, once it is known."""
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
        """The answer that the connection is established."""
        return b"" if self._chosen is None else self._chosen.accepted()

    def refused(self, trouble: ConnectFailure, cause: str) -> bytes:
        """The answer that there is no connection; empty for a program that sent nothing."""
        return b"" if self._chosen is None else self._chosen.refused(trouble, cause)


PORTS: Final = range(1, 65_536)
"""Ports that can be asked for."""
