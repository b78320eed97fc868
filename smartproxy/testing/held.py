"""A partner's session through real daemons that stays open until it is told to go on.

What a partner says is a script: it opens a session and, if wanted, a file, and says no more until it is told so. So
that which happens meanwhile happens in the middle of a session, however slow the machine is.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from smartproxy.oftp2 import commands
from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.stream import frame
from smartproxy.testing.hostile import Attacker, HostileProtocol, Seen
from smartproxy.testing.tls import TestContext

NORMAL = frame(encode(commands.ESID(reas=0, reast="")))
"""The end of a session in which all went well."""
_POLL_SECONDS = 0.02


class HeldSession:
    """One session, idle between what it is told to say.

    :ivar seen: fires at the end of the connection.
    """

    def __init__(self, caller: Attacker) -> None:
        self.seen: Deferred[Seen] = Deferred()
        self._caller = caller
        self._protocol: Any = None

    async def open(self) -> "HeldSession":
        """Call, exchange SSIDs with the station, and stay silent."""
        caller, files = self._caller, self._caller.credential
        assert files is not None
        context = TestContext(certificate=files.certificate, key=files.key)
        greeting = {"SSRM": frame(encode(caller.ssid()))}
        factory = Factory.forProtocol(lambda: HostileProtocol(caller.reactor, greeting, self.seen))
        factory.noisy = False
        endpoint = wrapClientTLS(context, HostnameEndpoint(caller.reactor, caller.host, caller.port))
        connected: Any = await endpoint.connect(factory)
        self._protocol = getattr(connected, "wrappedProtocol", connected)
        await self.hear("SSID")
        return self

    @property
    def live(self) -> bool:
        """Whether the connection is there still."""
        return not self.seen.called

    async def begin_file(self, dataset: str) -> None:
        """Open a file; it lacks all its octets still."""
        self.say(frame(encode(self._caller.sfid(dataset))))
        await self.hear("SFPA")

    async def end_file(self, octets: bytes) -> None:
        """Send the octets of the file, at most 63, await its end response, and answer that.

        :raises AssertionError: if the session ends before.
        """
        self.say(frame(b"D" + bytes([len(octets)]) + octets) + frame(encode(commands.EFID(rcnt=0, ucnt=len(octets)))))
        await self.hear("EFPA")
        self.say(frame(encode(commands.CD())))
        await self.hear("EERP")
        self.say(frame(encode(commands.RTR())))
        await self.hear("CD")

    async def hear(self, name: str) -> None:
        """Wait until a command came.

        :raises AssertionError: if the connection ends before.
        """
        while name not in self._protocol._heard:
            if self.seen.called:
                raise AssertionError(f"the session ended before {name} came: {self.seen.result}")
            await deferLater(self._caller.reactor, _POLL_SECONDS)

    def say(self, octets: bytes) -> None:
        """Send octets."""
        self._protocol.transport.write(octets)

    async def end(self) -> Seen:
        """End it as a partner does who has nothing more to say."""
        self.say(NORMAL)
        return await self.seen
