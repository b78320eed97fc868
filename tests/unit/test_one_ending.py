"""One session has one ending: both daemons report the same, and each side hears a fixed text of it."""

from collections.abc import Callable

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import ClosedByClient, Draining, IdentityMismatch, Killed, OwnFault, Withdrawn
from smartproxy.policy.identity import judge_ssid
from smartproxy.policy.partners import Authentication
from smartproxy.relay import events
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.openings import server_inbound, server_outbound
from tests.unit.playbook import (
    CD_,
    CUT_OFF,
    FACTS,
    LATE,
    LOST,
    PARTNER_SSID,
    REFUSED,
    STATION_SSID,
    STOPPED,
    VIOLATED,
    accept,
    esid,
    sfid,
    ssid,
)
from tests.unit.session_pair import Daemon, Pair, session
from tests.unit.test_identity import ACME, verified

GONE = b""
VERIFIED = verified(ACME)
UNSPECIFIED = esid(EsidReason.UNSPECIFIED_ABORT)
EMERGENCY = esid(EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
NORMAL = esid(EsidReason.NORMAL)
PASSWORD = esid(EsidReason.INVALID_PASSWORD)
UNKNOWN = esid(EsidReason.COMMAND_NOT_RECOGNISED)
TIMEOUT = esid(EsidReason.TIME_OUT)

PARTNER, STATION = "partner", "station"


def at(pair: Pair, side: str) -> Daemon:
    """The daemon at which a side is connected."""
    assert pair.client is not None
    return pair.server if side in (PARTNER, "server") else pair.client


def says(side: str, octets: bytes) -> Callable[[Pair], None]:
    """A side sends something."""
    return lambda pair: pair.says(at(pair, side), octets)


def lost(side: str) -> Callable[[Pair], None]:
    """The connection of a side breaks."""
    return lambda pair: pair.lose(at(pair, side), at(pair, side).outside)


def late(side: str, daemon: str) -> Callable[[Pair], None]:
    """A side leaves an Exchange Buffer unfinished, and the deadline passes at a daemon."""

    def happen(pair: Pair) -> None:
        pair.says(at(pair, side), b"\x10")
        sender = at(pair, side).outside
        timer = Timer.INITIATOR_BUFFER if sender is Role.INITIATOR else Timer.RESPONDER_BUFFER
        pair.happens(at(pair, daemon), events.TimedOut(timer))

    return happen


def stops(daemon: str, fault: type[OwnFault], cause: Cause) -> Callable[[Pair], None]:
    """A daemon ends its sessions."""
    return lambda pair: pair.happens(at(pair, daemon), events.Stop(fault(rule=cause, message="because")))


def bug(daemon: str) -> Callable[[Pair], None]:
    """A daemon has a bug."""
    return lambda pair: pair.happens(at(pair, daemon), events.Bug())


def tunnel(pair: Pair) -> None:
    """The data connection breaks; both ends notice."""
    pair.lose(pair.server, pair.server.tunnel)


ENDS: tuple[tuple[Callable[[Pair], None], tuple[str, str, str], bytes, bytes], ...] = (
    # what happens, (outcome, cause, ended_by), what the partner hears last, what the station hears last
    (says(PARTNER, b"\x20"), ("violated", "header.version", "partner"), UNKNOWN, VIOLATED),
    (says(STATION, b"\x20"), ("violated", "header.version", "station"), VIOLATED, UNKNOWN),
    (lost(PARTNER), ("lost", "leg.lost", "partner"), GONE, LOST),
    (lost(STATION), ("lost", "leg.lost", "station"), LOST, GONE),
    (tunnel, ("lost", "tunnel.lost", "nobody"), CUT_OFF, CUT_OFF),
    (late(PARTNER, "server"), ("expired", "deadline.buffer", "partner"), TIMEOUT, LATE),
    (late(STATION, "client"), ("expired", "deadline.buffer", "station"), LATE, TIMEOUT),
    (stops("server", Draining, Cause.DAEMON_DRAINING), ("stopped", "daemon.draining", "server"), EMERGENCY, EMERGENCY),
    (stops("client", Draining, Cause.DAEMON_DRAINING), ("stopped", "daemon.draining", "client"), EMERGENCY, EMERGENCY),
    (stops("server", Killed, Cause.SESSION_KILLED), ("stopped", "session.killed", "operator"), EMERGENCY, EMERGENCY),
    (stops("client", Killed, Cause.SESSION_KILLED), ("stopped", "session.killed", "operator"), EMERGENCY, EMERGENCY),
    (
        stops("server", ClosedByClient, Cause.SESSION_CLOSED),
        ("stopped", "session.closed", "client"),
        EMERGENCY,
        EMERGENCY,
    ),
    (
        stops("server", Withdrawn, Cause.CERTIFICATE_REVOKED),
        ("stopped", "certificate.revoked", "server"),
        STOPPED,
        STOPPED,
    ),
    (bug("server"), ("failed", "internal.error", "server"), UNSPECIFIED, UNSPECIFIED),
    (bug("client"), ("failed", "internal.error", "client"), UNSPECIFIED, UNSPECIFIED),
)


OPENING_ENDS: tuple[tuple[Callable[[Pair], None], tuple[str, str, str]], ...] = (
    # what happens while the client awaits the station's greeting, (outcome, cause, ended_by)
    (says(PARTNER, esid(EsidReason.RESOURCES_NOT_AVAILABLE)), ("aborted", "session.aborted", "partner")),
    (says(PARTNER, b"\x20"), ("violated", "header.version", "partner")),
    (lost(PARTNER), ("lost", "leg.lost", "partner")),
    (late(PARTNER, "server"), ("expired", "deadline.buffer", "partner")),
    (stops("server", Killed, Cause.SESSION_KILLED), ("stopped", "session.killed", "operator")),
    (stops("server", ClosedByClient, Cause.SESSION_CLOSED), ("stopped", "session.closed", "client")),
    (stops("server", Draining, Cause.DAEMON_DRAINING), ("stopped", "daemon.draining", "server")),
    (stops("server", Withdrawn, Cause.CERTIFICATE_REVOKED), ("stopped", "certificate.revoked", "server")),
    (bug("server"), ("failed", "internal.error", "server")),
    (
        lambda pair: pair.happens(pair.server, events.TimedOut(Timer.OPENING)),
        ("unreachable", "deadline.opening", "station"),
    ),
)


class OneEnding(SynchronousTestCase):
    """Every end, in both directions."""

    def check(self, pair: Pair, told: tuple[str, str, str], partner: bytes, station: bytes) -> None:
        """Both daemons say the same of the end, and each side heard what it should."""
        for daemon in pair.daemons:
            if not daemon.done:
                pair.lose(daemon, daemon.outside)
        names = ("outcome", "cause", "ended_by", "reason", "message", "side")
        ends = []
        for daemon in pair.daemons:
            (ended,) = (report.fields for report in daemon.reports if report.name == "session.ended")
            self.assertEqual((ended["outcome"], ended["cause"], ended["ended_by"]), told)
            ends.append([ended.get(name) for name in names])
        self.assertEqual(ends[0], ends[1])
        for side, words in ((PARTNER, partner), (STATION, station)):
            received = at(pair, side).received
            self.assertEqual(received[len(received) - len(words) :], words)
            self.assertEqual(received.count(b"F99"), 1 if words[4:7] == b"F99" else 0)

    def test_every_end_in_both_directions(self) -> None:
        """The table of ends; the daemon that learns of an end reports it as the one that saw it."""
        for outbound in (False, True):
            for happen, told, partner, station in ENDS:
                pair = Pair.relaying(outbound=outbound)
                happen(pair)
                self.check(pair, told, partner, station)

    def test_every_end_while_the_session_opens(self) -> None:
        """The server gives the session up: the client says of it what the server does, also if the station greets now.

        The session is told as one that ended so, and never as one that failed.
        """
        for happen, told in OPENING_ENDS:
            for greets in (False, True):
                pair = Pair()
                pair.says(pair.server, PARTNER_SSID)
                assert pair.client is not None
                if greets:
                    pair.says_meanwhile(pair.client, SSRM_BUFFER)
                happen(pair)
                for daemon in pair.daemons:
                    if not daemon.done:
                        pair.lose(daemon, daemon.outside)
                names = ("outcome", "cause", "ended_by", "reason", "message", "side")
                ends = [[daemon.done[0].fields.get(name) for name in names] for daemon in pair.daemons]
                self.assertEqual(ends[0], ends[1])
                self.assertEqual(tuple(ends[0][:3]), told)
                self.assertNotIn("session.failed", [report.name for report in pair.client.reports])
                self.assertEqual(pair.client.done[0].started, greets)

    def test_their_own_esid(self) -> None:
        """ESID of a side is relayed as it came; who sent it began the end."""
        for outbound in (False, True):
            speaker, listener = (STATION, PARTNER) if outbound else (PARTNER, STATION)
            for side, octets, outcome in (
                (speaker, NORMAL, "completed"),
                (speaker, PASSWORD, "aborted"),
                (listener, PASSWORD, "aborted"),
            ):
                pair = Pair.relaying(outbound=outbound)
                pair.says(at(pair, side), octets)
                heard = {PARTNER: octets, STATION: octets, side: GONE}
                self.check(pair, (outcome, f"session.{outcome}", side), heard[PARTNER], heard[STATION])

    def test_partner_refused_in_its_answer(self) -> None:
        """The station called; the server does not accept the SSID that the partner answers with."""

        def judge(ssid: object) -> None:
            raise IdentityMismatch(rule=Cause.CERTIFICATE_NO_PARTNER, message="another partner's code")

        pair = Pair(outbound=True)
        pair.server.session = session(server_outbound(judge, FACTS))
        pair.happens_first(pair.server)
        pair.says(pair.server, SSRM_BUFFER)
        pair.says(pair.client, STATION_SSID)
        pair.says(pair.server, PARTNER_SSID)
        refused = esid(EsidReason.USER_CODE_NOT_KNOWN)
        self.check(pair, ("refused", "certificate.no_partner", "server"), refused, REFUSED)

    def refused_level(self, *, outbound: bool, partner: bytes, station: bytes) -> Pair:
        """A session that takes the partner's entry for its lowest level, 2.0, until both SSIDs are in."""

        def judge(ssid: SSID) -> None:
            judge_ssid(VERIFIED, ssid, (ACME,))

        opening = server_outbound if outbound else server_inbound
        pair = Pair(outbound=outbound, server=opening(judge, FACTS, ACME))
        if outbound:
            pair.says(pair.server, SSRM_BUFFER)
            pair.says(pair.client, station)
            pair.says(pair.server, partner)
        else:
            pair.says(pair.server, partner)
            pair.says(pair.client, SSRM_BUFFER)
            pair.says(pair.client, station)
        return pair

    def test_level_lowered_by_the_station(self) -> None:
        """The station answers, or offers, a level below the partner's lowest: nobody relays it, both daemons say so.

        The partner, which does not see that SSID, is told in the layout of the level that it knows.
        """
        low = ssid("O0013000002ME", pswd="", lev=4, auth=None)
        told = b"\x10\x00\x00\x08F10\r"
        for outbound in (False, True):
            pair = self.refused_level(outbound=outbound, partner=PARTNER_SSID, station=low)
            self.check(pair, ("refused", "identity.station_level", "server"), REFUSED, told)
            (refused,) = [each.fields for each in pair.server.reports if each.name == "identity.refused"]
            self.assertEqual((refused["level_by"], refused["told_station"]), ("station", "ESID 10"))
            self.assertNotIn("code", refused)
            self.assertEqual(
                refused["message"],
                "release level 1.4 offered by the station; the lowest allowed for partner 'ACME' is 2.0",
            )
            for daemon in pair.daemons:
                self.assertEqual(daemon.done[0].fields["side"], "station")

    def test_secure_authentication_of_the_station(self) -> None:
        """The station calls, and its SSIDAUTH is not what the partner's entry requires: the partner is not blamed.

        The partner has to answer with the same SSIDAUTH; it never sees that SSID.
        """
        told = esid(EsidReason.SECURE_AUTHENTICATION_INCOMPATIBLE)
        for wanted, said, words in (
            (Authentication.REQUIRED, "N", "no secure authentication offered by the station"),
            (Authentication.REFUSED, "Y", "secure authentication requested by the station"),
        ):
            entry = attrs.evolve(ACME, authentication=wanted)
            pair = Pair(outbound=True, server=server_outbound(accept, FACTS, entry))
            pair.says(pair.server, SSRM_BUFFER)
            pair.says(pair.client, ssid("O0013000002ME", pswd="", auth=said))
            self.check(pair, ("refused", "identity.station_authentication", "server"), REFUSED, told)
            (refused,) = [each.fields for each in pair.server.reports if each.name == "identity.refused"]
            self.assertEqual(refused["told_station"], "ESID 12")
            self.assertNotIn("code", refused)
            self.assertTrue(str(refused["message"]).startswith(words), refused["message"])
            for daemon in pair.daemons:
                self.assertEqual(daemon.done[0].fields["side"], "station")

    def test_level_lowered_by_the_partner(self) -> None:
        """The partner answers with too low a level: the station is told in the layout of the level that it offered."""
        low = ssid(lev=4, auth=None)
        pair = self.refused_level(outbound=True, partner=low, station=STATION_SSID)
        self.check(pair, ("refused", "identity.level", "server"), b"\x10\x00\x00\x08F10\r", REFUSED)
        (refused,) = [each.fields for each in pair.server.reports if each.name == "identity.refused"]
        self.assertEqual((refused["level_by"], refused["told_partner"]), ("partner", "ESID 10"))
        self.assertEqual(refused["code"], "O0013000001ACME")
        pair = self.refused_level(outbound=False, partner=low, station=STATION_SSID)
        (refused,) = [each.fields for each in pair.server.reports if each.name == "identity.refused"]
        self.assertEqual(refused["level_by"], "partner")

    def test_file_of_an_originator_that_is_not_allowed(self) -> None:
        """The partner's file ends the session before the station sees it; the station's own files are its matter."""
        entry = attrs.evolve(ACME, originators=("O0013000001ACME",), destinations=("O0013000002ME",))
        for outbound in (False, True):
            opening = (server_outbound if outbound else server_inbound)(accept, FACTS, entry)
            for changes, rule in (
                ({"orig": "O0099"}, "identity.originator"),
                ({"dest": "O0099"}, "identity.destination"),
                ({}, None),
            ):
                pair = Pair.relaying(outbound=outbound, server=opening)
                if outbound:
                    pair.says(pair.client, CD_)
                pair.says(pair.server, sfid(**changes))
                self.assertEqual(sfid(**changes) in at(pair, STATION).received, rule is None)
                if rule is None:
                    continue
                invalid = esid(EsidReason.COMMAND_CONTAINED_INVALID_DATA)
                self.check(pair, ("refused", rule, "server"), invalid, REFUSED)
                (refused,) = [each.fields for each in pair.server.reports if each.name == "identity.refused"]
                self.assertIn("O0099", (refused["originator"], refused["destination"]))
                self.assertEqual([each for each in pair.server.reports if each.name == "file.ended"], [])
        pair = Pair.relaying(outbound=True, server=server_outbound(accept, FACTS, entry))
        pair.says(pair.client, sfid(orig="O0099", dest="O0099"))
        self.assertIn(sfid(orig="O0099", dest="O0099"), pair.server.received)

    def test_both_at_once(self) -> None:
        """Both daemons end the session before they hear of each other: the server's ending counts on both."""
        for outbound in (False, True):
            pair = Pair.relaying(outbound=outbound)
            assert pair.client is not None
            pair.at_once(
                (pair.client, events.Stop(Killed(rule=Cause.SESSION_KILLED, message="because"))),
                (pair.server, events.Lost(pair.server.outside, "reset")),
            )
            self.check(pair, ("lost", "leg.lost", "partner"), GONE, EMERGENCY)
