"""What is logged: for everything, a category, a session, a partner, changed while it runs."""

from typing import cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.catalogue import EVENTS
from smartproxy.logs.emit import RECORD_KEY, Events
from smartproxy.logs.fields import Value
from smartproxy.logs.levels import CATEGORIES, PARTICULAR_MOST, Levels
from smartproxy.logs.observers import Categories, Selection
from smartproxy.logs.record import Record
from smartproxy.logs.severity import Severity
from smartproxy.policy.causes import Cause

COMMAND, ANOMALY, ENDED = "session.command", "session.anomaly", "session.ended"


class Setting(SynchronousTestCase):
    """One object knows all levels."""

    def wanted(self, levels: Levels, **who: str) -> list[str]:
        """Those of three events of rising level, and a file's, that are logged."""
        names = (COMMAND, ANOMALY, ENDED, "file.started")
        return [name for name in names if levels.wants(name, EVENTS[name].level, **who)]

    def test_usual(self) -> None:
        """INFO and above."""
        self.assertEqual(self.wanted(Levels()), [ENDED, "file.started"])

    def test_categories(self) -> None:
        """The subject goes before the heading, and the heading before everything."""
        levels = Levels({"*": Severity.FATAL, "sessions": Severity.DEBUG})
        self.assertEqual(self.wanted(levels), [ANOMALY, ENDED])
        levels.set(Severity.TRACE, category="session")
        self.assertEqual(self.wanted(levels), [COMMAND, ANOMALY, ENDED])
        self.assertEqual(levels.set(None, category="session"), Severity.FATAL)
        self.assertEqual(self.wanted(levels), [ANOMALY, ENDED])
        self.assertEqual(levels.set(None, category="sessions"), Severity.DEBUG)

    def test_everything(self) -> None:
        """A level for everything takes the place of all others; going back brings the configured ones."""
        levels = Levels({"session": Severity.ERROR})
        levels.set(Severity.TRACE, session="one")
        levels.set(Severity.DEBUG)
        self.assertEqual(self.wanted(levels, session="one"), [ANOMALY, ENDED, "file.started"])
        self.assertEqual(levels.described(), {"*": "debug"})
        levels.set(None)
        self.assertEqual(levels.described(), {"*": "info", "session": "error"})

    def test_one_session_or_partner(self) -> None:
        """One session is traced and all others stay; the session goes before its partner."""
        levels = Levels()
        levels.set(Severity.TRACE, partner="ACME")
        self.assertIn(COMMAND, self.wanted(levels, session="one", partner="ACME"))
        self.assertNotIn(COMMAND, self.wanted(levels, session="one", partner="OTHER"))
        levels.set(Severity.ERROR, session="one")
        self.assertEqual(self.wanted(levels, session="one", partner="ACME"), [])
        self.assertIn(COMMAND, self.wanted(levels, session="two", partner="ACME"))
        self.assertEqual(levels.described(), {"*": "info", "session one": "error", "partner ACME": "trace"})
        levels.set(None, session="one")
        self.assertIn(COMMAND, self.wanted(levels, session="one", partner="ACME"))
        levels.set(None, partner="ACME")
        self.assertNotIn(COMMAND, self.wanted(levels, session="one", partner="ACME"))

    def test_foreign_words(self) -> None:
        """Twisted's own words are a category, too."""
        levels = Levels({"log": Severity.DEBUG})
        self.assertTrue(levels.wants("log", Severity.DEBUG))
        self.assertFalse(levels.wants(ANOMALY, Severity.DEBUG))

    def test_wrong_uses(self) -> None:
        """A category that does not exist, and two things at once, change nothing."""
        levels = Levels()
        self.assertRaises(ValueError, levels.set, Severity.TRACE, category="sessiom")
        self.assertRaises(ValueError, levels.set, Severity.TRACE, session="a", partner="b")
        self.assertEqual(levels.described(), {"*": "info"})

    def test_bounded(self) -> None:
        """Levels of sessions that ended long ago do not pile up."""
        levels = Levels()
        for number in range(PARTICULAR_MOST + 5):
            levels.set(Severity.TRACE, session=str(number))
        self.assertEqual(len(levels.described()), PARTICULAR_MOST + 1)
        self.assertFalse(levels.wants(COMMAND, Severity.TRACE, session="4"))
        self.assertTrue(levels.wants(COMMAND, Severity.TRACE, session="5"))

    def test_of_another_process(self) -> None:
        """What another process of the daemon logs is logged here, down to the same lowest level, and no more after."""
        theirs, ours = Levels(), Levels()
        theirs.set(Severity.TRACE, session="a1")
        theirs.set(Severity.ERROR, category="tunnel")
        ours.adopt(theirs.described())
        self.assertEqual(ours.described(), theirs.described())
        self.assertIs(ours.lowest, Severity.TRACE)
        self.assertTrue(ours.wants(COMMAND, Severity.TRACE, "a1", None))
        self.assertFalse(ours.wants(COMMAND, Severity.TRACE, "b2", None))
        theirs.forget("a1")
        ours.adopt(theirs.described())
        self.assertIs(ours.lowest, Severity.INFO)

    def test_lowest(self) -> None:
        """Below one level nothing is logged: the lowest of all that were named, while that counts."""
        levels = Levels({"tunnel": Severity.WARNING})
        self.assertIs(levels.lowest, Severity.INFO)
        levels.set(Severity.TRACE, session="1")
        levels.set(Severity.DEBUG, partner="ACME")
        self.assertIs(levels.lowest, Severity.TRACE)
        levels.forget("1")
        self.assertIs(levels.lowest, Severity.DEBUG)
        levels.set(Severity.ERROR)
        self.assertIs(levels.lowest, Severity.ERROR)
        levels.set(None)
        self.assertIs(levels.lowest, Severity.INFO)

    def test_levels_of_another_process(self) -> None:
        """Levels that adopt what others tell of themselves log the same, whatever they logged before."""
        told = Levels({"*": Severity.FATAL, "sessions": Severity.DEBUG})
        told.set(Severity.TRACE, session="a1")
        told.set(Severity.ERROR, partner="ACME")
        levels = Levels()
        levels.set(Severity.TRACE, session="old")
        levels.adopt(told.described())
        self.assertEqual(levels.described(), told.described())
        for who in ({}, {"session": "a1"}, {"session": "old"}, {"partner": "ACME"}):
            self.assertEqual(self.wanted(levels, **who), self.wanted(told, **who))
        self.assertEqual(levels.lowest, Severity.TRACE)

    def test_categories_of_the_catalogue(self) -> None:
        """Every subject and every heading is one."""
        self.assertLessEqual({"*", "log", "session", "sessions", "tunnel", "faults-of-the-program"}, CATEGORIES)


