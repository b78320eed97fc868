"""``smartproxy events``, ``export`` and ``import``."""

import argparse
import io
import json
import stat
from datetime import UTC, datetime

from smartproxy.backend import journal
from smartproxy.backend.location import Location
from smartproxy.backend.store import Store
from smartproxy.logs.record import read
from smartproxy.tap.command import parser
from smartproxy.tap.commands.console import Console
from smartproxy.testing.pki import self_signed
from tests.unit.commands import CommandCase

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Events(CommandCase):
    """What happened."""

    def tell(self, name: str = "tunnel.down", time: datetime = NOON, **fields: object) -> None:
        """Have an event stored that arrived when it happened."""
        store = Store.open(Location.of(str(self.state), environment={}))
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
        """One line an event, for people; one document, for scripts."""
        self.tell(partner="ACME")
        last = self.do("events").out.splitlines()[-1]
        self.assertIn("2026-11-20T12:00:00.000Z WARNING  client tunnel.down cause=lost partner=ACME", last)
        self.assertEqual(self.do("events", "list", "-n", "1", "--json").json[0]["client"], "inner")

    def test_filters(self) -> None:
        """By name, subject, level, source, partner, session, time and number."""
        self.tell(partner="ACME", session="a" * 16)
        self.tell("station.unreachable")
        self.assertEqual(self.names("--name", "tunnel."), ["tunnel.down"])
        self.assertEqual(self.names("--level", "ERROR"), ["station.unreachable"])
        self.assertEqual(self.names("--source", "client", "--partner", "ACME"), ["tunnel.down"])
        self.assertEqual(self.names("--session", "a" * 16), ["tunnel.down"])
        self.assertEqual(self.names("-n", "1"), ["station.unreachable"])
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
                self.tell("station.unreachable")
                self.tell("station.unreachable")

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

    def test_prune(self) -> None:
        """Old events are deleted, by a date or an age, and only when it is said how old."""
        self.tell(time=datetime(2020, 1, 1, tzinfo=UTC))
        self.tell()
        self.assertEqual(self.do("events", "prune", "--older-than", "2020-06-01", "--json").json, {"deleted": 1})
        self.assertEqual(self.names("--source", "client"), ["tunnel.down"])
        self.assertIn("go together", self.refused("events", "prune", status=2))
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
        self.state = self.folder / "elsewhere"
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
