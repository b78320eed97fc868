"""Memory that connections do not need while they have nothing to do.

Duty: a session may stay for hours without a word, and OpenSSL's memory BIOs keep the size of the largest piece that
went through them; connections that are quiet rest without any. And what many connections leave behind when they end
goes back to the system. Whoever runs the process calls :meth:`Thrift.give_back` every :data:`QUIET_SECONDS`. Never
touches a connection that has octets under way.
"""

import gc
from typing import Final

from smartproxy.net.tls.openssl import drop_bios, make_bios
from smartproxy.net.transport.facts import TlsFacts
from smartproxy.net.transport.memory import trim

QUIET_SECONDS: Final = 2.0
"""How long a connection has to be quiet, at least; at most twice as long."""

SMALL: Final = 4 * 1024
"""A piece up to so many octets leaves no memory behind that is worth giving back."""

ENDED_MANY: Final = 20
"""Connections that leave something behind that is worth a look of the C library."""


class RestingTls(TlsFacts):
    """A connection through TLS that does with less while it is quiet."""

    __slots__ = ("_resting",)

    def __init__(self) -> None:
        super().__init__()
        self._resting = False

    def rest(self) -> bool:
        """Give back what OpenSSL needs only while octets come or go; whether it is given back."""
        self._resting = self._resting or drop_bios(self._tls)
        return self._resting

    def _wake(self) -> None:
        """Octets come or go."""
        make_bios(self._tls)
        self._resting = False
        THRIFT.grown.add(self)


class Thrift:
    """What connections of this process can give back.

    :ivar grown: those that have woken, or through which a large piece has passed, since the last :meth:`give_back`.
    """

    def __init__(self) -> None:
        self.grown: set[RestingTls] = set()
        self._quiet: set[RestingTls] = set()
        self._ended = 0
        self._rings = 0
        self._rings_seen = 0

    def forget(self, connection: RestingTls) -> None:
        """A connection has ended."""
        self.grown.discard(connection)
        self._quiet.discard(connection)
        self._ended += 1

    def ended_in_a_ring(self) -> None:
        """A connection has ended whose parts hold one another, as Twisted's own TLS and http do."""
        self._rings += 1

    def give_back(self) -> int:
        """Have connections give back what they do not need.

        :return: how many gave some back.
        """
        self._collect()
        rested = sum(each.rest() for each in self._quiet - self.grown)
        self._quiet, self.grown = self.grown, set()
        if rested or self._ended >= ENDED_MANY:
            self._ended = 0
            trim()
        return rested

    def _collect(self) -> None:
        """Free the rings of connections once no more of them come: the collector alone looks seldom."""
        fresh, self._rings_seen = self._rings - self._rings_seen, self._rings
        if self._rings >= ENDED_MANY and not fresh:
            gc.collect()
            self._ended += self._rings
            self._rings = self._rings_seen = 0


THRIFT: Final = Thrift()
