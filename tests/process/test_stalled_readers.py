"""A station that does not read holds its partner, not memory: measured in whole daemons."""

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from zope.interface import implementer

from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import frame
from tests.process.lines import BUFFER_SIZE, Line, Session
from tests.process.memory import resident
from tests.process.sites import Log, SiteCase, reactor, until

SESSIONS = 20
OFFERED = 1 << 30
CREDIT = 999
MOST_A_SESSION = 512 << 10
# A session whose memory does not come back costs 300 to 400 KiB again.
MOST_AGAIN = 640 << 10
"""What each costs later, from the same beginning: the memory of the first round is there to be used again.

What the allocator gives back to the system between the rounds, and takes again, says nothing of what a session keeps.
"""
STILL_SECONDS = 0.5

SUBRECORDS = BUFFER_SIZE // 64
CONTENT = b"\x3f" + b"x" * 63
BUFFER = frame(b"D" + CONTENT * SUBRECORDS)
OCTETS = 63 * SUBRECORDS


@implementer(IPushProducer)
class Pouring:
    """Says DATA for as long as the transport takes it and there is credit; then ends the file, if it may.

    :ivar buffers: how many were said.
    """

    def __init__(self, line: Line) -> None:
        self.buffers = 0
        self._line = line
        self._enough = False
        self._full = False
        line.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """The transport takes more."""
        self._full = False
        while not self._full and not self._enough and self.buffers < CREDIT:
            self.buffers += 1
            self._line.say(BUFFER)

    def pauseProducing(self) -> None:
        """The transport takes no more."""
        self._full = True

    def stopProducing(self) -> None:
        """The transport is gone."""
        self._enough = True

    def enough(self) -> None:
        """Say no more."""
        self._enough = True
        self._line.transport.unregisterProducer()


@attrs.define
class Stalled:
    """A session whose station has stopped reading in the middle of a file."""

    session: Session
    pouring: Pouring


async def stall(session: Session) -> Stalled:
    """Offer a file of a gigabyte, and stop reading it."""
    await session.begin_file(OFFERED)
    session.station.transport.pauseProducing()
    return Stalled(session, Pouring(session.partner))


async def stand_still(stalled: list[Stalled]) -> int:
    """Wait until the partners are held; how many octets they were let say."""

    def said() -> int:
        return sum(each.pouring.buffers for each in stalled)

    last, since = -1, reactor.seconds()

    def still() -> bool:
        nonlocal last, since
        if said() != last:
            last, since = said(), reactor.seconds()
        return bool(reactor.seconds() - since > STILL_SECONDS)

    await until(still, "the partners are held")
    return last * len(BUFFER)


class StalledReaders(SiteCase):
    """Twenty of them at once, and one that never reads on."""

    # Memory is that of one process.
    have_workers = 0
    # Twenty sessions read on one after the other: on a busy machine the last one stands for longer than 180 s.
    settings = ("server.deadlines.inactivity", "3600", "client.deadlines.inactivity", "3600")

    async def test_memory(self) -> None:
        """Each costs each daemon at most 512 KiB; all recover when the station reads on; the memory comes back."""
        caller = attrs.evolve(self.acme, credit=CREDIT)
        await (await self.session(caller)).file(b"x" * 1_000_000)
        daemons = {"server": self.site.server, "client": self.site.client}
        before = {name: resident(program) for name, program in daemons.items()}
        for most in (MOST_A_SESSION, MOST_AGAIN, MOST_AGAIN):
            stalled = [await stall(await self.session(caller)) for _ in range(SESSIONS)]
            said = await stand_still(stalled)
            cost = {name: resident(program) - before[name] for name, program in daemons.items()}
            self.tell(f"{SESSIONS} stalled sessions, {said >> 20} MiB said", cost)
            # The kernel's buffers may take all the credit of a session on a busy machine, the daemons never do.
            for name, octets in cost.items():
                self.assertLessEqual(octets, SESSIONS * most, name)
            await self.read_on(stalled)

    async def read_on(self, stalled: list[Stalled]) -> None:
        """Let the stations read on: all that was said arrives, and the sessions are as good as before."""
        log = Log(self.site.server)
        for each in stalled:
            each.pouring.enough()
            each.session.station.transport.resumeProducing()
        for each in stalled:
            await each.session.end_file(each.pouring.buffers * OCTETS)
            self.assertEqual(each.session.station.data, each.pouring.buffers * len(BUFFER))
            await each.session.file()
            await each.session.end()
        await until(lambda: len(log.events("session.ended")) >= SESSIONS, "all sessions ended")

    def tell(self, what: str, octets: dict[str, int]) -> None:
        """Print the figure."""
        figures = ", ".join(f"{name} {each / SESSIONS / 1024:.0f} KiB a session" for name, each in octets.items())
        print(f"\n      {what}: {figures}", end=" ")


class StalledUntilADeadline(SiteCase):
    """One that stands for longer than it may; on a site of its own, whose deadline would end those above too."""

    settings = ("server.deadlines.inactivity", "10", "client.deadlines.inactivity", "10")

    async def test_a_deadline(self) -> None:
        """The deadline ends it though nothing can be sent: both ends are let go, others go on, both daemons say who."""
        logs = [Log(self.site.server), Log(self.site.client)]
        session = await self.session(attrs.evolve(self.acme, credit=CREDIT))
        stalled = await stall(session)
        await stand_still([stalled])
        other = await self.session(self.bolt)
        session.partner.transport.unregisterProducer()
        reason = Deferred.fromCoroutine(session.partner.hear_end())
        while not reason.called:
            await other.file()
            await deferLater(reactor, 0.5)
        self.assertIs(await reason, EsidReason.UNSPECIFIED_ABORT)
        await other.file()
        session.station.transport.resumeProducing()
        self.assertIs(await session.station.hear_end(), EsidReason.TIME_OUT)
        for log in logs:
            await log.event("session.ended")
