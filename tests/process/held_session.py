"""A partner's session through real daemons that stays open until the test lets it go on."""

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
