"""How many Python calls and system calls a daemon needs: bounds that no busy machine can break."""

import sys
import types
from typing import Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.severity import Severity
from smartproxy.net.transport import sockets
from smartproxy.oftp2.commands import CDT, EFID
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.oftp2.subrecords import pack
from smartproxy.policy.penalties import Fault
from smartproxy.policy.settings import PenaltySettings
from tests.adapters.counted_chain import CountedChain, DaemonCalls
from tests.adapters.rig import ServerRig
from tests.unit.playbook import EFID_5, EFPA_N, SFPA_0, data, framed, sfid, ssid

BUFFER: Final = 2048
CREDIT: Final = 64
WINDOWS: Final = 40
FILES: Final = 30
DATA_OCTETS: Final = 2015
"""Octets of the file in a full buffer."""

WINDOW: Final = b"".join(map(frame, pack(bytes(CREDIT * DATA_OCTETS), BUFFER)))

CALLS_FOR_A_BUFFER: Final = 2
"""The most Python calls of one daemon for each DATA buffer of 2048 octets."""

SYSTEM_CALLS_FOR_A_MEGABYTE: Final = 34
"""The most calls of its sockets by one daemon for each 10**6 octets, in windows of 131,328 octets."""

CALLS_FOR_A_FILE: Final = 255
"""The most Python calls of one daemon for each small file, without what carries and writes the events."""

SYSTEM_CALLS_FOR_A_FILE: Final = 8
"""A small file is four messages, and each is read once and sent once."""


CALLS_FOR_A_BANNED_CALLER: Final = 26
"""The most Python calls for a connection of an address that is banned; they take about 20 microseconds."""


class Banned(SynchronousTestCase):
    """What an address costs that is banned (threat T29)."""

    def test_banned_caller(self) -> None:
        """It is closed with a few calls, before anything is made for it, and told once in a minute."""
        rig = ServerRig(penalties=PenaltySettings(threshold=5, exempt=("10.0.0.0/8", "192.168.0.0/16")))
        for host in ("198.51.100.7", "2001:db8::7"):
            rig.gate.fault(host, Fault.TLS_GARBAGE)
            rig.gate.fault(host, Fault.IDENTITY)
        self.assertEqual(len(rig.journal.of("penalty.banned")), 2)
        for caller in (
            IPv4Address("TCP", "198.51.100.7", 40000),
            IPv6Address("TCP", "::ffff:198.51.100.7", 40001),
            IPv6Address("TCP", "2001:db8::8", 40002),
        ):
            self.assertIsNone(rig.factory.buildProtocol(caller))
            calls = DaemonCalls()
            sys.setprofile(calls.profile)
            try:
                made = [rig.factory.buildProtocol(caller) for _ in range(100)]
            finally:
                sys.setprofile(None)
            self.assertEqual(made, [None] * 100)
            self.assertLessEqual(calls.python.total() / 100, CALLS_FOR_A_BANNED_CALLER, calls.python.most_common(30))
        self.assertEqual(len(rig.journal.of("connection.refused")), 2)
        self.assertEqual((len(rig.gate.penalties), rig.gate.admission.connections), (2, 0))


class Bounds(SynchronousTestCase):
    """One session through both daemons, on real sockets."""

    def setUp(self) -> None:
        """Come to where both SSIDs are exchanged; the log has its usual level, and no read counts as expensive."""
        self.patch(sockets, "time", types.SimpleNamespace(perf_counter=lambda: 0.0))
        self.chain = CountedChain()
        self.addCleanup(self.chain.sockets.close)
        for journal in (self.chain.journal, self.chain.client.journal):
            journal.events.levels.set(Severity.INFO)
        self.caller, _ = self.chain.call()
        self.chain.say(self.caller, ssid(sdeb=BUFFER, cred=CREDIT, cmpr="N", rest="N"))
        self.chain.say(self.chain.station, SSRM_BUFFER)
        self.chain.say(self.chain.station, ssid("O0013000002ME", sdeb=BUFFER, cred=CREDIT, cmpr="N", rest="N"))

    def counted(self, units: float) -> dict[str, tuple[float, float, DaemonCalls]]:
        """Python calls and system calls of each daemon for each unit, and which they are."""
        return {
            name: (calls.python.total() / units, calls.system.total() / units, calls)
            for name, calls in self.chain.counted().items()
        }

    def test_buffers(self) -> None:
        """DATA in buffers of 2048 octets."""
        self.chain.say(self.caller, sfid(fsiz=99999, osiz=99999))
        self.chain.say(self.chain.station, SFPA_0)
        self.chain.station.received = b""
        self.chain.counted()
        for number in range(WINDOWS):
            self.chain.say(self.caller, WINDOW)
            self.assertEqual(len(self.chain.station.received), (number + 1) * len(WINDOW))
            self.chain.say(self.chain.station, framed(CDT()))
        megabytes = WINDOWS * len(WINDOW) / 1e6
        for name, (python, system, calls) in self.counted(megabytes).items():
            for_a_buffer = python * megabytes / (WINDOWS * CREDIT)
            self.assertLessEqual(for_a_buffer, CALLS_FOR_A_BUFFER, f"{name}: {calls.python.most_common(20)}")
            self.assertLessEqual(system, SYSTEM_CALLS_FOR_A_MEGABYTE, f"{name}: {calls.system}")
            self.assertGreater(calls.system["recv_into"], 0)
        self.chain.say(self.caller, framed(EFID(rcnt=0, ucnt=WINDOWS * CREDIT * DATA_OCTETS)))
        self.chain.say(self.chain.station, EFPA_N)
        self.assertTrue(self.caller.received.endswith(EFPA_N))

    def test_small_files(self) -> None:
        """A small file: four messages, each judged, relayed and told by both daemons."""
        self.file()
        self.chain.counted()
        for _ in range(FILES):
            self.file()
        for name, (python, system, calls) in self.counted(FILES).items():
            self.assertLessEqual(python, CALLS_FOR_A_FILE, f"{name}: {calls.python.most_common(20)}")
            self.assertLessEqual(system, SYSTEM_CALLS_FOR_A_FILE, f"{name}: {calls.system}")
        self.assertEqual(len(self.chain.journal.of("file.ended")), FILES + 1)

    def file(self) -> None:
        """Send a small file."""
        for end, octets in (
            (self.caller, sfid()),
            (self.chain.station, SFPA_0),
            (self.caller, data() + EFID_5),
            (self.chain.station, EFPA_N),
        ):
            self.chain.say(end, octets)
        self.assertTrue(self.caller.received.endswith(EFPA_N))
