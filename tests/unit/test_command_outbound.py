"""``smartproxy partner outbound``, ``test-partner`` and ``test-station``: how partners are called, and if it works."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from smartproxy.backend import trials
from smartproxy.backend.schema import EventRow
from smartproxy.backend.session_tables import TrialRow
from smartproxy.backend.store import Store
from smartproxy.policy.configuration import parse
from smartproxy.policy.partners import Outbound, SubjectRule
from smartproxy.tap.commands import console
from smartproxy.testing.pki import TestCa, self_signed
from tests.unit.commands import CommandCase, Done

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


class OutboundCase(CommandCase):
    """A site with a partner."""

    def setUp(self) -> None:
        """Add it, and a CA."""
        super().setUp()
        self.credential = self_signed("acme")
        self.pem = self.file("acme.pem", self.credential.certificate_pem)
        self.do("partner", "add", "ACME", "--code", "ACME", "--certificate", self.pem)
        self.do("ca", "add", "odette", self.file("ca.pem", TestCa.root("Odette").certificate_pem))

    def store(self) -> Store:
        """The site's store."""
        store = Store.open(self.location)
        self.addCleanup(store.close)
        return store

    def say(self, *switches: str) -> dict[str, Any]:
        """Say how it is called; the entry of the document."""
        found: dict[str, Any] = self.do("partner", "outbound", "ACME", *switches, "--json").json
        return found


class PartnerOutbound(OutboundCase):
    """How a partner is called."""

    def entry(self) -> Outbound | None:
        """What the newest generation says."""
        from smartproxy.backend import generations

        with self.store().reading() as session:
            newest = generations.newest_document(session)
        assert newest is not None
        return parse(newest[1]).server.partners[0].outbound

    def test_piece_by_piece(self) -> None:
        """What is given replaces what was there; everything else stays, and reaches the document."""
        self.assertIsNone(self.entry())
        self.assertEqual(self.say("--host", "oftp.acme.example")["outbound"], {"host": "oftp.acme.example"})
        self.say("--port", "6620", "--listener", "3307", "--verify", "pin", "--source", "192.0.2.2")
        found = self.entry()
        assert found is not None
        self.assertEqual(
            (found.host, found.port, found.listener, found.verify.value, found.source),
            ("oftp.acme.example", 6620, 3307, "pin", "192.0.2.2"),
        )
        self.say("--default", "port", "--default", "source")
        found = self.entry()
        assert found is not None
        self.assertEqual((found.port, found.source, found.listener), (6619, None, 3307))
        self.say("--never")
        self.assertIsNone(self.entry())

    def test_certificates(self) -> None:
        """Pins from files and hashes; Odette IDs of an authority; an authority for a name."""
        other = self.file("other.pem", self_signed("other").certificate_pem)
        self.say(
            "--host", "h", "--verify", "pin", "--certificate", other, "--pin", "AB:" * 31 + "AB", "--key", "cd" * 32
        )
        found = self.entry()
        assert found is not None
        self.assertEqual([rule.by for rule in found.certificates], ["certificate", "certificate", "key"])
        self.say("--certificate", other, "--pin-key")
        found = self.entry()
        assert found is not None
        self.assertEqual([rule.by for rule in found.certificates], ["key"])
        self.say("--verify", "odette", "--ca", "odette", "--subject-serial", "O0013")
        found = self.entry()
        assert found is not None
        self.assertEqual(found.certificates, (SubjectRule(ca="odette", serial_number="O0013"),))
        self.say("--verify", "name", "--ca", "odette", "--default", "certificates")
        found = self.entry()
        assert found is not None
        self.assertEqual((found.ca, found.certificates), ("odette", ()))

    def test_shown(self) -> None:
        """To people as they would write it."""
        self.assertIn("outbound        never", self.do("partner", "show", "ACME").out)
        told = self.do("partner", "outbound", "ACME", "--host", "2001:db8::7", "--verify", "pin", "--listener", "3307")
        self.assertIn("[2001:db8::7]:6619", told.out)
        self.assertIn("listener 3307", self.do("partner", "show", "ACME").out)

    def test_refused(self) -> None:
        """What makes no sense is refused with what would."""
        refused = self.refused
        self.assertIn("--host", refused("partner", "outbound", "ACME", status=2))
        self.assertIn("--never", refused("partner", "outbound", "ACME", "--host", "h", "--never", status=2))
        for wrong in ("192.168.1.300", "127.1", "1.2.3.400", "6619"):
            self.assertIn("no name ends in a number", refused("partner", "outbound", "ACME", "--host", wrong))
        for more in (("--host", "0.0.0.0"), ("--host", "h.example", "--source", "::")):
            self.assertIn("every address of a machine", refused("partner", "outbound", "ACME", *more))
        self.assertIn("not a whole number", refused("partner", "outbound", "ACME", "--port", "6_619", status=2))
        self.assertIn("give --host", refused("partner", "outbound", "ACME", "--port", "1"))
        self.assertIn("no partner 'X'", refused("partner", "outbound", "X", "--host", "h"))
        self.assertIn("which CA", refused("partner", "outbound", "ACME", "--subject-serial", "x", status=2))
        self.assertIn("--key", refused("partner", "outbound", "ACME", "--pin-key", status=2))
        wrong = refused("partner", "outbound", "ACME", "--host", "h", "--identity", "none")
        self.assertIn("partner ACME, outbound.identity", wrong)
        self.assertIsNone(self.entry())

    def test_export_and_import(self) -> None:
        """An export takes it along, with the name of the certificate that it is shown."""
        shown = self_signed("main")
        files = shown.write(self.folder, "main")
        self.do("identity", "import", "main", str(files.certificate), str(files.key))
        self.say("--host", "oftp.acme.example", "--verify", "pin", "--listener", "3307", "--identity", "main")
        before = self.entry()
        for switches in ((), ("--with-secrets",)):
            archive = str(self.folder / f"site{len(switches)}.json")
            self.do("export", archive, *switches)
            self.say("--never")
            self.do("import", archive)
            self.assertEqual(self.entry(), before)


