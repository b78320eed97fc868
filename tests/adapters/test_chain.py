"""A partner, both daemons and a station: files cross, and what breaks at one end is told at the other."""

import bz2
import lzma
import zlib
from datetime import UTC, datetime

import attrs
from cryptography.hazmat.primitives.serialization import pkcs7
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.ctl.daemon import killed
from smartproxy.logs.severity import Severity
from smartproxy.oftp2.commands import EERP, EFID
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Profile
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.server.generation import ServerGeneration
from tests.adapters.chain import Chain
from tests.adapters.rig import Caller
from tests.unit.playbook import (
    CD_,
    CODE,
    CUT_OFF,
    EFID_5,
    EFPA_N,
    LOST,
    PARTNER_SSID,
    SFPA_0,
    STATION_SSID,
    VIOLATED,
    data,
    esid,
    framed,
    sfid,
    ssid,
)


class Connected(SynchronousTestCase):
    """Sessions through both daemons."""

    def begin(self) -> tuple[Chain, Caller]:
        """Come to where both SSIDs are exchanged."""
        chain = Chain()
        caller, _ = chain.call()
        self.assertEqual(chain.stations, [])
        chain.say(caller, PARTNER_SSID)
        chain.say(chain.station, SSRM_BUFFER)
        self.assertEqual(chain.station.received, PARTNER_SSID)
        chain.say(chain.station, STATION_SSID)
        self.assertEqual(caller.received, SSRM_BUFFER + STATION_SSID)
        return chain, caller

    def over(self, chain: Chain, server: str, client: str) -> None:
        """Look that both sides ended so, that each told one start and one end, and that nothing is left."""
        for end in (chain.station, chain.partner_end):
            if end.transport is not None and end.ended is None:
                end.transport.loseConnection()
        chain.network.settle()
        self.assertEqual([summary.ending.outcome for summary in chain.finished], [server])
        self.assertEqual([summary.ending.outcome for summary in chain.client.finished], [client])
        self.assertEqual(chain.finished[0].session, chain.client.finished[0].session)
        for journal in (chain.journal, chain.client.journal):
            self.assertEqual(len(journal.of("session.started")), 1)
            self.assertEqual(len(journal.of("session.ended")), 1)
            self.assertEqual(journal.of("internal.error"), [])
        self.assertEqual(chain.clock.getDelayedCalls(), [])

    def test_content_stays_closed(self) -> None:
        """Compressed content and signatures cross as they are: nothing unpacks them (threat T30)."""
        bomb = zlib.compress(bytes(30_000), 9)

        def unpack(*_arguments: object, **_more: object) -> None:
            raise AssertionError("content is unpacked")

        for library, name in (
            (zlib, "decompress"),
            (zlib, "decompressobj"),
            (bz2, "decompress"),
            (bz2, "BZ2Decompressor"),
            (lzma, "decompress"),
            (lzma, "LZMADecompressor"),
            (pkcs7, "load_der_pkcs7_certificates"),
        ):
            self.patch(library, name, unpack)
        receipt = framed(
            EERP(dsn="ORDERS", date=20261120, time=1215300001, dest=CODE, orig="O0013000002ME", hsh=bytes(20), sig=bomb)
        )
        chain, caller = self.begin()
        said = (
            (caller, sfid(comp=1, env=1, sec=3, ciph=1, sign="Y")),
            (chain.station, SFPA_0),
            (caller, data(bomb)),
            (caller, framed(EFID(rcnt=0, ucnt=len(bomb)))),
            (chain.station, EFPA_N),
            (caller, receipt),
        )
        for end, octets in said:
            chain.say(end, octets)
        crossed = b"".join(octets for end, octets in said if end is caller)
        self.assertEqual(chain.station.received, PARTNER_SSID + crossed)
        self.assertEqual(crossed.count(bomb), 2)
        self.assertEqual(chain.journal.of("session.violation"), [])

    def test_a_file_crosses(self) -> None:
        """Every octet as it was sent, in both directions; a normal end."""
        chain, caller = self.begin()
        for end, octets in (
            (caller, sfid()),
            (chain.station, SFPA_0),
            (caller, data() + EFID_5),
            (chain.station, EFPA_N),
            (caller, CD_),
            (chain.station, esid(EsidReason.NORMAL)),
        ):
            chain.say(end, octets)
        self.assertEqual(chain.station.received, PARTNER_SSID + sfid() + data() + EFID_5 + CD_)
        self.assertEqual(caller.received, SSRM_BUFFER + STATION_SSID + SFPA_0 + EFPA_N + esid(EsidReason.NORMAL))
        self.over(chain, "completed", "completed")
        for journal in (chain.journal, chain.client.journal):
            self.assertEqual(journal.the("file.ended")["outcome"], "completed")

    def test_its_level_ends_with_it(self) -> None:
        """A level of a session's own is forgotten when the session ends and when it is killed; others are kept."""
        for by_operator in (False, True):
            chain, caller = self.begin()
            (session,) = chain.sessions.live
            both = [each.events.levels for each in (chain.journal, chain.client.journal)]
            for levels in both:
                levels.set(Severity.TRACE, session=session)
                levels.set(Severity.DEBUG, session="another")
            if by_operator:
                self.assertTrue(chain.sessions.close(session, killed()))
            else:
                chain.say(caller, esid(EsidReason.NORMAL))
            outcomes = ("stopped", "stopped") if by_operator else ("completed", "completed")
            self.over(chain, *outcomes)
            for levels in both:
                self.assertEqual(levels.described(), {"*": "trace", "session another": "debug"})

    def test_each_side_has_its_profile(self) -> None:
        """Strict for the partner lets the station's known departures pass, and strict for the station the partner's.

        Both daemons judge by both profiles: with either one alone, the other daemon is the one that refuses.
        """
        odd = {"pswd": "secret"}
        partner_odd, station_odd = ssid(**odd), ssid("O0013000002ME", **odd)
        strict, default = Profile.STRICT, Profile.DEFAULT
        for partner, server, client, said, passes in (
            (strict, default, default, (PARTNER_SSID, station_odd), True),
            (strict, default, default, (partner_odd, STATION_SSID), False),
            (default, strict, strict, (partner_odd, STATION_SSID), True),
            (default, strict, strict, (PARTNER_SSID, station_odd), False),
            (default, default, strict, (PARTNER_SSID, station_odd), False),
            (default, strict, default, (PARTNER_SSID, station_odd), False),
        ):
            chain = Chain()
            configuration = attrs.evolve(chain.configuration, partners=(chain.entry(profile=partner),))
            part = attrs.evolve(chain.part(configuration), station_profile=server)
            chain.sessions.adopt(ServerGeneration.build(part, lambda: datetime.now(UTC)))
            station = attrs.evolve(chain.client.configuration.station, profile=client)
            chain.client.configuration = attrs.evolve(chain.client.configuration, station=station)
            caller, _ = chain.call()
            chain.say(caller, said[0])
            if chain.stations:
                chain.say(chain.station, SSRM_BUFFER)
                chain.say(chain.station, said[1])
            self.assertEqual(caller.received == SSRM_BUFFER + said[1], passes)

    def test_partner_ends_while_the_session_opens(self) -> None:
        """The client is told what the partner sent before the station has greeted, and says the same of the session."""
        chain = Chain()
        caller, _ = chain.call()
        chain.say(caller, PARTNER_SSID)
        chain.say(caller, esid(EsidReason.RESOURCES_NOT_AVAILABLE))
        for journal in (chain.journal, chain.client.journal):
            abandoned = journal.the("session.abandoned")
            self.assertEqual((abandoned["outcome"], abandoned["ended_by"]), ("aborted", "partner"))
            self.assertEqual(abandoned["message"], "the partner ended the session with ESID 08")

    def test_partner_violates(self) -> None:
        """The server stops it; the station is told 99 and nothing else."""
        chain, caller = self.begin()
        chain.say(caller, data())
        self.assertEqual(
            chain.station.received,
            PARTNER_SSID + VIOLATED,
        )
        self.assertTrue(caller.received.endswith(esid(EsidReason.PROTOCOL_VIOLATION)))
        self.assertEqual(chain.client.journal.of("session.violation"), [])
        self.over(chain, "violated", "violated")

    def test_station_violates(self) -> None:
        """The client stops it; the partner is told 99."""
        chain, caller = self.begin()
        chain.say(chain.station, data())
        self.assertTrue(caller.received.endswith(VIOLATED))
        self.assertTrue(chain.station.received.endswith(esid(EsidReason.PROTOCOL_VIOLATION)))
        self.over(chain, "violated", "violated")

    def test_partner_vanishes(self) -> None:
        """The station is told 99."""
        chain, _ = self.begin()
        chain.partner_socket.abortConnection()
        chain.network.settle()
        self.assertTrue(chain.station.received.endswith(LOST))
        self.over(chain, "lost", "lost")

    def test_station_vanishes(self) -> None:
        """The partner is told 99."""
        chain, caller = self.begin()
        chain.station_ends[0].abortConnection()
        chain.network.settle()
        self.assertTrue(caller.received.endswith(LOST))
        self.over(chain, "lost", "lost")

    def test_tunnel_breaks(self) -> None:
        """Both are told 99, each by its own daemon."""
        chain, caller = self.begin()
        chain.data_ends[0][0].abortConnection()
        chain.network.settle()
        for end in (caller, chain.station):
            self.assertTrue(end.received.endswith(CUT_OFF))
        self.over(chain, "lost", "lost")


class Hopeless(SynchronousTestCase):
    """The station is not there."""

    def test_station_hangs_up(self) -> None:
        """A station that accepts and hangs up: ESID 08 for the partner, the cause in both logs."""
        chain = Chain()
        caller, _ = chain.call()
        chain.say(caller, PARTNER_SSID)
        chain.station_ends[0].abortConnection()
        chain.network.settle()
        self.assertEqual(caller.received, SSRM_BUFFER + esid(EsidReason.RESOURCES_NOT_AVAILABLE))
        self.assertEqual(len(chain.client.journal.of("station.unreachable")), 1)
        self.assertIn("station", str(chain.journal.the("session.refused")["message"]))
