"""Nothing unbounded: whoever does not read holds back whoever sends, at a fixed price."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.relay.session import Session
from tests.adapters.chain import Chain
from tests.adapters.rig import Caller
from tests.unit.playbook import CD_, SFPA_0, data, esid, sfid, ssid

OFFERED = 2_000_000
MOST = 256 * 1024
"""What a stalled session may hold in each daemon: half of what it may cost, the rest being OpenSSL's and Python's."""

BIG = ssid(sdeb=99999, cred=999)
BIG_ANSWER = ssid("O0013000002ME", pswd="", sdeb=99999, cred=999)


def big_data() -> bytes:
    """The largest Data Exchange Buffer that can be agreed, framed."""
    chain = b"".join(b"\x3f" + b"x" * 63 for _ in range(99998 // 64))
    rest = 99998 - len(chain) - 1
    chain += bytes([0x80 | rest]) + b"y" * rest
    return (0x10000000 | 4 + 1 + len(chain)).to_bytes(4, "big") + b"D" + chain


class Stalled(SynchronousTestCase):
    """A station, or a partner, that stops reading in the middle of a large file."""

    def begin(self) -> tuple[Chain, Caller]:
        """Come to where a file may be sent from the partner to the station."""
        chain = Chain()
        caller, _ = chain.call()
        chain.say(caller, BIG)
        chain.say(chain.station, SSRM_BUFFER)
        chain.say(chain.station, BIG_ANSWER)
        return chain, caller

    def held(self, chain: Chain) -> tuple[int, int]:
        """Octets that the server and the client hold: what waits at their transports, and unfinished buffers."""
        client_end, server_end = chain.data_ends[0]
        server = len(chain.server_socket.waiting) + len(server_end.waiting)
        client = len(client_end.waiting) + len(chain.station_ends[0].far.waiting)
        (server_session,) = chain.sessions.live.values()
        (client_session,) = chain.client.sessions.live.values()
        server += self.partial(server_session._session)
        client += self.partial(client_session._session)
        return server, client

    def partial(self, session: Session) -> int:
        """Octets of unfinished buffers in a session's monitor."""
        return sum(session._monitor.held(role) for role in Role)

    def flood(self, chain: Chain, end: Caller) -> None:
        """Offer far more than anybody should hold."""
        assert end.transport is not None
        for _ in range(OFFERED // 100_000):
            end.transport.write(big_data())
        chain.network.settle()

    def test_station_stalls(self) -> None:
        """The partner is held back; each daemon holds at most 512 KiB, however long it takes; then all arrives."""
        chain, caller = self.begin()
        chain.say(caller, sfid())
        chain.say(chain.station, SFPA_0)
        chain.station_ends[0].pauseProducing()
        before = len(chain.station.received)
        self.flood(chain, caller)
        server, client = self.held(chain)
        self.assertLessEqual(server, MOST)
        self.assertLessEqual(client, MOST)
        self.assertGreater(len(chain.partner_socket.waiting), OFFERED - 2 * MOST)
        for _ in range(6):
            chain.network.wait(20)
            self.assertEqual(self.held(chain), (server, client))
        chain.station_ends[0].resumeProducing()
        chain.network.settle()
        self.assertEqual(chain.station.received[before:], big_data() * (OFFERED // 100_000))

    def test_partner_stalls(self) -> None:
        """The other way round."""
        chain, caller = self.begin()
        for end, octets in ((caller, CD_), (chain.station, sfid()), (caller, SFPA_0)):
            chain.say(end, octets)
        chain.partner_socket.pauseProducing()
        before = len(caller.received)
        self.flood(chain, chain.station)
        server, client = self.held(chain)
        self.assertLessEqual(server, MOST)
        self.assertLessEqual(client, MOST)
        chain.network.wait(60)
        self.assertEqual(self.held(chain), (server, client))
        chain.partner_socket.resumeProducing()
        chain.network.settle()
        self.assertEqual(caller.received[before:], big_data() * (OFFERED // 100_000))

    def test_a_stall_ends(self) -> None:
        """A station that never reads again: after the inactivity time both are told, and soon all is over."""
        chain, caller = self.begin()
        chain.say(caller, sfid())
        chain.say(chain.station, SFPA_0)
        chain.station_ends[0].pauseProducing()
        self.flood(chain, caller)
        chain.network.wait(179)
        self.assertEqual(len(chain.sessions.live), 1)
        chain.network.wait(1)
        for journal in (chain.client.journal, chain.journal):
            told = [*journal.of("session.expired"), *journal.of("session.ended")]
            self.assertTrue(told)
        chain.network.wait(5)
        chain.network.wait(5)
        self.assertEqual((chain.sessions.live, chain.client.sessions.live), ({}, {}))
        self.assertTrue(caller.received.endswith(esid(EsidReason.UNSPECIFIED_ABORT, "Time out of other party")))
        self.assertEqual(chain.clock.getDelayedCalls(), [])

    def test_a_small_file_is_not_held_back(self) -> None:
        """What fits is delivered without any pause."""
        chain, caller = self.begin()
        chain.say(caller, sfid())
        chain.say(chain.station, SFPA_0)
        chain.say(caller, data() * 50)
        self.assertTrue(chain.station.received.endswith(data() * 50))