class Trials(OutboundCase):
    """Whether a partner or the station can be reached."""

    def setUp(self) -> None:
        """Have the partner called."""
        super().setUp()
        self.say("--host", "oftp.acme.example")

    def test_partner_that_is_never_called(self) -> None:
        """A partner without an address is refused at once, with what to do."""
        self.do("partner", "outbound", "ACME", "--never")
        told = self.refused("test-partner", "ACME")
        self.assertIn("never called", told)
        self.assertIn("smartproxy partner outbound ACME --host HOST", told)

    def run_trial(self, *arguments: str, event: str | None = None, **fields: object) -> Done:
        """Run a command, while a client tells what came of the trial."""

        def sleep(seconds: float) -> None:
            if event is None:
                return
            with self.store().writing() as session:
                (trial,) = trials.after(session, 0, datetime.now(UTC))
                now = datetime.now(UTC)
                session.add(
                    EventRow(
                        time=now,
                        received=now,
                        source="server",
                        name=event,
                        telling=False,
                        level="info",
                        session=trial.session,
                        partner=trial.partner,
                        fields=fields,
                    )
                )

        with patch("smartproxy.tap.command.Console", partial(console.Console, sleep=sleep)):
            return self.run_command(*arguments)

    def test_partner(self) -> None:
        """Every step is good."""
        done = self.run_trial("test-partner", "ACME", event="outbound.answered", host="h", port=6619, tls="TLSv1.3")
        self.assertEqual(done.status, 0, done.err)
        for words in ("policy   ok", "TLS      ok", "SSRM     ok", "TLSv1.3"):
            self.assertIn(words, done.out)

    def test_waiting(self) -> None:
        """Who waits is told every few seconds that nothing has come, and at the end what to look at."""
        done = self.run_trial("test-partner", "ACME", "--wait", "11")
        self.assertEqual((done.status, done.out), (1, ""))
        lines = done.err.splitlines()
        self.assertEqual([line.partition("; ")[2] for line in lines[:2]], ["5 of 11 s are over", "10 of 11 s are over"])
        self.assertIn("no client reported a result within 11 s", lines[2])
        self.assertEqual(len(lines), 3)

    def test_partner_fails(self) -> None:
        """The steps before the one that failed are good; the exit status says that it did."""
        done = self.run_trial(
            "test-partner",
            "ACME",
            "--json",
            event="outbound.failed",
            step="tls",
            cause="call.tls",
            message="TLS: no",
            advice="do this",
        )
        self.assertEqual(done.status, 1)
        found = done.json
        self.assertEqual((found["connect"], found["TLS"], found["good"]), ("ok", "no", False))
        self.assertEqual((found.get("SSRM"), found["advice"]), (None, "do this"))

    def test_station(self) -> None:
        """The station, both ways."""
        self.assertEqual(self.run_trial("test-station", event="station.answered", host="h", port=3305).status, 0)

    def test_station_fails(self) -> None:
        """A station that is not there."""
        done = self.run_trial(
            "test-station", event="station.unreachable", cause="station.refused", message="it refuses the connection"
        )
        self.assertEqual(done.status, 1)
        self.assertIn("it refuses the connection", done.out)

    def test_nobody_answers(self) -> None:
        """Without a client there is no result, and what to look at is said."""
        for arguments in (("test-station",), ("test-partner", "ACME")):
            done = self.run_trial(*arguments, "--wait", "1")
            self.assertEqual((done.status, done.out), (1, ""))
            self.assertIn("does a client run", done.err)

    def test_unknown_partner(self) -> None:
        """A partner who is not there."""
        self.assertIn("no partner 'X'", self.refused("test-partner", "X"))

    def test_the_store(self) -> None:
        """Trials are numbered, good for a minute, and forgotten after a day; the server's word goes first."""
        with self.store().writing() as session:
            self.assertEqual(trials.newest_number(session), 0)
            first = trials.ask(session, "ACME", NOW)
            second = trials.ask(session, None, NOW + timedelta(seconds=50))
            self.assertEqual(trials.newest_number(session), second.number)
            soon, late = NOW + timedelta(seconds=59), NOW + timedelta(seconds=61)
            found = [[row.partner for row in trials.after(session, 0, moment)] for moment in (soon, late)]
            self.assertEqual(found, [["ACME", None], [None]])
            self.assertEqual(trials.after(session, second.number, soon), [])
            back = soon - timedelta(hours=1)
            self.assertEqual(trials.after(session, 0, back), [], "asked for while the clock was ahead")
            self.assertNotEqual(first.session, second.session)
            for name in ("outbound.refused", "outbound.failed"):
                session.add(
                    EventRow(
                        time=NOW,
                        received=NOW,
                        source="x",
                        name=name,
                        level="info",
                        session=first.session,
                        telling=False,
                        fields={},
                    )
                )
            session.flush()
            result = trials.result(session, first.session, trials.PARTNER_RESULTS)
            assert result is not None
            self.assertEqual(result.name, "outbound.failed")
            self.assertIsNone(trials.result(session, second.session, trials.STATION_RESULTS))
            trials.ask(session, None, NOW + timedelta(days=1, seconds=1))
            self.assertEqual(session.query(TrialRow).count(), 2)
