"""``smartproxy events``, ``export`` and ``import``."""

import argparse
import io
import json
import re
import shlex
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs

from smartproxy.backend import archive_file, certificates, identities, journal
from smartproxy.backend.operations import identity
from smartproxy.backend.operations.events import EventPart, EventsWanted
from smartproxy.backend.store import Store
from smartproxy.logs.record import read
from smartproxy.policy import limits
from smartproxy.tap.command import parser
from smartproxy.tap.commands.console import Console
from smartproxy.testing.pki import self_signed
from tests.unit.commands import CommandCase

ACME = self_signed("acme").certificate_pem
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Events(CommandCase):
    """What happened."""

    def tell(self, name: str = "tunnel.down", time: datetime = NOON, **fields: object) -> None:
        """Have an event stored that arrived when it happened."""
        store = Store.open(self.location)
        always = {"name": name, "time": time.isoformat(), "source": "client", "sequence": 1}
        document = {**always, "cause": "lost", **fields}
        try:
            with store.writing() as session:
                journal.keep(session, [read(document)], time, "inner")
        finally:
            store.close()

    def names(self, *arguments: str) -> list[str]:
        """The names of the events listed."""
        return [each["name"] for each in self.do("events", *arguments, "--json").json]

    def test_list(self) -> None:
        """One short line an event, for people; one document, for scripts; each with the number that explain takes."""
        self.tell(partner="ACME")
        (found,) = self.do("events", "list", "--source", "client", "--json").json
        self.assertEqual(found["client"], "inner")
        last = self.do("events", "--source", "client").out.rstrip("\n")
        self.assertEqual(last, f"{found['number']:>6} 2026-11-20 12:00:00 WARNING  client  tunnel.down ACME cause=lost")
        self.assertIn("no refusal", self.refused("explain", last.split()[0]))

    def test_long(self) -> None:
        """With --long all fields are shown, behind the number."""
        self.tell(partner="ACME", message="m" * 300)
        (found,) = self.do("events", "list", "--source", "client", "--json").json
        last = self.do("events", "--long", "--source", "client").out
        self.assertTrue(last.startswith(f"{found['number']} 2026-11-20T12:00:00.000Z WARNING  client tunnel.down"))
        for words in ("m" * 300, "cause=lost", "partner=ACME", "client=inner"):
            self.assertIn(words, last)

    def test_which_certificate(self) -> None:
        """The command that the documents have for it shows which certificate a partner uses, whatever its names are."""
        sha256, name = "5d" * 32, "C=DE,O=" + "Automotive Supplier " * 4 + ",CN=oftp2.acme.example"
        facts: dict[str, Any] = {"partner": "ACME", "peer": "192.0.2.7:40001", "by": "pin", "cause": None}
        names: dict[str, Any] = {"subject": name, "issuer": name, "serial": "12" * 16}
        self.tell("certificate.accepted", certificate_sha256=sha256, session="a" * 16, **facts, **names)
        page = (Path(__file__).resolve().parents[2] / "docs" / "day-two.rst").read_text(encoding="utf-8")
        (command,) = re.findall(r"inside\$ smartproxy (events --name certificate\.accepted .*)", page)
        self.assertIn(f"certificate_sha256={sha256}", self.do(*shlex.split(command)).out)

    def test_short(self) -> None:
        """A short line has at most 160 characters, whatever the event holds; what matters is before the cut."""
        self.tell("session.refused", session="a" * 16, partner="ACME", peer="[2001:db8::7]:40001", message="no place")
        self.tell("certificate.refused", message="m" * 300)
        self.tell("certificate.refused", partner="ACME", peer="192.0.2.7:1", subject="CN=" + "s" * 200, depth=1)
        lines = self.do("events", "--source", "client").out.splitlines()
        self.assertEqual([len(each) for each in lines if len(each) > 160], [])
        self.assertTrue(
            lines[0].endswith(
                'session.refused ACME "no place" cause=lost peer=[2001:db8::7]:40001 session=aaaaaaaaaaaaaaaa'
            )
        )
        self.assertEqual((len(lines[1]), lines[1][-1]), (160, "…"))
        self.assertTrue(lines[2].endswith("certificate.refused ACME cause=lost peer=192.0.2.7:1 depth=1 …"), lines[2])

    def test_order(self) -> None:
        """Events stand in the order of their times, however they arrived."""
        for minute in (7, 3, 5):
            self.tell(time=NOON.replace(minute=minute))
        times = [line.split()[2] for line in self.do("events", "--source", "client").out.splitlines()]
        self.assertEqual(times, ["12:03:00", "12:05:00", "12:07:00"])

    def test_newest(self) -> None:
        """``-n`` chooses the events that happened last, also where others arrived later, and of more than one part."""
        self.tell("station.unreachable", NOON)
        for minute in range(4):
            self.tell(time=NOON.replace(hour=3, minute=minute))
        for most in (limits.EVENTS_PAGE, attrs.evolve(limits.EVENTS_PAGE, most=2, default=2)):
            with patch.object(limits, "EVENTS_PAGE", most):
                found = self.do("events", "--source", "client", "-n", "3", "--json").json
                self.assertEqual(
                    [each["time"][11:16] for each in found], ["03:02", "03:03", "12:00"], f"{most.most} in a part"
                )
                self.assertEqual(len(self.names("--source", "client", "-n", "0")), 5)

    def test_what_arrives_while_it_lists(self) -> None:
        """An event that arrives between two parts, and happened before, is not listed twice by --follow."""
        for minute in range(4):
            self.tell(time=NOON.replace(minute=minute))
        call = Console.call
        seen: list[int] = []

        def late(console: Console, *given: Any) -> Any:
            answer = call(console, *given)
            if not seen:
                self.tell("station.unreachable", NOON.replace(hour=1))
            seen.append(1)
            return answer

        def sleep(seconds: float) -> None:
            if len(seen) > 4:
                raise KeyboardInterrupt

        arguments = parser().parse_args(
            ["--state-dir", str(self.state), "events", "--follow", "--source", "client", "-n", "9", "--json"]
        )
        console = Console(arguments=arguments, out=(out := io.StringIO()), sleep=sleep)
        page = attrs.evolve(limits.EVENTS_PAGE, most=2, default=2)
        with patch.object(limits, "EVENTS_PAGE", page), patch.object(Console, "call", late):
            self.assertRaises(KeyboardInterrupt, arguments.run, console)
        names = [json.loads(each)["name"] for each in out.getvalue().splitlines()]
        self.assertEqual(names, ["tunnel.down"] * 4 + ["station.unreachable"])

    def test_own_changes(self) -> None:
        """What operators change themselves is no warning."""
        self.do("settings", "set", "client.station.host", "192.0.2.1")
        self.do("partner", "add", "ACME", "--code", "ACME", "--certificate", self.file("acme.pem", ACME))
        found = self.do("events", "--source", "command", "--json").json
        self.assertEqual({each["level"] for each in found}, {"info"})
        self.assertLessEqual(
            {"authority.created", "settings.changed", "partner.changed"}, {each["name"] for each in found}
        )

    def test_filters(self) -> None:
        """By name, subject, level, source, partner, session, time and number."""
        self.tell(partner="ACME", session="a" * 16)
        self.tell("station.unreachable")
        self.assertEqual(self.names("--name", "tunnel."), ["tunnel.down"])
        self.assertEqual(self.names("--level", "ERROR"), ["station.unreachable"])
        self.assertEqual(self.names("--source", "client", "--partner", "ACME"), ["tunnel.down"])
        self.assertEqual(self.names("--session", "a" * 16), ["tunnel.down"])
        self.assertEqual(self.names("--source", "client", "-n", "1"), ["station.unreachable"])
        times = ("--since", "2026-11-20", "--until", "2026-11-20T12:00:01", "-n", "0")
        self.assertEqual(self.names(*times, "--source", "client"), ["tunnel.down", "station.unreachable"])
        self.assertEqual(self.names("--until", "2026-11-20", "--source", "client"), [])
        self.assertIn("levels are", self.refused("events", "--level", "loud", status=2))
        self.assertIn("is not a time", self.refused("events", "--since", "tomorrow", status=2))

    def test_name_of_no_event(self) -> None:
        """A name that no event can have is told, with the nearest one."""
        for name, near in (("sesion.", "session."), ("session", "session."), ("tunnel.don", "tunnel.down")):
            self.assertIn(f"did you mean '{near}'?", self.refused("events", "--name", name, status=2))
        self.assertIn("no event is named 'xyzzy'", self.refused("events", "--name", "xyzzy", status=2))

    def test_follow(self) -> None:
        """What was there first, then what comes, each once, until Ctrl-C."""
        self.tell()
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 4:
                raise KeyboardInterrupt
            if len(slept) == 2:
                self.tell("station.unreachable", sequence=len(out.getvalue()))
                self.tell("station.unreachable", sequence=len(out.getvalue()) + 1)

        for form in ([], ["--json"]):
            slept.clear()
            arguments = parser().parse_args(
                ["--state-dir", str(self.state), "events", "--follow", "--source", "client", "-n", "1", *form]
            )
            out = io.StringIO()
            console = Console(arguments=arguments, out=out, sleep=sleep)
            self.assertRaises(KeyboardInterrupt, arguments.run, console)
            lines = out.getvalue().splitlines()
            self.assertEqual(len(lines), 3)
            if form:
                self.assertEqual([json.loads(line)["name"] for line in lines[1:]], ["station.unreachable"] * 2)

    def test_follow_from_far(self) -> None:
        """With --url the backend is asked to wait; the local store is not."""
        for url, wait in (("https://backend.example", 50), (None, 0)):
            asked: list[EventsWanted] = []
            naps = iter(range(3))

            def call(console: Console, operation: object, wanted: EventsWanted, asked: Any = asked) -> EventPart:
                asked.append(wanted)
                return EventPart(items=(), next=7)

            def sleep(seconds: float, naps: Any = naps) -> None:
                if next(naps) == 2:
                    raise KeyboardInterrupt

            arguments = parser().parse_args(["events", "--follow"])
            arguments.api_url = url
            console = Console(arguments=arguments, out=io.StringIO(), sleep=sleep)
            with patch.object(Console, "call", call):
                self.assertRaises(KeyboardInterrupt, arguments.run, console)
            self.assertEqual([(each.after, each.wait) for each in asked], [(None, 0), (7, wait), (7, wait)])

    def test_prune(self) -> None:
        """Old events are deleted, by a date or an age, and only when it is said how old."""
        self.tell(time=datetime(2020, 1, 1, tzinfo=UTC))
        self.tell()
        self.assertEqual(self.do("events", "prune", "--older-than", "2020-06-01", "--json").json, {"deleted": 1})
        self.assertEqual(self.names("--source", "client"), ["tunnel.down"])
        self.assertIn("go together", self.refused("events", "prune", status=2))

    def test_times_that_no_event_has(self) -> None:
        """A time that ends before it begins, or before what is waited for, is refused; nothing found is said."""
        self.assertIn("earlier than", self.refused("events", "--since", "1d", "--until", "2d", status=2))
        self.assertIn("one of the two", self.refused("events", "--follow", "--until", "2d", status=2))
        self.assertIn("choose from server", self.refused("events", "--source", "nosuch", status=2))
        self.assertEqual(self.do("events", "--partner", "NOSUCH").out, "no event matches\n")
        self.assertEqual(self.do("events", "--partner", "NOSUCH", "--json").json, [])

    def test_prune_selects_nothing(self) -> None:
        """An option that selects events for the list is refused with prune, and nothing is deleted."""
        self.tell()
        before = len(self.do("events", "-n", "0", "--json").json)
        for option in (
            *(("--name", "tunnel."), ("--level", "error"), ("--source", "server"), ("--partner", "ACME")),
            *(("--session", "231696ddd5473c29"), ("--since", "7d"), ("--until", "1d"), ("-n", "100"), ("-n", "0")),
            *(("--long",), ("--follow",)),
        ):
            told = self.refused("events", "prune", "--older-than", "0s", *option, status=2)
            self.assertIn("prune takes --older-than only", told)
        self.assertEqual(len(self.do("events", "-n", "0", "--json").json), before)
        self.assertIn("go together", self.refused("events", "--older-than", "1d", status=2))


