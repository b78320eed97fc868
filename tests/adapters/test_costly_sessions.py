"""The watch over what sessions cost, and how a session that costs too much is ended."""

from typing import cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.driver import SessionDriver
from smartproxy.net.sessions import EffortWatch
from smartproxy.oftp2 import codec
from smartproxy.oftp2.stream import frame
from smartproxy.policy.causes import Cause
from smartproxy.policy.effort import Spent
from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.relay.events import SharedEnd
from tests.adapters.rig import Journal, ServerRig
from tests.unit.samples import ssid


class Costing:
    """A session that has cost what the test says."""

    def __init__(self) -> None:
        self.told = Spent()

    def spent(self) -> Spent:
        """What it has cost."""
        return self.told


class EffortWatchTests(SynchronousTestCase):
    """Sessions that cost nothing, and one that costs a whole processor."""

    def setUp(self) -> None:
        """Make two sessions and the watch over them."""
        self.clock = Clock()
        self.cpu = self.worked = 0.0
        self.costly: list[str] = []
        self.sessions = {"busy": Costing(), "idle": Costing()}
        self.watch = EffortWatch(
            self.clock,
            Journal(self.clock).events,
            cast("dict[str, SessionDriver]", self.sessions),
            self.costly.append,
            cpu=lambda: self.cpu,
            worked=lambda: self.worked,
        )
        self.watch.begin()

    def second(self, *, took: float, cpu: float) -> None:
        """Let a second pass in which the busy session took so much time, and the process so much CPU time."""
        self.worked += took
        self.cpu += cpu
        self.sessions["busy"].told = Spent(seconds=self.sessions["busy"].told.seconds + took)
        self.clock.advance(1)

    def test_costly(self) -> None:
        """It is named in the tenth second; the idle one never is."""
        for _ in range(9):
            self.second(took=0.9, cpu=1.0)
        self.assertEqual(self.costly, [])
        self.second(took=0.9, cpu=1.0)
        self.assertEqual(self.costly, ["busy"])

    def test_processor_that_others_have(self) -> None:
        """Time in which other programs had the processor is not the session's."""
        for _ in range(30):
            self.second(took=0.9, cpu=0.1)
        self.assertEqual(self.costly, [])

    def test_nothing_is_kept_of_a_quiet_session(self) -> None:
        """A session that costs next to nothing takes no memory here; once it costs, it is watched."""
        for _ in range(3):
            self.second(took=0.01, cpu=0.01)
        self.assertEqual(self.watch._efforts, {})
        for _ in range(10):
            self.assertEqual(self.costly, [])
            self.second(took=0.9, cpu=0.9)
        self.assertEqual(self.costly, ["busy"])

    def test_no_look_without_sessions(self) -> None:
        """The looks end with the last session, and begin with the next."""
        self.sessions.clear()
        self.watch.over()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.sessions["next"] = Costing()
        self.watch.begin()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)


class CostlyPartnerTests(SynchronousTestCase):
    """A partner at the server."""

    def test_ended_told_and_counted(self) -> None:
        """Its session ends in the tenth second, the event names the cause, and two of them ban its address."""
        rig = ServerRig()
        for number in (1, 2):
            caller, _ = rig.call()
            rig.send(caller, frame(codec.encode(ssid(code=rig.CODE))))
            inside = rig.inside()
            for second in range(10):
                self.assertEqual(len(rig.finished), number - 1, second)
                rig.server_socket.worked += 0.9
                rig.clock.advance(1)
                rig.network.settle()
            inside.lose("closed")
            rig.clock.advance(10)
            ending = rig.finished[-1].ending
            self.assertEqual((ending.cause, ending.ended_by), ("session.costly", "server"))
        self.assertEqual([fields["cause"] for fields in rig.journal.of("session.failed")], ["session.costly"] * 2)
        self.assertEqual(rig.journal.the("penalty.banned")["cause"], "penalty.effort")

    def test_ended_by_the_client(self) -> None:
        """A session that the client ended as too costly counts against the partner's address, too."""
        rig = ServerRig()
        for _ in range(2):
            caller, _ = rig.call()
            rig.send(caller, frame(codec.encode(ssid(code=rig.CODE))))
            inside = rig.inside()
            assert inside.receiver is not None
            inside.receiver.leg_ended(
                inside,
                SharedEnd(outcome=Outcome.STOPPED, cause=Cause.SESSION_COSTLY, ended_by=Participant.CLIENT),
            )
            inside.lose("closed")
            rig.network.settle()
            rig.clock.advance(10)
            rig.network.settle()
        self.assertEqual([each.ending.cause for each in rig.finished], [Cause.SESSION_COSTLY] * 2)
        self.assertEqual(rig.journal.the("penalty.banned")["cause"], Cause.PENALTY_EFFORT)
