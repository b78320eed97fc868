"""What is written: exactly one harmless line for each entry, whatever is in it."""

import io
import json
import unicodedata
from datetime import UTC, datetime
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, LogPublisher, formatEvent
from twisted.logger._legacy import publishToNewObserver
from twisted.python.failure import Failure
from twisted.python.log import textFromEventDict
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smartproxy.logs.catalogue import EVENTS
from smartproxy.logs.emit import RECORD_KEY, Events
from smartproxy.logs.fields import SECRET_MASK, FieldKind, Value
from smartproxy.logs.observers import JsonObserver, TextObserver, Threshold
from smartproxy.logs.record import Record
from smartproxy.logs.render import ITEMS_MOST, OWN_MOST, PEER_MOST, clean, escape, line, shorten
from smartproxy.logs.severity import Severity

NASTY = "a\r\nb\x00\x1b[2J\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f\ufeff\ud800\u00ad{x} %s"


def harmless(text: str) -> bool:
    """Tell whether a text can be shown anywhere: no control, format, surrogate or separator character."""
    return all(unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text)


class Escaping(SynchronousTestCase):
    """Text made safe to show."""

    def test_what_acts_on_a_reader_is_spelled_out(self) -> None:
        """Controls, line separators, direction marks and invisible characters become their code points."""
        self.assertEqual(
            r"a\r\nb\x00\x1b[2J\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f\ufeff\ud800\xad{x} %s", escape(NASTY)
        )

    def test_other_text_stays(self) -> None:
        """Letters of any language, and backslashes, stay what they are."""
        for text in ("Müller", "CN=A\\, B", "日本", "O0013000001ACME"):
            self.assertEqual(text, escape(text))

    def test_long_text_is_cut(self) -> None:
        """A text of 128 characters is shown whole, a longer one cut to 128 with a mark."""
        self.assertEqual("x" * 128, escape("x" * 128))
        self.assertEqual("x" * 127 + "…", escape("x" * 129))

    @given(st.text(alphabet=st.characters()))
    def test_any_text(self, text: str) -> None:
        """Whatever the text, the result is harmless, and escaping it again changes only its length."""
        once = escape(text)
        self.assertTrue(harmless(once), repr(once))
        self.assertEqual(once, escape(once, len(once)))

    def test_every_dangerous_character(self) -> None:
        """No character of the basic plane that acts on a reader passes."""
        for number in range(0x10000):
            self.assertTrue(harmless(escape(chr(number))), hex(number))

    def test_kinds_have_their_lengths(self) -> None:
        """Text from outside is cut at 128, our own later; lists and facts have a most, too."""
        cleaned = clean(
            {
                "code": "x" * 5000,
                "message": "x" * 5000,
                "codes": ["x" * 5000] * 100,
                "facts": {f"{number}": "x" * 5000 for number in range(100)},
                "offset": 10**30,
            }
        )
        self.assertEqual(PEER_MOST, len(str(cleaned["code"])))
        self.assertEqual(OWN_MOST, len(str(cleaned["message"])))
        self.assertEqual(["x" * (PEER_MOST - 1) + "…"] * ITEMS_MOST, cleaned["codes"])
        facts = cleaned["facts"]
        assert isinstance(facts, dict)
        self.assertEqual(ITEMS_MOST, len(facts))
        self.assertEqual({"x" * (PEER_MOST - 1) + "…"}, set(facts.values()))

    def test_secrets_among_facts_are_masked(self) -> None:
        """Passwords, tokens and challenge responses are masked even if whoever emitted them forgot to."""
        cleaned = clean({"fields": {"code": "A", "pswd": "hunter2", "rsp": "hunter2", "token": None, "cr": 1}})
        self.assertEqual(
            {"code": "A", "pswd": SECRET_MASK, "rsp": SECRET_MASK, "token": None, "cr": 1}, cleaned["fields"]
        )


