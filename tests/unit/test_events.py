"""Emitting events: what is written, what is carried, and that nothing ever reaches the caller."""

from typing import cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.catalogue import CatalogueError
from smartproxy.logs.emit import FRAMES_MOST, RECORD_KEY, EventBudgets, Events, describe
from smartproxy.logs.fields import Value
from smartproxy.logs.levels import EVERYTHING, Levels
from smartproxy.logs.record import Record, read
from smartproxy.logs.severity import Severity
from smartproxy.policy import limits
from smartproxy.policy.budget import Tally, Uncounted
from smartproxy.policy.causes import Cause
from tests.conformance.test_linear_work import calls


class OnALog(SynchronousTestCase):
    """Events on a log that is a list, so that the failures that these tests provoke are none of trial's business."""

    def setUp(self) -> None:
        """Make events whose log and whose carrier are lists."""
        self.written: list[LogEvent] = []
        self.log = Logger(namespace="test", observer=cast(ILogObserver, self.written.append))
        self.carried: list[dict[str, Value]] = []
        self.clock = Clock()
        self.clock.advance(1_795_168_800)
        self.events = Events(self.log, self.carried.append, self.clock, source="server")

    def records(self) -> list[Record]:
        """Tell what was written."""
        return [entry[RECORD_KEY] for entry in self.written]


class Emitting(OnALog):
    """Events by name."""

    def test_written_and_carried(self) -> None:
        """An event is written with its level, and carried as JSON with time, source and number."""
        self.events.emit("tunnel.down", cause="tunnel.silent", message="ping timed out", sessions=3)
        self.assertEqual(LogLevel.warn, self.written[0]["log_level"])
        self.assertEqual(
            [
                {
                    "time": "2026-11-20T10:00:00.000Z",
                    "level": "warning",
                    "name": "tunnel.down",
                    "source": "server",
                    "sequence": 1,
                    "cause": "tunnel.silent",
                    "message": "ping timed out",
                    "sessions": 3,
                }
            ],
            self.carried,
        )

    def test_cost(self) -> None:
        """An event that is carried and not logged takes fewer than 90 calls, and does not trouble Twisted's log."""
        self.events.levels = Levels({EVERYTHING: Severity.WARNING})
        fields: dict[str, object] = dict.fromkeys(("subject", "issuer", "certificate_sha256", "key_sha256"), "x" * 60)
        fields |= {"peer": "192.0.2.7:40001", "partner": "ACME", "by": "certificate", "serial": "1f"}
        self.assertLess(calls(lambda: self.events.emit("certificate.accepted", **fields)), 90)
        self.assertEqual((1, []), (len(self.carried), self.written))

    def test_numbers(self) -> None:
        """Records that are carried are numbered from 1 without gaps; those that stay here have no number."""
        for name in ("tunnel.up", "connection.closed", "tunnel.up"):
            self.events.emit(name)
        self.assertEqual([1, None, 2], [record.sequence for record in self.records()])
        self.assertNotIn("sequence", self.records()[1].document())

    def test_low_levels_stay_here(self) -> None:
        """Events below INFO are written and not carried."""
        self.events.emit("session.anomaly", anomaly=2, rule="field.value")
        self.assertEqual(1, len(self.written))
        self.assertEqual([], self.carried)

    def test_without_a_carrier(self) -> None:
        """Events are written where nobody carries them."""
        self.events.forward = None
        self.events.emit("tunnel.up")
        self.assertEqual(["tunnel.up"], [record.name for record in self.records()])

    def test_the_format_is_ours(self) -> None:
        """What a peer chose is never used as a format."""
        self.events.emit("identity.accepted", partner="ACME", code="{log_source} {0} %s")
        self.assertEqual("{smartproxy_record}", self.written[0]["log_format"])
        self.assertEqual('identity.accepted partner=ACME code="{log_source} {0} %s"', str(self.written[0][RECORD_KEY]))

    def test_unknown_events_are_bugs(self) -> None:
        """An unknown name raises nothing; it is written as ``internal.error`` and not carried."""
        self.events.emit("tunnel.sideways", cause="x")
        (record,) = self.records()
        self.assertEqual("internal.error", record.name)
        self.assertEqual("tunnel.sideways", record.fields["event"])
        self.assertEqual("no event has this name", record.fields["message"])
        self.assertEqual([], self.carried)

    def test_a_wrong_field_does_not_hide_the_event(self) -> None:
        """A wrong call is reported, and the event is written and carried with what was right of it."""
        self.events.emit("tunnel.down", cause="x", dataset="Y", sessions="three")
        bug, event = self.records()
        self.assertEqual(("internal.error", "tunnel.down"), (bug.name, event.name))
        self.assertEqual("tunnel.down has a field that it cannot have", bug.fields["message"])
        self.assertEqual("dataset", bug.fields["detail"])
        self.assertEqual({"cause": "x"}, event.fields)
        self.assertEqual(["tunnel.down"], [document["name"] for document in self.carried])

    def test_a_wrong_call_fails_the_test_that_makes_it(self) -> None:
        """A wrong call comes with a failure, which trial counts as an error."""
        self.events.emit("tunnel.down")
        self.assertIs(CatalogueError, self.written[0]["log_failure"].type)

    def test_a_carrier_that_fails(self) -> None:
        """An exception of the carrier stays here and is reported once."""

        def fail(document: dict[str, Value]) -> None:
            raise OSError("pipe is full")

        self.events.forward = fail
        self.events.emit("tunnel.up")
        self.assertEqual(["tunnel.up", "internal.error"], [record.name for record in self.records()])
        self.assertEqual("pipe is full", self.records()[1].fields["message"])
        self.assertEqual("tunnel.up", self.records()[1].fields["event"])

    def test_the_carried_level(self) -> None:
        """The lowest level that is carried can be chosen."""
        events = Events(self.log, self.carried.append, self.clock, carried=Severity.ERROR)
        events.emit("tunnel.down", cause="x")
        events.emit("tunnel.refused", cause="x")
        self.assertEqual(["tunnel.refused"], [document["name"] for document in self.carried])


