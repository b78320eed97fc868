"""``smartproxy explain``: one record for each refusal, in words that can be sent to the partner."""

from datetime import timedelta
from typing import Any

from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.journal import newest_number
from smartproxy.backend.store import Store
from smartproxy.policy.explanations import EXPLANATIONS
from tests.unit.commands import CommandCase
from tests.unit.samples import NAMED_HERE
from tests.unit.sites import NOW

PEER, OTHER = "192.0.2.7:40001", "[2001:db8::7]:40002"
SESSION, CLEAN = "0123456789abcdef", "00000000000000ff"
ACCEPTED = {
    "by": "subject",
    "ca": "odette",
    "subject": "CN=acme",
    "issuer": "CN=Odette",
    "serial": "5a",
    "certificate_sha256": "ab" * 32,
    "not_after": "2027-01-01T00:00:00Z",
}


class Explained(CommandCase):
    """Events of the daemons, and what is made of them."""

    def setUp(self) -> None:
        """A store for the events."""
        super().setUp()
        self.store = Store.open(self.location)
        self.addCleanup(self.store.close)
        self.seconds = 0
        with self.store.reading() as session:
            self.before = newest_number(session)

    def tell(self, name: str, source: str = "server", **fields: Any) -> None:
        """A daemon tells an event."""
        self.seconds += 1
        time = (NOW + timedelta(seconds=self.seconds)).isoformat()
        event = {"name": name, "source": source, "sequence": self.seconds, "time": time, **fields}
        self.assertEqual(ClientRequests(self.store).keep_events("inner", [event], NOW).refused, [])

    def explained(self, what: str) -> dict[str, Any]:
        """The record."""
        found: dict[str, Any] = self.do("explain", what, "--json").json
        return found

    def test_certificate(self) -> None:
        """Cause, certificate, list with its age, alert and remedy, in one text and as one document."""
        self.tell(
            "certificate.refused",
            peer=PEER,
            cause="certificate.revoked",
            message="the certificate is revoked",
            depth=0,
            subject="CN=acme",
            issuer="CN=Odette",
            serial="5a",
            certificate_sha256="ab" * 32,
            ca="odette",
            list="CN=Odette",
            this_update="2026-11-20T10:00:00Z",
            age=7200,
            alert="certificate_revoked",
            tls="TLSv1.3",
            advice="Ask the partner why.",
        )
        for what in ("192.0.2.7", PEER):
            found = self.explained(what)
            self.assertEqual(found["for_us"]["key"], "certificate.revoked")
        told = found["to_partner"]
        self.assertIn("has been revoked", told["happened"])
        self.assertEqual((told["certificate"]["subject"], told["certificate"]["serial number"]), ("CN=acme", "5a"))
        self.assertEqual(told["revocation_list"]["age in seconds"], 7200)
        self.assertEqual(told["saw"], "the TLS alert certificate_revoked")
        text = self.do("explain", str(found["for_us"]["event"])).out
        outside, inside = text.split("For this site only:")
        for words in ("has been revoked", "CN=acme", "7200", "certificate_revoked", "new certificate"):
            self.assertIn(words, outside)
        self.assertNotIn("Ask the partner", outside)
        self.assertIn("Ask the partner why.", inside)

    def test_session(self) -> None:
        """A session's refusal is the server's word; its certificate comes from when the connection was let in."""
        self.tell("certificate.accepted", partner="ACME", peer=PEER, **ACCEPTED)
        self.tell("certificate.accepted", partner="ACME", peer=OTHER, **{**ACCEPTED, "subject": "CN=other"})
        self.tell("station.unreachable", "client", session=SESSION, cause="refused", station="10.0.0.1:3305")
        self.tell("session.failed", "client", session=SESSION, cause="station.connect", message="the station is away")
        self.tell(
            "session.refused",
            session=SESSION,
            partner="ACME",
            peer=PEER,
            message="10.0.0.1 does not answer",
            cause="station.no_answer",
            told_partner="ESID 08",
        )
        for what in (SESSION, "ACME", str(self.before + 3)):
            found = self.explained(what)
            self.assertEqual(found["for_us"]["name"], "session.refused")
        self.assertEqual(found["to_partner"]["certificate"]["subject"], "CN=acme")
        self.assertEqual(found["to_partner"]["saw"], "ESID 08")
        self.assertEqual(len(found["for_us"]["others"]), 1)
        outside, inside = self.do("explain", SESSION).out.split("For this site only:")
        self.assertNotIn("10.0.0.1", outside)
        self.assertIn("10.0.0.1 does not answer", inside)

    def test_last_that_happened(self) -> None:
        """Of a partner, or an address, the refusal that happened last is told, also if it arrived before others."""
        for minute, code in ((30, "O0013LATER"), (0, "O0013EARLIER")):
            self.seconds = 60 * minute
            self.tell("identity.refused", peer=PEER, partner="ACME", cause="identity.code", code=code)
        for what in ("ACME", "192.0.2.7"):
            self.assertIn("O0013LATER", str(self.explained(what)))

    def test_address_however_it_is_written(self) -> None:
        """An address is found by its value: in brackets or capitals, with a port or without, and as IPv4 in IPv6."""
        self.tell("identity.refused", peer=OTHER, partner="SIX", cause="identity.code")
        self.tell("identity.refused", peer=PEER, partner="FOUR", cause="identity.code")
        for what in ("2001:db8::7", "[2001:db8::7]", "2001:DB8::7", "2001:db8:0:0::7", "[2001:DB8::7]:40002", OTHER):
            self.assertEqual(self.explained(what)["for_us"]["partner"], "SIX", what)
        for what in ("192.0.2.7", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]:40001", PEER):
            self.assertEqual(self.explained(what)["for_us"]["partner"], "FOUR", what)
        self.assertIn("no refusal", self.refused("explain", "192.0.2.70"))
        self.assertIn("no refusal", self.refused("explain", "[2001:db8::7]:40003"))

    def test_host_that_was_called(self) -> None:
        """A failed call is found by the host that was called, and not by our own address."""
        for host, partner in (("oftp.acme.example", "ACME"), ("192.0.2.8", "BOLT")):
            place: dict[str, Any] = {"host": host, "port": 6619, "address": "198.51.100.1"}
            self.tell("outbound.failed", partner=partner, cause="call.no_answer", step="connect", **place)
            self.assertEqual(self.explained(host)["for_us"]["partner"], partner)
        self.assertEqual(self.explained("OFTP.acme.example")["for_us"]["partner"], "ACME")
        self.assertIn("no refusal", self.refused("explain", "198.51.100.1"))

    def test_both_daemons(self) -> None:
        """Of what both daemons tell of a session, the server's word is what the partner saw."""
        self.tell(
            "session.violation", "client", session=SESSION, rule="x", message="the station's fault", side="station"
        )
        self.tell("session.failed", session=SESSION, partner="ACME", cause="tunnel.lost", message="the client is gone")
        found = self.explained(SESSION)["for_us"]
        self.assertEqual((found["cause"], len(found["others"])), ("the client is gone", 1))

    def test_alert_that_the_partner_sent(self) -> None:
        """What the partner's system sent is not told as something that it saw."""
        for name, fields in (
            ("handshake.failed", {"cause": "handshake.distrusted", "message": "the peer ended TLS"}),
            ("outbound.failed", {"cause": "call.distrusted", "message": "the partner refused", "step": "tls"}),
        ):
            self.tell(name, peer=PEER, partner="ACME", alert="unknown_ca", advice="send it", **fields)
            found = self.explained("ACME")["to_partner"]
            self.assertEqual((found["sent"], found["saw"]), ("the TLS alert unknown_ca", None))
            self.assertIn("did not accept our certificate", found["happened"])
            self.assertIn("trust our certificate", found["remedy"])
            text = self.do("explain", "ACME").out
            self.assertIn("your system sent", text)
            self.assertNotIn("your system saw", text)

    def test_call_that_reached_nobody(self) -> None:
        """Of a call that was refused here, or failed before the partner was there, its system saw nothing."""
        for name, source, fields, reached in (
            ("outbound.refused", "client", {"cause": "call.not_allowed", "way": "trial"}, False),
            ("outbound.refused", "client", {"cause": "quota.sessions_per_partner", "way": "connect"}, False),
            ("outbound.failed", "server", {"cause": "call.not_allowed", "step": "policy"}, False),
            ("outbound.failed", "server", {"cause": "call.connect", "step": "connect"}, False),
            ("outbound.failed", "server", {"cause": "call.greeting", "step": "ssrm"}, True),
            ("handshake.failed", "server", {"cause": "handshake.ended"}, True),
        ):
            self.tell(name, source, partner="ACME", message="no", **fields)
            self.assertIs(self.explained("ACME")["to_partner"]["reached"], reached, fields)
            said = self.assertIn if reached else self.assertNotIn
            said("your system saw", self.do("explain", "ACME").out)

    def test_caller_without_tls(self) -> None:
        """A caller that spoke something else than TLS is told what it spoke; any other failure has the general text."""
        for cause, words in (
            ("handshake.plain_oftp", "sent OFTP without TLS"),
            ("handshake.plain_http", "sent HTTP"),
            ("handshake.plain_ssh", "sent SSH"),
            ("handshake.balancer", "sent a header of the PROXY protocol"),
            ("handshake.silent", "sent nothing"),
            ("handshake.not_tls", "sent something other than TLS"),
            ("handshake.timeout", "did not complete it in time"),
            ("handshake.ended", "closed the connection before TLS"),
            ("handshake.failed", "could not be established"),
        ):
            self.tell("handshake.failed", peer=PEER, cause=cause, message="no TLS")
            self.assertIn(words, self.do("explain", "192.0.2.7").out)

    def test_self_signed_stranger(self) -> None:
        """A stranger whose certificate nobody issued is not asked for intermediates; one with an issuer is."""
        for issuer, asked in (("CN=acme", False), ("CN=Some CA", True)):
            self.tell(
                "certificate.refused",
                peer=PEER,
                cause="certificate.unknown_ca",
                message="neither issued by a configured CA nor pinned",
                subject="CN=acme",
                issuer=issuer,
                advice="add the CA; it has to send its intermediate certificates",
            )
            found = self.explained(PEER)
            for words in (found["to_partner"]["remedy"], found["for_us"]["advice"]):
                self.assertEqual("intermediate" in words, asked, words)
            self.assertEqual(found["for_us"]["key"], "certificate.unknown_ca")
        self.tell(
            "outbound.failed",
            partner="ACME",
            cause="certificate.unknown_ca",
            step="tls",
            subject="CN=acme",
            issuer="CN=acme",
            advice="smartproxy partner outbound NAME --verify pin",
        )
        found = self.explained("ACME")
        self.assertNotIn("intermediate", found["to_partner"]["remedy"])
        self.assertIn("--verify pin", found["for_us"]["advice"])

    def test_keys(self) -> None:
        """Each kind of event leads to its entry of the table; what another side did is not the partner's affair."""
        for name, fields, key in (
            ("handshake.failed", {"cause": "handshake.not_tls", "message": "no TLS"}, "handshake.not_tls"),
            ("connection.refused", {"cause": "penalty.banned", "message": "banned", "limit": "ban"}, "penalty.banned"),
            ("identity.refused", {"cause": "identity.code", "code": "O0013"}, "identity.code"),
            ("session.refused", {"cause": "quota.sessions"}, "quota.sessions"),
            ("session.refused", {"cause": "licence.expired"}, "ours"),
            ("session.expired", {"timer": "ssid", "side": "partner"}, "deadline.partner"),
            ("session.expired", {"timer": "ssid", "side": "station"}, "deadline.station"),
            ("session.violation", {"rule": "field.range", "message": "x", "side": "partner"}, "violation.partner"),
            (
                "session.withdrawn",
                {"session": "1" * 16, "cause": "certificate.revoked", "message": "x"},
                "certificate.revoked",
            ),
        ):
            self.tell(name, peer=OTHER, partner="BOLT", **fields)
            found = self.explained("2001:db8::7")["for_us"]
            self.assertEqual((found["name"], found["key"]), (name, key))
        self.tell("session.violation", peer=PEER, rule="field.range", message="x", section="5.3.2", side="partner")
        self.assertEqual(self.explained(PEER)["to_partner"]["protocol"], {"rule": "field.range", "section": "5.3.2"})

    def test_ends(self) -> None:
        """Each way a session or call can end, its direction and whose doing it was lead to the sentence for it."""
        ends: tuple[tuple[str, dict[str, Any], str, str], ...] = (
            (
                "session.ended",
                {"outcome": "aborted", "side": "partner", "reason": 4},
                "your c",
                "Your system ended",
            ),
            ("session.ended", {"outcome": "aborted", "side": "station", "reason": 4}, "your c", "Our system ended"),
            (
                "session.failed",
                {"cause": "leg.lost", "outcome": "lost", "side": "partner"},
                "your c",
                "The connection to your system",
            ),
            (
                "session.failed",
                {"cause": "leg.lost", "outcome": "lost", "side": "station"},
                "your c",
                "A connection on our side",
            ),
            (
                "session.failed",
                {"cause": "leg.lost", "outcome": "lost", "side": "partner", "direction": "outbound"},
                "our c",
                "The c",
            ),
            (
                "outbound.failed",
                {"cause": "call.refused", "step": "connect"},
                "our c",
                "We called your system, and",
            ),
            (
                "outbound.failed",
                {"cause": "call.alert", "step": "tls"},
                "our c",
                "We called your system, and it ended",
            ),
            ("outbound.failed", {"cause": "source.missing", "step": "source"}, "our c", "We could not call"),
            ("outbound.failed", {"cause": "certificate.expired", "step": "tls"}, "our c", "A certificate that"),
        )
        for number, (name, fields, begin, happened) in enumerate(ends):
            whom: dict[str, Any] = {"session": f"{number:016x}", "peer": "10.0.0.9:5"}
            if name == "outbound.failed":
                whom = {"peer": "10.0.0.9:5", "host": "acme.example", "port": 6619}
            elif name == "session.ended":
                whom["code"] = "OINSIDE"
            self.tell(name, partner="ACME", **whom, **fields)
            outside, _ = self.do("explain", "ACME").out.split("For this site only:")
            self.assertIn(f"UTC {begin}", outside)
            self.assertIn(f"\n{happened}", outside)
            if begin == "our c":
                self.assertNotIn("10.0.0.9", outside)
                self.assertNotIn("OINSIDE", outside)
            if "reason" in fields:
                self.assertIn("ESID reason code  4", outside)

    def test_session_that_we_began(self) -> None:
        """Of a session that the station began, the partner is told where it was called and what it showed.

        Neither the station's address nor what it asked for goes outside.
        """
        place: dict[str, Any] = {"host": "acme.example", "port": 6619, "address": "192.0.2.9"}
        shown = {name: ACCEPTED[name] for name in ("by", "subject", "serial")}
        self.tell("outbound.answered", session=SESSION, partner="ACME", peer=PEER, **place, **shown)
        about = {"session": SESSION, "partner": "ACME", "direction": "outbound", "cause": "leg.lost", "outcome": "lost"}
        self.tell("session.ended", "client", peer="10.0.0.9:5", code="OINSIDE", ended_by="station", **about)
        self.tell("session.ended", peer=PEER, code="OINSIDE", ended_by="station", **about)
        outside, _ = self.do("explain", SESSION).out.split("For this site only:")
        for words in ("acme.example port 6619", "CN=acme", "A connection on our side was lost", "has to call again"):
            self.assertIn(words, outside)
        for words in ("10.0.0.9", "OINSIDE"):
            self.assertNotIn(words, outside)
        self.tell("outbound.refused", "client", partner="BOLT", peer="10.0.0.9:5", cause="tunnel.none", way="connect")
        self.tell(
            "outbound.refused", "client", partner="BOLT", host="bolt-inside", port=1, cause="call.policy", way="x"
        )
        outside, _ = self.do("explain", "BOLT").out.split("For this site only:")
        self.assertIn("We could not call your system.", outside)
        self.assertNotIn("inside", outside)

    def test_what_is_named_here(self) -> None:
        """Where the partner is told that something is named here, it is."""
        self.assertEqual(
            {key for key, each in EXPLANATIONS.items() if "named here" in f"{each.happened} {each.remedy}"},
            set(NAMED_HERE),
        )
        for key, (name, fields, words) in NAMED_HERE.items():
            self.tell(name, partner="ACME", peer=PEER, **fields)
            self.assertEqual(self.explained("ACME")["for_us"]["key"], key)
            outside, _ = self.do("explain", "ACME").out.split("For this site only:")
            happened, _, facts = outside.partition("\n\n")[2].partition("\n\n")
            self.assertIn("named here", happened)
            for word in words:
                self.assertIn(word, facts, key)

    def test_rule_of_an_end(self) -> None:
        """Where only the end of a session is stored, its cause is the rule that was broken."""
        about = {"partner": "ACME", "peer": PEER, "outcome": "violated", "ended_by": "partner"}
        self.tell("session.ended", cause="header.version", **about)
        self.assertEqual(self.explained("ACME")["to_partner"]["protocol"], {"rule": "header.version"})

    def test_code_of_our_station(self) -> None:
        """The SSIDCODE that is told is the partner's; our station's goes to nobody, whichever daemon told it."""
        about: dict[str, Any] = {"session": SESSION, "partner": "ACME", "peer": PEER, "outcome": "refused"}
        for cause in ("identity.station_level", "identity.station_authentication"):
            for direction in ("inbound", "outbound"):
                self.tell("identity.refused", cause=cause, code="OINSIDE", direction=direction, **about)
                number = self.explained("ACME")["for_us"]["event"]
                told = self.do("explain", str(number)).out
                self.assertIn("Our own system", told)
                self.assertNotIn("OINSIDE", told.split("For this site only:")[0])
                self.assertIsNone(self.explained(str(number))["to_partner"]["code"])

    def test_code_of_a_called_partner(self) -> None:
        """A partner that we called, and that answered with a code that is not its own, is told which it gave."""
        about: dict[str, Any] = {"partner": "ACME", "peer": PEER, "direction": "outbound", "outcome": "refused"}
        self.tell("identity.refused", cause="identity.code", code="O0013WRONG", **about)
        told = self.explained("ACME")["to_partner"]
        self.assertIn("is not assigned to your certificate", told["happened"])
        self.assertEqual((told["code"], told["peer"]), ("O0013WRONG", None))
        self.assertRegex(self.do("explain", "ACME").out, "SSIDCODE given +O0013WRONG")

    def test_end_of_time(self) -> None:
        """An event of the last year that events may have is explained as any other."""
        time = "9998-12-31T23:59:59Z"
        for name, more in (("certificate.accepted", ACCEPTED), ("session.failed", {"cause": "tunnel.lost"})):
            event = {"name": name, "source": "server", "sequence": 1, "time": time, "partner": "ACME", "peer": PEER}
            self.assertEqual(ClientRequests(self.store).keep_events("inner", [{**event, **more}], NOW).refused, [])
        self.assertEqual(self.explained("ACME")["to_partner"]["certificate"]["subject"], "CN=acme")

    def test_nothing_to_explain(self) -> None:
        """What was not refused is said to be so; what is not there, too."""
        self.tell("session.started", session=CLEAN, partner="ACME")
        self.assertIn("has not ended yet", self.refused("explain", CLEAN))
        self.tell("session.ended", session=CLEAN, partner="ACME", outcome="completed")
        self.assertIn("ended as completed", self.refused("explain", CLEAN))
        self.assertIn("ended as completed", self.refused("explain", str(self.before + 2)))
        self.tell("tunnel.down", "client", cause="lost")
        self.assertIn("no refusal", self.refused("explain", str(self.before + 3)))
        self.assertIn("no event 99", self.refused("explain", "99"))
        self.assertIn("no event of a session", self.refused("explain", "f" * 16))
        nobody = self.refused("explain", "NOBODY")
        self.assertIn("early end of 'NOBODY'", nobody)
        self.assertIn("smartproxy explain ADDRESS", nobody)