class Lines(SynchronousTestCase):
    """``name key=value``."""

    def test_values(self) -> None:
        """Plain words stand as they are; blanks, quotes, equals signs and backslashes are put in quotes."""
        fields: dict[str, Value] = {
            "cause": "expired",
            "advice": 'say "yes"',
            "subject": "CN=A\\, B",
            "detail": "",
            "offset": 3,
            "restart": True,
            "compression": False,
            "codes": ["A", "B"],
            "facts": {"a": 1, "b": None, "c": "x y"},
        }
        self.assertEqual(
            r'e cause=expired advice="say \"yes\"" subject="CN=A\\, B" detail="" offset=3 restart=yes'
            r' compression=no codes=A,B facts="a=1 b=- c=\"x y\""',
            line("e", fields),
        )

    def test_release_levels_as_people_type_them(self) -> None:
        """A release level is written as 1.4 or 2.0, the record keeps the number; another number stays as it is."""
        agreed: dict[str, str | int | float | bool | None] = {"level": 4, "credit": 5}
        fields: dict[str, Value] = {"release_level": 5, "answer": 5, "agreed": agreed}
        self.assertEqual(line("x", fields), 'x release_level=2.0 answer=5 agreed="level=1.4 credit=5"')
        self.assertEqual(shorten("x", fields, 160), 'x release_level=2.0 answer=5 agreed="level=1.4 credit=5"')
        self.assertEqual(line("x", {"release_level": 3}), "x release_level=3")
        self.assertEqual(clean(fields), fields)

    def test_message_and_cause_come_first(self) -> None:
        """People read the sentence first, always in quotes, then the code, wherever they stand among the fields."""
        fields: dict[str, Value] = {"peer": "192.0.2.7:1", "cause": "tunnel.none", "message": "No client", "port": 1}
        self.assertEqual('e "No client" cause=tunnel.none peer=192.0.2.7:1 port=1', line("e", fields))
        self.assertEqual(r'e "lost" a=1', line("e", {"a": 1, "message": "lost"}))
        self.assertEqual(r'e "\\\" peer=1"', line("e", {"message": '\\" peer=1'}))

    def test_a_value_cannot_end_its_quotes(self) -> None:
        """A value that ends in a backslash, or holds a quote, cannot make a field that was not emitted."""
        self.assertEqual(r'e code="a\\\" role=admin"', line("e", {"code": 'a\\" role=admin'}))