class Transfer(CommandCase):
    """The whole configuration as one file."""

    def setUp(self) -> None:
        """A site with a partner and an identity."""
        super().setUp()
        own = self_signed("oftp.muster.example")
        self.do("identity", "import", "main", self.file("own.pem", own.certificate_pem + own.key_pem))
        acme = self.file("acme.pem", self_signed("acme").certificate_pem)
        self.do("partner", "add", "ACME", "--code", "ACME", "--certificate", acme)
        self.path = self.folder / "site.json"

    def test_moved(self) -> None:
        """With secrets the file makes the same site elsewhere; it is for its owner only."""
        self.do("export", str(self.path), "--with-secrets")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        before = self.do("authority", "show", "--json").json, self.do("partner", "list", "--json").json
        self.go_elsewhere()
        found = self.do("import", str(self.path), "--json").json
        self.assertEqual((found["partners"], found["identities"]), (1, 1))
        after = self.do("authority", "show", "--json").json, self.do("partner", "list", "--json").json
        self.assertEqual(after, before)

    def test_without_secrets(self) -> None:
        """Without secrets no key is in it, and identities stay as they were."""
        text = self.do("export", "-").out
        self.assertNotIn("PRIVATE KEY", text)
        self.do("partner", "remove", "ACME")
        self.assertIn("as they were", self.do("import", "-", stdin=text.encode()).out)
        self.assertEqual(len(self.do("partner", "list", "--json").json), 1)
        self.assertEqual(len(self.do("identity", "list", "--json").json), 1)

    def test_work_is_done_before_the_store_is_locked(self) -> None:
        """Whatever takes long (reading a file, making a key) is over before other programs have to wait."""
        self.do("export", str(self.path))
        steps: list[str] = []

        def told(step: str, real: Any) -> Any:
            def call(*given: Any, **named: Any) -> Any:
                steps.append(step)
                return real(*given, **named)

            return call

        with (
            patch.object(archive_file, "parse_file", told("parsed", archive_file.parse_file)),
            patch.object(identities, "_new_key", told("key", identities._new_key)),
            patch(f"{identity.__name__}.read_certificates", told("certificates", certificates.read_certificates)),
            patch.object(Store, "writing", told("locked", Store.writing)),
        ):
            self.do("import", str(self.path))
            self.assertEqual(steps, ["parsed", "locked"])
            steps.clear()
            self.do("identity", "request", "next", "--common-name", "x.example")
            self.assertEqual(steps, ["key", "locked"])
            steps.clear()
            self.refused("identity", "complete", "next", self.file("a.pem", self_signed("a").certificate_pem))
            self.assertEqual(steps, ["certificates", "locked"])

    def test_no_store_for_what_is_none(self) -> None:
        """A file that cannot be imported or restored makes no store, nor does a site that cannot be called so."""
        self.go_elsewhere()
        self.refused("import", self.file("bad.json", b"{}"))
        for octets in (b"", b"nothing"):
            bad = self.file("bad.backup", octets)
            self.assertIn(f"{bad}: the file was not written by", self.refused("restore", bad))
        self.assertIn("name of the site", self.refused("authority", "create", "--site", ""))
        self.assertIn("control characters", self.refused("authority", "create", "--site", "x", "--name", "\x07x"))
        self.assertFalse(self.state.exists())

    def test_refused(self) -> None:
        """A damaged file changes nothing."""
        self.do("export", str(self.path))
        document = json.loads(self.path.read_text())
        document["configuration"]["server"]["partners"][0]["lowest_level"] = 3
        reason = self.refused("import", self.file("bad.json", json.dumps(document).encode()))
        self.assertIn("server.partners[0].lowest_level", reason)
        self.assertEqual(self.do("partner", "list", "--json").json[0]["lowest_level"], 5)


class Judge(CommandCase):
    """Recordings."""

    founded = False

    def test_plugged_in(self) -> None:
        """The recording, the profile and the form of the answer reach the judge; a bad recording is a line."""
        self.assertIn("cannot read", self.refused("judge", str(self.folder / "missing.jsonl"), status=2))
        parsed = parser().parse_args(["judge", "x", "--profile", "strict", "--json"])
        self.assertEqual((parsed.file, parsed.profile, parsed.json), ("x", "strict", True))
        self.assertIsInstance(parsed, argparse.Namespace)
