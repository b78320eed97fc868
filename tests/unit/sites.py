"""A site in a folder of its own, for tests of the backend and of the operator's command."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import authority, settings
from smartproxy.backend.change import Change
from smartproxy.backend.generations import changing
from smartproxy.backend.journal import Filter, StoredEvent, find
from smartproxy.backend.location import Location
from smartproxy.backend.schema import Base
from smartproxy.backend.store import Store
from tests.databases import Database, OnBothDatabases

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
PROXY_ID = "0123456789abcdef" * 4 + "px"
PIN = "ab" * 32


class SiteCase(OnBothDatabases, SynchronousTestCase):
    """A test with a site: ``self.store``, whose authority is made unless ``founded`` is false."""

    founded = True

    def setUp(self) -> None:
        """Make the store, and the authority."""
        super().setUp()
        self.folder = Path(self.mktemp())
        self.location = Location.of(str(self.folder), self.new_database(self.folder), {})
        self.store = Store.open(self.location, make=True)
        self.addCleanup(self.store.close)
        if self.founded:
            with self.change("authority create") as change:
                authority.create(change, "Muster GmbH", ["backend.example"])
                settings.put(change, settings.LISTENERS, settings.FIRST_LISTENERS)

    @contextlib.contextmanager
    def change(self, what: str = "test", now: datetime = NOW) -> Iterator[Change]:
        """A change by an operator named alice."""
        with changing(self.store, by="alice", what=what, now=now) as change:
            yield change

    def held(self) -> bytes:
        """All that the store holds: the octets of its files, or what its tables say."""
        if self.database is Database.SQLITE:
            self.store.close()
            return b"".join(file.read_bytes() for file in self.folder.iterdir())
        with self.store.reading() as session:
            tables = [table.name for table in Base.metadata.sorted_tables]
            return b"".join(
                str(row).encode() for name in tables for row in session.execute(text(f'SELECT * FROM "{name}"'))
            )

    def stored(self, name: str | None = None) -> list[StoredEvent]:
        """The events in the store."""
        with self.store.reading() as session:
            return list(find(session, Filter(name=name)))