class Writing(SynchronousTestCase):
    """The observers."""

    def setUp(self) -> None:
        """Log to a text and a JSON observer."""
        self.text = io.StringIO()
        self.json = io.StringIO()
        self.log = Logger(
            namespace="twisted.web", observer=LogPublisher(TextObserver(self.text), JsonObserver(self.json))
        )

    def emit(self, name: str, fields: dict[str, Value]) -> None:
        """Write a record of a fixed moment."""
        record = Record(name, datetime(2026, 11, 20, 10, tzinfo=UTC), "server", 1, fields)
        self.log.emit(record.level.twisted, "{smartproxy_record}", **{RECORD_KEY: record})

    def only_line(self) -> str:
        """The one line of text."""
        self.assertEqual(1, self.text.getvalue().count("\n"))
        return self.text.getvalue().removesuffix("\n")

    def only_document(self) -> dict[str, object]:
        """The one JSON object."""
        self.assertEqual(1, self.json.getvalue().count("\n"))
        document = json.loads(self.json.getvalue())
        assert isinstance(document, dict)
        return document

    def test_they_are_observers(self) -> None:
        """Both, and the threshold, are observers for twisted.logger."""
        for observer in (TextObserver(self.text), JsonObserver(self.json)):
            verifyObject(ILogObserver, observer)
            verifyObject(ILogObserver, Threshold(Severity.INFO, observer))

    def test_records(self) -> None:
        """A record is written with its own time, its level and its fields."""
        self.emit("identity.accepted", {"partner": "ACME", "code": "O0013 A"})
        self.assertEqual(
            '2026-11-20T10:00:00.000Z INFO     identity.accepted partner=ACME code="O0013 A"', self.only_line()
        )
        self.assertEqual(
            {
                "time": "2026-11-20T10:00:00.000Z",
                "level": "info",
                "name": "identity.accepted",
                "source": "server",
                "sequence": 1,
                "partner": "ACME",
                "code": "O0013 A",
            },
            self.only_document(),
        )

    def test_twisted_s_own_words(self) -> None:
        """Entries of Twisted and other libraries are written with their namespace, escaped alike."""
        self.log.info("peer said {words}", words=NASTY)
        self.assertRegex(
            self.only_line(), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z DEBUG    \[twisted\.web\] peer said a"
        )
        self.assertTrue(self.only_line().endswith(f"peer said {escape(NASTY)}"))
        document = self.only_document()
        self.assertEqual(("log", "twisted.web"), (document["name"], document["namespace"]))
        self.assertEqual(f"peer said {escape(NASTY)}", document["message"])

    def test_failures_of_others(self) -> None:
        """A failure that Twisted caught is one line with class and calls, without a message that may quote data."""
        try:
            int("hunter2")
        except ValueError:
            self.log.failure("Unhandled Error")
        line = self.only_line()
        self.assertIn("CRITICAL [twisted.web] Unhandled Error failure exception=ValueError frames=", line)
        self.assertIn("unit/test_observers.py:", line)
        self.assertEqual("ValueError", self.only_document()["exception"])
        self.assertNotIn("hunter2", self.text.getvalue() + self.json.getvalue())

    def test_failures_of_legacy_logging(self) -> None:
        """What ``twisted.python.log.err`` reports is told like any failure; its text, a whole traceback, is not."""
        try:
            int("hunter2")
        except ValueError:
            failure = Failure()
        entry: LogEvent = {"isError": 1, "failure": failure, "why": None, "message": ()}
        entry |= {"time": 0.0, "system": "-"}
        publishToNewObserver(self.log.observer, entry, textFromEventDict)
        self.assertIn("[log_legacy] Unhandled Error failure exception=ValueError frames=", self.only_line())
        self.assertNotIn("hunter2", self.text.getvalue() + self.json.getvalue())

    def test_entries_without_anything(self) -> None:
        """An entry without time, level or namespace is still one line."""
        TextObserver(self.text)({})
        JsonObserver(self.json)({})
        self.assertEqual("1970-01-01T00:00:00.000Z DEBUG    [-] ", self.only_line())
        self.assertEqual("log", self.only_document()["name"])

    def test_a_log_of_streams_is_flushed(self) -> None:
        """A line is handed on in one piece and flushed before the observer returns."""
        calls: list[str] = []

        class Stream:
            def write(self, text: str, /) -> None:
                calls.append(text)

            def flush(self) -> None:
                calls.append("flush")

        TextObserver(Stream())({})
        self.assertEqual(["1970-01-01T00:00:00.000Z DEBUG    [-] \n", "flush"], calls)

    @given(st.sampled_from(sorted(EVENTS)), st.text(alphabet=st.characters()))
    def test_fuzzed_fields(self, name: str, text: str) -> None:
        """Any event whose every field holds any text is exactly one harmless ASCII or UTF-8 line in both forms."""
        values: dict[FieldKind, object] = {
            FieldKind.CODE: "a.code",
            FieldKind.NUMBER: 1,
            FieldKind.SECONDS: 1.0,
            FieldKind.FLAG: True,
            FieldKind.TIME: "9998-12-31T23:59:59Z",
            FieldKind.TEXTS: [text, text],
            FieldKind.FACTS: {text: text},
        }
        event = EVENTS[name]
        free = {field.name: values.get(field.kind, text) for field in event.fields.values() if field.longest is None}
        named = {field.name: "a name" for field in event.fields.values() if field.longest is not None}
        fields = event.check({**free, **named})
        self.setUp()
        self.emit(name, fields)
        self.assertTrue(harmless(self.only_line()))
        self.only_line().encode()
        self.assertEqual(name, self.only_document()["name"])
        self.assertTrue(harmless(self.json.getvalue().rstrip("\n")))
        self.json.getvalue().encode("ascii")

    def test_emitted_events_arrive(self) -> None:
        """From ``emit`` to the line nothing else is needed."""
        Events(self.log, None, Clock(), source="client").emit("station.unreachable", cause="refused", port=3305)
        self.assertEqual(
            "1970-01-01T00:00:00.000Z ERROR    station.unreachable cause=refused port=3305", self.only_line()
        )


