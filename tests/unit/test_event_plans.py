"""Lists of events are answered from an index, in its order: a million events take no longer than a thousand."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from smartproxy.backend import journal
from smartproxy.backend.journal import Filter
from smartproxy.logs.severity import Severity
from tests.databases import Database
from tests.unit.sites import NOW, SiteCase

MOST = 100


class EventPlans(SiteCase):
    """What SQLite says of the statements that look for events; it keeps no statistics that could choose otherwise."""

    founded = False
    both = False
    database = Database.SQLITE

    def plan(self, work: Callable[[Session], object]) -> list[str]:
        """The steps of all statements that some work executes."""
        steps: list[str] = []

        def explain(connection: Connection, cursor: Any, statement: str, parameters: Any, *rest: object) -> None:
            if "FROM events" in statement:
                cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps.extend(row[-1] for row in cursor.fetchall())

        with self.store.reading() as session:
            sqlalchemy.event.listen(self.store.engine, "before_cursor_execute", explain)
            try:
                work(session)
            finally:
                sqlalchemy.event.remove(self.store.engine, "before_cursor_execute", explain)
        return steps

    def test_lists(self) -> None:
        """Each filter of a list has its index, which gives the newest first; only what was found is sorted again."""
        day = NOW - timedelta(days=1)
        with self.store.writing() as session:
            journal.keep(session, [journal.record_of("settings.changed", NOW, 1, names=["x"])], NOW)
        for index, wanted in (
            ("ix_events_time", Filter()),
            ("ix_events_name_time", Filter(name="session.ended")),
            ("ix_events_name_time", Filter(name="licence.")),
            ("ix_events_name_time", Filter(name="nothing.")),
            ("ix_events_pressing_time", Filter(level=Severity.WARNING)),
            ("ix_events_pressing_time", Filter(level=Severity.ERROR, name="session.")),
            ("ix_events_inside_time", Filter(source="command")),
            ("ix_events_partner_time", Filter(partner="ACME")),
            ("ix_events_name_time", Filter(name="session.ended", since=day)),
            ("ix_events_time", Filter(until=day)),
            ("ix_events_time", Filter(since=day, level=Severity.INFO, source="server")),
            ("ix_events_time", Filter(since=day, before=1)),
            ("ix_events_partner_time", Filter(partner="ACME", name="session.ended")),
            ("ix_events_partner_time", Filter(partner="ACME", name="session.", before=1)),
            ("ix_events_time", Filter(before=1)),
            ("ix_events_partner_time", Filter(partner="ACME", before=1)),
        ):
            with self.subTest(wanted=wanted):
                steps = self.plan(lambda session, wanted=wanted: journal.find(session, wanted, MOST))  # type: ignore[misc]  # bound now
                self.assertTrue(any(index in each for each in steps), steps)
                in_parts = any("UNION ALL" in each or "COMPOUND" in each for each in steps)
                self.assertTrue(in_parts or not any("TEMP B-TREE" in each for each in steps), steps)
                self.assertNotIn("SCAN events", steps)

    def test_session(self) -> None:
        """The events of one session, which are few, are found by its index and sorted."""
        steps = self.plan(lambda session: journal.find(session, Filter(session="a" * 16), MOST))
        self.assertTrue(any("ix_events_session" in each for each in steps), steps)

    def test_by_cursor(self) -> None:
        """What arrived after a cursor is found by indexes in the order of arrival."""
        for index, wanted in (
            ("ix_events_name_id", Filter(name="session.", after=3)),
            ("ix_events_pressing_id", Filter(level=Severity.ERROR, after=3)),
            ("ix_events_inside_id", Filter(source="command", after=3)),
            ("ix_events_partner_id", Filter(partner="ACME", after=3)),
            ("PRIMARY KEY", Filter(after=3)),
        ):
            with self.subTest(wanted=wanted):
                steps = self.plan(lambda session, wanted=wanted: journal.find(session, wanted, first=MOST))  # type: ignore[misc]  # bound now
                self.assertTrue(any(index in each for each in steps), steps)
                self.assertNotIn("SCAN events", steps)

    def test_refusals(self) -> None:
        """Refusals and early ends are found by an index of them alone, past any number of sessions that ended well."""
        for work in (
            lambda session: journal.newest_since(session, "session.ended", NOW, MOST, telling=True),
            lambda session: journal.newest_telling(session, "192.0.2.7"),
            lambda session: journal.newest_telling(session, "ACME"),
        ):
            steps = self.plan(work)
            self.assertTrue(any("ix_events_telling" in each for each in steps), steps)
            self.assertNotIn("SCAN events", steps)

    def test_newest(self) -> None:
        """The last event of a name is the first that an index by time has; nothing is sorted."""
        for partner, index in ((None, "ix_events_name_time"), ("ACME", "ix_events_partner_time")):
            steps = self.plan(lambda session, partner=partner: journal.newest(session, "session.started", partner))  # type: ignore[misc]  # bound now
            self.assertTrue(any(index in each for each in steps), steps)
            self.assertFalse(any("TEMP B-TREE" in each for each in steps), steps)