class Changing(SynchronousTestCase):
    """A change is told."""

    def setUp(self) -> None:
        """Log through a selection."""
        self.levels = Levels()
        self.names: list[tuple[str, str]] = []
        self.carried: list[dict[str, Value]] = []
        self.events = Events(
            Logger(observer=Selection(self.levels, cast(ILogObserver, self.note))), self.carried.append, Clock()
        )
        self.events.levels = self.levels

    def note(self, event: dict[str, object]) -> None:
        """Remember what passed."""
        record = event.get(RECORD_KEY)
        self.names.append((record.name, record.level.label) if isinstance(record, Record) else ("log", ""))

    def test_at_the_new_level(self) -> None:
        """Whatever the new level is, its change is logged, at that level, and carried to the backend."""
        for severity in Severity:
            self.events.set_level(severity, cause=Cause.OPERATOR_COMMAND, message="test")
        self.assertEqual(self.names, [("level.changed", severity.label) for severity in Severity])
        self.assertEqual(len(self.carried), len(Severity))

    def test_for_one_category(self) -> None:
        """A change that makes one category talk passes the silence of all others."""
        self.events.set_level(Severity.FATAL, cause=Cause.OPERATOR_COMMAND, message="test")
        self.events.set_level(Severity.TRACE, cause=Cause.OPERATOR_COMMAND, message="test", category="session")
        self.assertEqual(self.names[1:], [("level.changed", "trace")])

    def test_for_one_session(self) -> None:
        """What it is about stands in the record, which passes though everything else is at FATAL."""
        self.events.set_level(Severity.FATAL, cause=Cause.OPERATOR_COMMAND, message="test")
        self.events.set_level(Severity.TRACE, cause=Cause.OPERATOR_COMMAND, message="test", session="0123456789abcdef")
        self.assertEqual(self.names[1], ("level.changed", "trace"))
        self.assertEqual(self.carried[1]["session"], "0123456789abcdef")
        for session in ("0123456789abcdef", "f" * 16):
            self.events.emit(COMMAND, command="CD", sender="initiator", session=session)
        self.assertEqual(self.names[2:], [(COMMAND, "trace")])

    def test_back_to_what_was_configured(self) -> None:
        """The level that holds again is told."""
        self.events.set_level(Severity.TRACE, cause=Cause.OPERATOR_COMMAND, message="test", category="session")
        self.events.set_level(None, cause=Cause.OPERATOR_COMMAND, message="test", category="session")
        self.assertEqual([event["mode"] for event in self.carried], ["trace", "info"])
        self.assertEqual(self.carried[1]["category"], "session")

    def test_what_nobody_wants_costs_nothing(self) -> None:
        """An event that is neither logged nor carried is not even judged; one that is carried is, always."""
        self.events.emit(COMMAND, nonsense=1)
        self.assertEqual(self.names, [])
        self.levels.set(Severity.FATAL)
        self.events.emit("tunnel.down", cause="x")
        self.assertEqual((self.names, len(self.carried)), ([], 1))
        self.assertFalse(self.events.wants(COMMAND))
        self.assertTrue(self.events.wants("internal.error"))

    def test_a_selection_takes_foreign_words(self) -> None:
        """By the category ``log``."""
        log = Logger(observer=Selection(self.levels, cast(ILogObserver, self.note)))
        log.info("x")
        log.warn("x")
        self.assertEqual(self.names, [("log", "")])

    def test_an_appender_s_own_categories(self) -> None:
        """By subject, by heading, or all."""
        passed: list[list[str]] = []
        for categories in ("session", "sessions", "log", "*", "tunnel"):
            self.names = []
            log = Logger(observer=Categories(frozenset({categories}), cast(ILogObserver, self.note)))
            Events(log, None, Clock()).emit(ENDED, outcome="completed")
            log.info("x")
            passed.append([name for name, _ in self.names])
        self.assertEqual(passed, [[ENDED], [ENDED], ["log"], [ENDED, "log"], []])
