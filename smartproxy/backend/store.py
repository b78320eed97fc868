"""The store: one database with the configuration, the keys, the licences and the events of a site.

Opens it, brings its tables up to date, and hands out transactions. Every call here may block, so the daemon makes them
in :class:`StoreThreads`; the ``smartproxy`` command makes them directly. What SQLite needs to be told stands here too:
write-ahead log, foreign keys, patience, and transactions that take the write lock at once. Other databases need none
of it.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, Protocol, TypeVar

import attrs
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from smartproxy._version import __version__
from smartproxy.backend.errors import StoreBusy, StoreUnavailable
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
        except NoSuchModuleError as error:
            raise StoreUnavailable(f"cannot use the database: there is no kind {_kind(location.url)!r}") from error
        except ArgumentError as error:
            raise StoreUnavailable(
                "cannot use the database: its URL cannot be read; it looks like sqlite:////var/lib/smartproxy/smartproxy.db"
            ) from error
        except ImportError as error:
            raise StoreUnavailable(
                f"cannot use the database: {_kind(location.url)!r} needs {error.name}, which is not installed here"
            ) from error
        _prepare(engine)
        store = cls(location=location, engine=engine)
        try:
            with _busy():
                store._bring_up_to_date()
        except DBAPIError as error:
            engine.dispose()
            raise StoreUnavailable(
                f"cannot open the store {location.file or _kind(location.url)}: {error.orig}; "
                "name the right one, or restore it from a backup"
            ) from error
        except BaseException:
            engine.dispose()
            raise
        return store

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees one state of the store and changes nothing.

        :raises StoreBusy: when another program keeps the store locked.
        :raises StoreUnavailable: when a program of another version brought it up to date meanwhile.
        """
        with _busy(), Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            _check_revision(session.connection())
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is kept as a whole when the block ends, and not at all when it raises.

        :raises StoreBusy: when another program keeps the store locked for longer than :data:`BUSY_MILLISECONDS`.
        :raises StoreUnavailable: as :meth:`reading` does.
        """
        with (
            _busy(),
            self._writing_connection() as connection,
            connection.begin(),
            Session(connection, expire_on_commit=False) as session,
        ):
            _check_revision(connection)
            yield session
            session.commit()

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def _writing_connection(self) -> Connection:
        return self.engine.connect().execution_options(**{WRITES: True})

    def _bring_up_to_date(self) -> None:
        with self.engine.connect() as connection:
            found = _revision(connection)
        if found == REVISION:
            return
        with self._writing_connection() as connection, connection.begin():
            # Alembic takes longer to import than most commands take to run.
            from smartproxy.backend.migrations import upgrade

            upgrade(connection, _revision(connection))


@contextmanager
def _busy() -> Iterator[None]:
    """Tell a store that another program keeps locked from one that is broken.

    :raises StoreBusy: for the first.
    """
    try:
        yield
    except OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusy from error
        raise


def _check_revision(connection: Connection) -> None:
    """See that the tables are still those of this version.

    :raises StoreUnavailable: when they are not, saying which part to restart.
    """
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found != REVISION:
        raise StoreUnavailable(
            f"the store was brought up to date by another version of SmartProxy (its tables are at {found}, this "
            f"{__version__} knows {REVISION}); restart smartproxy-backend with that version"
        )


def _revision(connection: Connection) -> str | None:
    """The migration that the tables stand at; nothing for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


BUSY_MILLISECONDS = 10_000
"""How long one process waits for another's write."""

_PRIMARY_CODE = 0xFF
"""The bits of SQLite's error code that say what happened, without the details."""

WRITES = "smartproxy_writes"
"""Execution option of a connection whose transaction will write: it takes the write lock at once."""


def _prepare(engine: Engine) -> None:
    """Set up every connection of an engine; nothing happens for other databases."""
    if engine.dialect.name != "sqlite":
        return
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)


def _set_up(connection: Any, record: object) -> None:
    # The sqlite3 module would begin transactions by itself, and too late; _begin does it instead.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another wrote between; the lock first waits.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


THREADS_MOST = 4
"""SQLite lets one write at a time and calls are short: more threads would only wait for each other."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Runner(Protocol):
    """What runs blocking work without holding the reactor; in tests, at once."""

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Run the work; the Deferred has its result or its exception."""


class StoreThreads:
    """A :class:`Runner` with threads, between :meth:`start` and :meth:`stop`."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=1, maxthreads=THREADS_MOST, name="smartproxy-store")

    def start(self) -> None:
        """Make the threads."""
        self._pool.start()

    def stop(self) -> None:
        """End the threads when they have done what they were given."""
        self._pool.stop()

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Run the work in a thread."""
        return deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)


def _kind(url: str) -> str:
    """The kind of database that a URL names; never its password."""
    return url.partition(":")[0]
