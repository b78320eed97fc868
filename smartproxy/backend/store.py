"""The store: one database with the configuration, the keys, the licences and the events of a site.

Opens it, brings its tables up to date, and hands out transactions. Every call here may block, so the daemon makes them
in threads (:mod:`smartproxy.backend.threads`); the ``smartproxy`` command makes them directly.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from smartproxy.backend import sqlite
from smartproxy.backend.errors import StoreUnavailable
from smartproxy.backend.location import Location
from smartproxy.backend.schema import REVISION


@attrs.frozen(kw_only=True)
class Store:
    """An open store. :meth:`reading` and :meth:`writing` each give a transaction of their own."""

    location: Location
    engine: Engine

    @classmethod
    def open(cls, location: Location, *, make: bool = False) -> "Store":
        """Open the store, and make its tables or bring them up to date where that is needed.

        :param make: make directory and file if they are not there.
        :raises StoreUnavailable: saying why, and what to do.
        """
        if make:
            location.make()
        location.check()
        try:
            engine = create_engine(location.url)
        except (ArgumentError, ImportError, NoSuchModuleError) as error:
            raise StoreUnavailable(f"cannot use the database {location.url.split(':')[0]}: {error}") from error
        sqlite.prepare(engine)
        store = cls(location=location, engine=engine)
        try:
            store._bring_up_to_date()
        except DBAPIError as error:
            engine.dispose()
            raise StoreUnavailable(f"cannot open the store: {error.orig}") from error
        except BaseException:
            engine.dispose()
            raise
        return store

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees one state of the store and changes nothing."""
        with Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is kept as a whole when the block ends, and not at all when it raises."""
        with (
            self._writing_connection() as connection,
            connection.begin(),
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session
            session.commit()

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def _writing_connection(self) -> Connection:
        return self.engine.connect().execution_options(**{sqlite.WRITES: True})

    def _bring_up_to_date(self) -> None:
        with self.engine.connect() as connection:
            found = _revision(connection)
        if found == REVISION:
            return
        with self._writing_connection() as connection, connection.begin():
            # Alembic takes longer to import than most commands take to run.
            from smartproxy.backend.migrations import upgrade

            upgrade(connection, _revision(connection))


def _revision(connection: Connection) -> str | None:
    """The migration that the tables stand at; nothing for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
