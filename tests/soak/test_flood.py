"""A flood of peers that prove nothing: they are reaped in time, and whoever behaves does not notice (threat T2)."""

import os
from typing import Any, ClassVar, cast

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from smartproxy.oftp2 import commands
from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.stream import frame
from smartproxy.testing.settings import offer
from tests.process.lines import Line
from tests.process.sites import Log, SiteCase, reactor, until

SILENT = int(os.environ.get("SOAK_SILENT", "200"))
TRICKLING = 40
HANDSHAKE_SECONDS = 8
SSID_SECONDS = 8
TRICKLE_SECONDS = 0.5
REAPED_LATE_SECONDS = 1.0
SLOWER_MOST = 2.0
BASELINE_SESSIONS = 30
ALLOWANCE_SECONDS = 0.1
"""What a session may take longer than twice its time for the machine's own sake: the flood is made on it, too."""


class Silent(Protocol):
    """Connects and says nothing.

    :ivar lived: how long it was borne.
    """

    def __init__(self) -> None:
        self.lived: Deferred[float] = Deferred()

    def connectionMade(self) -> None:
        """Begin to wait."""
        self._begun = reactor.seconds()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell how long it took."""
        self.lived.callback(reactor.seconds() - self._begun)


class Flood(SiteCase):
    """Hundreds of them at once."""

    timeout = 180
    settings: ClassVar[tuple[str, ...]] = (
        *("server.deadlines.handshake", str(HANDSHAKE_SECONDS), "server.deadlines.ssid", str(SSID_SECONDS)),
        *("server.limits.unauthenticated_per_address", "5000", "server.limits.connections_per_address", "5000"),
        *("server.limits.sessions_per_partner", "5000"),
    )

    async def session_seconds(self) -> float:
        """A whole session with a file in it."""
        begun = reactor.seconds()
        session = await self.session(self.acme)
        await session.file()
        await session.end()
        seconds: float = reactor.seconds() - begun
        return seconds

    async def silent(self) -> Silent:
        """Connect and say nothing, not even TLS."""
        factory = Factory.forProtocol(Silent)
        factory.noisy = False
        return cast(Silent, await TCP4ClientEndpoint(reactor, "127.0.0.1", self.site.port).connect(factory))

    async def verified(self) -> tuple[Line, float]:
        """Connect as a partner, hear SSRM and say nothing."""
        line = await self.acme.dial(self.site.port)
        begun = reactor.seconds()
        await line.hear(commands.SSRM)
        return line, begun

    async def lived(self, line: Line, begun: float) -> float:
        """How long a line that said no SSID was borne."""
        await line.ended
        seconds: float = reactor.seconds() - begun
        return seconds

    async def trickle(self) -> float:
        """Say an SSID one octet at a time; how long that was borne."""
        line, begun = await self.verified()
        octets = iter(frame(encode(offer(self.acme.settings))))
        loop = LoopingCall(lambda: line.say(bytes([next(octets)])))
        loop.start(TRICKLE_SECONDS)
        seconds = await self.lived(line, begun)
        loop.stop()
        return seconds

    async def test_flood(self) -> None:
        """All who behave are served, at most twice as slowly; all others are gone a second after their deadline."""
        server = Log(self.site.server)
        alone = sorted([await self.session_seconds() for _ in range(BASELINE_SESSIONS)])
        silent = await gatherResults([Deferred.fromCoroutine(self.silent()) for _ in range(SILENT)])
        verified: list[Any] = []
        for _ in range(SILENT // 20):
            verified += await gatherResults([Deferred.fromCoroutine(self.verified()) for _ in range(20)])
        trickling = gatherResults([Deferred.fromCoroutine(self.trickle()) for _ in range(TRICKLING)])
        gone = gatherResults([Deferred.fromCoroutine(self.lived(line, begun)) for line, begun in verified])
        accepted = self.station.accepted
        crowded = sorted([await self.session_seconds() for _ in range(BASELINE_SESSIONS)])
        self.assertEqual(self.station.accepted, accepted + BASELINE_SESSIONS, "the station heard of nobody else")

        mute = await gatherResults([each.lived for each in silent])
        borne = {"silent": (mute, HANDSHAKE_SECONDS), "after TLS": (await gone, SSID_SECONDS)}
        borne["trickling"] = (await trickling, SSID_SECONDS)
        print(
            f"\n      a session: median {alone[len(alone) // 2] * 1000:.0f} ms alone, "
            f"{crowded[len(crowded) // 2] * 1000:.0f} ms in the flood, longest {crowded[-1] * 1000:.0f} ms; "
            + ", ".join(f"{len(each)} {name} borne {max(each):.1f} s at most" for name, (each, _) in borne.items()),
            end=" ",
        )
        for name, (seconds, deadline) in borne.items():
            self.assertLess(max(seconds), deadline + REAPED_LATE_SECONDS, name)
        self.assertLess(crowded[len(crowded) // 2], SLOWER_MOST * alone[-1] + ALLOWANCE_SECONDS)
        await until(
            lambda: len(server.events("handshake.failed")) == SILENT, "each silent peer is told of exactly once"
        )
        self.assertEqual(server.events("internal.error"), [])
        await self.session_seconds()