class Thresholds(SynchronousTestCase):
    """Which entries are written."""

    def names(self, severity: Severity) -> list[str]:
        """Log one entry of each level, Twisted's and ours, and tell which passed."""
        passed: list[str] = []
        threshold = Threshold(severity, cast(ILogObserver, lambda event: passed.append(event["word"])))
        log = Logger(observer=threshold)
        for level in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.critical):
            log.emit(level, "x", word=level.name)
        moment = datetime(2026, 11, 20, tzinfo=UTC)
        for name in ("session.command", "session.anomaly", "tunnel.up", "tunnel.violation"):
            record = Record(name, moment, "server", 1, {})
            log.emit(record.level.twisted, "x", word=name, **{RECORD_KEY: record})
        return passed

    def test_trace_is_below_debug(self) -> None:
        """At DEBUG everything but TRACE is written, although Twisted knows no TRACE."""
        debug = ["debug", "info", "warn", "critical", "session.anomaly", "tunnel.up", "tunnel.violation"]
        self.assertEqual(sorted([*debug, "session.command"]), sorted(self.names(Severity.TRACE)))
        self.assertEqual(debug, self.names(Severity.DEBUG))

    def test_higher_levels(self) -> None:
        """At INFO debug entries and Twisted's own information are left out; at FATAL all but the gravest."""
        self.assertEqual(["warn", "critical", "tunnel.up", "tunnel.violation"], self.names(Severity.INFO))
        self.assertEqual(["critical", "tunnel.violation"], self.names(Severity.FATAL))

    def test_the_level_can_be_changed(self) -> None:
        """A change takes effect with the next entry."""
        stream = io.StringIO()
        threshold = Threshold(Severity.ERROR, TextObserver(stream))
        log = Logger(namespace="x", observer=threshold)
        log.warn("one")
        threshold.severity = Severity.WARNING
        log.warn("two")
        self.assertEqual(1, stream.getvalue().count("\n"))
        self.assertIn("two", stream.getvalue())


class Leaks(SynchronousTestCase):
    """What a standard observer shows of our entries."""

    def test_a_record_is_safe_in_any_observer(self) -> None:
        """Twisted's own text of a record entry is the escaped one."""
        entries: list[LogEvent] = []
        record = Record("identity.accepted", datetime(2026, 11, 20, tzinfo=UTC), "server", 1, {"code": NASTY})
        Logger(observer=cast(ILogObserver, entries.append)).emit(
            LogLevel.info, "{smartproxy_record}", **{RECORD_KEY: record}
        )
        self.assertTrue(harmless(formatEvent(entries[0])))

    def test_failures_can_be_described_more_than_once(self) -> None:
        """Writing a failure in two forms does not use it up."""
        failure = Failure(OSError("gone"))
        text, documents = io.StringIO(), io.StringIO()
        log = Logger(observer=LogPublisher(TextObserver(text), JsonObserver(documents)))
        log.failure("x", failure)
        self.assertIn("gone", text.getvalue())
        self.assertEqual("gone", json.loads(documents.getvalue())["detail"])