class Strangers(OnALog):
    """How much strangers can make a daemon write."""

    def flood(self, seconds: int, each: int, name: str = "handshake.failed", **fields: object) -> None:
        """So many events a second, each from an address of its own."""
        for second in range(seconds):
            for number in range(each):
                peer = f"192.0.{second % 250}.{number % 250}:4000"
                self.events.emit(name, cause=Cause.HANDSHAKE_NOT_TLS, message="x", peer=peer, **fields)
            self.clock.advance(1)

    def show(self, partner: str | None, peer: str = "192.0.2.7:4000") -> None:
        """Somebody shows a certificate, which is refused since a revocation list is too old."""
        cause = Cause.CERTIFICATE_REVOCATION_STALE
        self.events.emit("certificate.refused", cause=cause, message="x", peer=peer, partner=partner)

    def counted(self) -> list[dict[str, Value]]:
        """What was told of those that were only counted."""
        return [each for each in self.carried if each["name"] == "strangers.counted"]

    def test_budget(self) -> None:
        """Of 30,000 connections in a minute 5 a second are told one by one, in log and store, and all are counted."""
        self.flood(60, 500)
        told = [each for each in self.carried if each["name"] == "handshake.failed"]
        self.assertEqual(len(told), 10 + 59 * 5)
        counted = self.counted()
        self.assertEqual(len(self.written), len(self.carried))
        self.assertLessEqual(len(counted), limits.STRANGERS_TOLD_MOST + 1)
        self.assertEqual(len(told) + sum(cast(int, each["count"]) for each in counted), 30_000)
        self.assertEqual({each["event"] for each in counted}, {"handshake.failed"})
        self.assertEqual([each["facts"] for each in counted], [{"cause": "handshake.not_tls"}] * len(counted))

    def test_all_that_is_carried(self) -> None:
        """Whatever strangers do, show and cause, and is done about them: 10 a second are carried, all together."""
        for _ in range(60):
            for number in range(100):
                peer = f"192.0.2.{number}:4000"
                self.events.emit("handshake.failed", cause=Cause.HANDSHAKE_NOT_TLS, message="x", peer=peer)
                self.events.emit("connection.refused", cause=Cause.PENALTY_BANNED, message="x", peer=peer)
                self.events.failure("smartproxy.somewhere", Failure(ValueError()))
                self.show("ACME", peer)
            self.clock.advance(1)
        told = [str(each["name"]) for each in self.carried if each["name"] != "strangers.counted"]
        # And half a one a second of those that name a partner.
        self.assertEqual(len(told), 20 + 59 * 10 + 30)
        names = ("connection.refused", "internal.error", "certificate.refused")
        self.assertEqual([told.count(name) for name in names], [122, 183, 153])

    def test_who_it_was(self) -> None:
        """The prefixes that caused most are named, with their counts; IPv6 counts by its /64."""
        for number in range(50):
            peer = f"[2001:db8::{number:x}]:4000"
            self.events.emit("handshake.failed", cause=Cause.HANDSHAKE_FAILED, message="x", peer=peer)
        self.clock.advance(limits.STRANGERS_TOLD_SECONDS)
        (counted,) = self.counted()
        self.assertEqual((counted["network"], counted["count"]), ("2001:db8::/64", 40))

    def test_the_known_are_told(self) -> None:
        """A flood hides nothing of a client, a partner or a session, no ban, and no other event."""
        self.flood(1, 500)
        before = len(self.carried)
        self.events.emit("backend.call_refused", cause=Cause.API_VERSION, message="x", client="inner")
        self.events.emit("tunnel.up")
        self.events.emit("penalty.banned", network="192.0.2.1/32", seconds=60)
        told = [each["name"] for each in self.carried[before:]]
        self.assertEqual(told, ["backend.call_refused", "tunnel.up", "penalty.banned"])

    def test_who_shows_a_certificate(self) -> None:
        """A partner's certificate is public: whoever shows it can have no more written than any stranger."""
        for _ in range(500):
            self.show("ACME")
        self.assertEqual((len(self.written), len(self.carried)), (11, 11))
        self.clock.advance(limits.STRANGERS_TOLD_SECONDS)
        (counted,) = self.counted()
        facts = {"cause": "certificate.revocation_stale"}
        self.assertEqual((counted["network"], counted["count"], counted["facts"]), ("192.0.2.7/32", 489, facts))

    def test_shown_among_a_flood(self) -> None:
        """A flood of refusals hides no other refusal that names a partner."""
        for _ in range(500):
            self.show(None)
        before = len(self.carried)
        self.show(None)
        self.show("ACME")
        self.assertEqual([each.get("partner") for each in self.carried[before:]], ["ACME"])

    def test_shown_to_another_process(self) -> None:
        """Certificates that are shown to the workers count together, as strangers' events."""
        about = {"time": "2026-01-01T00:00:00Z", "source": "server", "sequence": 1}
        told = {"name": "certificate.refused", "cause": "certificate.expired", "message": "m", "partner": "ACME"}
        for _ in range(10):
            process = EventBudgets()
            for _ in range(100):
                self.events.relay(read({**about, **told, "peer": "192.0.2.7:4000"}), process)
        self.assertEqual(len(self.carried), 11)

    def test_details_in_the_log(self) -> None:
        """Events that only the log gets have a budget of their own: they take nothing from those that are carried."""
        for _ in range(500):
            self.events.emit("connection.accepted", peer="192.0.2.1:4000")
        self.assertEqual(len(self.written), 20)
        self.flood(1, 1)
        self.assertEqual(len(self.carried), 1)

    def test_bugs(self) -> None:
        """A bug that a stranger can provoke fills neither log nor store."""
        for _ in range(500):
            self.events.failure("smartproxy.somewhere", Failure(ValueError()))
        self.assertEqual((len(self.written), len(self.carried)), (6, 6))
        self.events.tell_counted()
        self.assertEqual([each["count"] for each in self.counted()], [494])

    def test_other_processes(self) -> None:
        """What another process of the daemon tells of bugs, and of whom it names, is within a budget of its own."""
        about = {"time": "2026-01-01T00:00:00Z", "source": "server", "sequence": 1}
        bug = {"name": "internal.error", "exception": "x", "frames": "z", "message": "m"}
        told = {
            "name": "connection.refused",
            "cause": "quota.x",
            "message": "m",
            "peer": "192.0.2.7:4000",
            "partner": "ACME",
        }
        first, second = EventBudgets(), EventBudgets()
        for number in range(1000):
            self.events.relay(read({**about, **bug, "place": f"y{number}"}), first)
            self.events.relay(read({**about, **told}), first)
        bugs = [each for each in self.carried if each["name"] == "internal.error"]
        self.assertEqual((len(bugs), len(self.carried) - len(bugs)), (6, 20))
        self.events.relay(read({**about, **bug, "place": "y"}), second)
        self.events.relay(read({**about, **told}), second)
        self.assertEqual(len(self.carried), 28)
        self.events.emit("internal.error", exception="x", place="ours", frames="z")
        self.assertEqual(len(self.carried), 29)

    def test_of_a_session(self) -> None:
        """What another process tells of sessions is all told, as what this one tells."""
        about = {"time": "2026-01-01T00:00:00Z", "source": "server", "sequence": 1, "session": "0" * 16}
        told, budgets = {"name": "session.ended", "outcome": "completed", "cause": "x.y"}, EventBudgets()
        for _ in range(100):
            self.events.relay(read({**about, **told}), budgets)
        self.assertEqual(len(self.carried), 100)

    def test_plain(self) -> None:
        """Where nobody finds out who calls, the events of sessions are strangers' events."""
        self.events.callers_unknown = True
        self.flood(1, 500, "session.failed", session="0" * 16)
        self.assertEqual(len(self.carried), 10)

    def test_rate_is_set(self) -> None:
        """A configuration says how many; the end of a daemon tells what is counted, and leaves no timer."""
        self.events.limit_strangers(100)
        self.flood(1, 500)
        self.assertEqual(len(self.carried), 100)
        self.flood(1, 500)
        self.assertEqual(len(self.carried), 100 + 50)
        self.events.tell_counted()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_memory(self) -> None:
        """The counts of a flood from anywhere are bounded, and the largest survive."""
        tally = Tally()
        for number in range(30_000):
            tally.add(Uncounted("a", "b", f"{number}"))
            tally.add(Uncounted("a", "b", "the one"))
            self.assertLessEqual(len(tally), limits.STRANGERS_COUNTS_MOST + 1)
        taken = dict(tally.take(20))
        self.assertEqual(taken[Uncounted("a", "b", "the one")], 30_000)
        self.assertEqual(sum(taken.values()), 60_000)
        self.assertEqual(len(tally), 0)


