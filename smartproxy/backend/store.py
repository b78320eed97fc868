"""The store: one database with the configuration, the keys, the licences and the events of a site.

Opens it, brings its tables up to date, and hands out transactions. Every call here may block, so the daemon makes them
in :class:`StoreThreads`; the ``smartproxy`` command makes them directly. What kinds of database there are, and what
each needs to be told, stands in :mod:`smartproxy.backend.database`.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, ParamSpec, Protocol, TypeVar

import attrs
from sqlalchemy import Connection, Engine, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from smartproxy._version import __version__
from smartproxy.backend.database import WRITES, check_server, engine_of, in_words, keeping, one_state, reason_of
from smartproxy.backend.errors import StoreFull, StoreOutdated, StoreUnavailable
from smartproxy.backend.location import Location
from smartproxy.backend.schema import REVISION, StoreKeyRow
from smartproxy.backend.sealing import KeyRing, give

NOTED_AGAIN: Final = timedelta(seconds=60)
"""So long nothing is noted after a note that could not be kept."""


@attrs.define
class LastWrite:
    """What came of the last transaction that was to change something.

    :ivar full: that its disk had no room, if it had none.
    :ivar unnoted: when a note could not be kept last, if the last one could not.
    """

    full: StoreFull | None = None
    unnoted: datetime | None = None


@attrs.frozen(kw_only=True)
class Store:
    """An open store. :meth:`reading` and :meth:`writing` each give a transaction of their own.

    :ivar ring: the keys of its secrets.
    :ivar last_write: what came of the last change.
    """

    location: Location
    engine: Engine
    ring: KeyRing
    last_write: LastWrite = attrs.field(factory=LastWrite, eq=False)

    @classmethod
    def open(cls, location: Location, *, make: bool = False) -> "Store":
        """Open the store, and make its tables or bring them up to date where that is needed.

        :param make: make directory and file if they are not there.
        :raises StoreUnavailable: saying why, and what to do.
        """
        if make:
            location.make()
        location.check()
        engine = engine_of(location)
        ring = KeyRing(location.key)
        give(engine.dialect, ring)
        store = cls(location=location, engine=engine, ring=ring)
        try:
            _see_ours(location, make=make)
            with in_words(location):
                store._bring_up_to_date(make)
        except DBAPIError as error:
            engine.dispose()
            raise StoreUnavailable(
                f"cannot open the store {location.shown}: {reason_of(error, location)}; "
                "name the right one, or restore it from a backup"
            ) from error
        except BaseException:
            engine.dispose()
            raise
        return store

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees one state of the store and changes nothing.

        :raises StoreBusy: when another program keeps the store locked, or its server does not answer.
        :raises StoreOutdated: when a program of another version brought it up to date meanwhile.
        """
        with (
            in_words(self.location),
            Session(one_state(self.engine), expire_on_commit=False, autoflush=False) as session,
        ):
            _check_revision(session.connection())
            yield session

    @contextmanager
    def writing(self, *, key: bool = True) -> Iterator[Session]:
        """A transaction that is kept as a whole when the block ends, and not at all when it raises.

        :param key: whether the store's key is needed, and made for a store that has none yet.
        :raises StoreBusy: when another program keeps the store locked for longer than
            :data:`~smartproxy.backend.database.BUSY_MILLISECONDS`, or its server does not answer.
        :raises StoreOutdated: as :meth:`reading` does.
        """
        with (
            self._noting(),
            in_words(self.location),
            self._writing_connection() as connection,
            connection.begin() as transaction,
            Session(connection, expire_on_commit=False) as session,
        ):
            _check_revision(connection)
            if key:
                self._use_key(session)
            yield session
            # The transaction is the connection's: this writes the rest into it, and what follows keeps it.
            session.commit()
            with keeping():
                transaction.commit()

    def note(self, now: datetime, keep: Callable[[Session], object]) -> None:
        """Keep what is good to know, such as who was here last; who looks is not kept from looking if that fails.

        Then nothing is noted for :data:`NOTED_AGAIN`: each try may wait for whoever keeps the store locked.
        """
        failed = self.last_write.unnoted
        if failed is not None and abs(now - failed) < NOTED_AGAIN:
            return
        try:
            with self.writing() as session:
                keep(session)
        except StoreUnavailable:
            self.last_write.unnoted = now
        else:
            self.last_write.unnoted = None

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note whether there was room for a change."""
        try:
            yield
        except StoreFull as full:
            self.last_write.full = full
            raise
        self.last_write.full = None

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def _use_key(self, session: Session) -> None:
        """Encrypt with the store's key; the first transaction that may keep a secret settles which that is."""
        name = session.scalar(select(StoreKeyRow.key))
        if name is None:
            name = self.ring.first()
            session.add(StoreKeyRow(number=1, key=name, since=datetime.now(UTC)))
        self.ring.use(name)

    def _writing_connection(self) -> Connection:
        return self.engine.connect().execution_options(**{WRITES: True})

    def _bring_up_to_date(self, make: bool) -> None:
        with self.engine.connect() as connection:
            found = _revision(connection)
        if found == REVISION:
            return
        if found is None and not make:
            raise _no_store(self.location)
        with self._writing_connection() as connection, connection.begin():
            # Alembic takes longer to import than most commands take to run.
            from smartproxy.backend.migrations import upgrade

            # Again, now that nobody else writes: another program may have been faster.
            found = _revision(connection)
            if found is None:
                _see_empty(inspect(connection).get_table_names(), self.location)
                check_server(connection)
            upgrade(connection, found)