class Bugs(OnALog):
    """Reporting exceptions."""

    def test_a_bug_names_its_place_and_calls(self) -> None:
        """``failure`` writes and carries one ``internal.error`` with class, calls and session, without the message."""
        try:
            int("hunter2")
        except ValueError:
            self.events.failure("smartproxy.net.driver", Failure(), session="0" * 16)
        (record,) = self.records()
        self.assertEqual(Severity.CRITICAL, record.level)
        self.assertEqual("ValueError", record.fields["exception"])
        self.assertEqual("smartproxy.net.driver", record.fields["place"])
        self.assertEqual("0" * 16, record.fields["session"])
        self.assertIn("unit/test_events.py:", str(record.fields["frames"]))
        self.assertNotIn("hunter2", str(record.document()))
        self.assertEqual([record.document()], self.carried)

    def test_wrong_fields_do_not_hide_a_bug(self) -> None:
        """What is wrong in the call that reports a bug is dropped."""
        self.events.failure("here", Failure(OSError("no such file")), session=7, dataset="X")
        (record,) = self.records()
        self.assertEqual("no such file", record.fields["message"])
        self.assertEqual(set(), {"session", "dataset"} & record.fields.keys())


class Describing(SynchronousTestCase):
    """What is told about an exception."""

    def test_messages_that_may_quote_data_are_not_told(self) -> None:
        """The message of a ``ValueError`` or ``KeyError`` can hold octets of a peer: only the class is told."""
        for error in (
            ValueError("hunter2"),
            KeyError("hunter2"),
            UnicodeDecodeError("ascii", b"\xff", 0, 1, "hunter2"),
        ):
            self.assertIsNone(describe(Failure(error)).message)

    def test_harmless_messages_are_told(self) -> None:
        """The operating system's and the interpreter's own words are told."""
        self.assertEqual("no attribute", describe(Failure(AttributeError("no attribute"))).message)

    def test_names(self) -> None:
        """Classes are told with their module, built-in ones without."""
        self.assertEqual("OSError", describe(Failure(OSError())).exception)
        self.assertEqual("smartproxy.logs.event_types.CatalogueError", describe(Failure(CatalogueError("x"))).exception)

    def test_deep_calls_are_cut(self) -> None:
        """The innermost calls are told, the raising one first, and not more than a dozen."""

        def dive(depth: int) -> None:
            if depth == 0:
                raise OSError
            dive(depth - 1)

        try:
            dive(50)
        except OSError:
            told = describe(Failure())
        self.assertEqual(FRAMES_MOST, told.frames.count(" < ") + 1)
        self.assertRegex(told.frames, r"^unit/test_events\.py:\d+ dive < ")