def _see_ours(location: Location, *, make: bool) -> None:
    """See that an SQLite file is a store, or empty where one is made, before anything of it is changed.

    :raises StoreUnavailable: when it is another program's, or empty where nothing is made.
    """
    if location.file is None:
        return
    # A look that takes no lock is in nobody's way; it may come too early to see what stands in the log only.
    if _VERSION_TABLE in (_tables_in(location.file, "mode=ro&immutable=1") or ()):
        return
    names = _tables_in(location.file, "mode=rw")
    if names is None or _VERSION_TABLE in names:
        # What cannot be looked at, the engine cannot use either, and it says why.
        return
    _see_empty(names, location)
    if not make:
        raise _no_store(location)


def _tables_in(file: Path, how: str) -> list[str] | None:
    """The tables in an SQLite file; ``None`` if it cannot be read so.

    :param how: the parameters of its URI.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?{how}", uri=True, timeout=0)) as looked:
            return [row[0] for row in looked.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    except sqlite3.Error:
        return None


def _see_empty(tables: Sequence[str], location: Location) -> None:
    """Refuse to put a store beside tables that are not its own."""
    if tables:
        shown = ", ".join(sorted(tables)[:_TABLES_SHOWN])
        raise StoreUnavailable(
            f"{location.shown} is no SmartProxy store: another program has its tables there ({shown}); name the right "
            "one with --database or --state-dir"
        )


def _no_store(location: Location) -> StoreUnavailable:
    return StoreUnavailable(
        f"there is no SmartProxy store in the database {location.shown}; make one with 'smartproxy authority create "
        "--site NAME'"
    )


_TABLES_SHOWN = 3
_VERSION_TABLE = "alembic_version"


def _check_revision(connection: Connection) -> None:
    """See that the tables are still those of this version.

    :raises StoreOutdated: when they are not, saying which part to restart.
    """
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found != REVISION:
        raise StoreOutdated(
            f"the store was brought up to date by another version of SmartProxy (its tables are at {found}, this "
            f"{__version__} knows {REVISION}); restart smartproxy-backend with that version"
        )


def _revision(connection: Connection) -> str | None:
    """The migration that the tables stand at; nothing for an empty database."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


THREADS_MOST = 4
"""One write at a time and short calls: more threads would only wait for each other."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Runner(Protocol):
    """What runs blocking work without holding the reactor; in tests, at once."""

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Run the work; the Deferred has its result or its exception."""


class StoreThreads:
    """A :class:`Runner` with threads, between :meth:`start` and :meth:`stop`.

    :param most: the highest number of threads.
    :param name: what they are called.
    """

    def __init__(self, reactor: IReactorFromThreads, most: int = THREADS_MOST, name: str = "smartproxy-store") -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=1, maxthreads=most, name=name)

    def start(self) -> None:
        """Make the threads."""
        self._pool.start()

    def stop(self) -> None:
        """End the threads when they have done what they were given."""
        self._pool.stop()

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Deferred[_T]":
        """Run the work in a thread."""
        return deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)
