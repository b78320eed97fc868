"""What each kind of database needs to be told, and what its errors mean.

SQLite: write-ahead log, foreign keys, patience, and transactions that take the write lock at once. PostgreSQL, through
psycopg: one writer after the other by an advisory lock, so that code which reads and then writes holds for both; a
reader sees one state; a server that restarts or goes away is told from one that is wrong. Its notifications tell other
backends of a change. Never shows a URL's password, nor the values of a statement.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Engine,
    SQLColumnExpression,
    Text,
    any_,
    create_engine,
    event,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from smartproxy.backend.errors import StoreBusy, StoreFull, StoreReadOnly, StoreUnavailable, StoreUnreachable
from smartproxy.backend.location import Location

BUSY_MILLISECONDS = 10_000
"""How long one process waits for another's write."""
CACHE_KIB: Final = 16_000
"""What a connection keeps of an SQLite store in memory: the pages of the indexes that each event is entered in."""
WRITES: Final = "smartproxy_writes"
"""Execution option of a connection whose transaction will write: it takes the write lock at once."""
CHANNEL: Final = "smartproxy"
"""Where PostgreSQL tells of changes."""
WRITE_LOCK: Final = 0x536D50_0001
"""The number of the advisory lock of whoever writes."""
DUTY_LOCK: Final = 0x536D50_0002
"""The number of the advisory lock of the backend that does what runs by itself."""
CONNECT_SECONDS: Final = 5
"""How long a database server may take to answer a new connection."""

_PRIMARY_CODE = 0xFF
"""The bits of SQLite's error code that say what happened, without the details."""
_GIVEN_CODES = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
    }
)
"""SQLite's codes that are about what it was given; all others are about its file or its memory."""
_BUSY_STATES = frozenset({"40001", "40P01", "55P03", "57014", "25P03"})
"""PostgreSQL's codes for a lock or a conflict: serialization, deadlock, lock timeout, cancelled, idle for too long."""
_AWAY_STATES = frozenset({"57P01", "57P02", "57P03", "57P05", "53300", "53200"})
"""Its codes for a server that ends, starts, has no room for another connection, or no memory left."""
_FULL_STATE = "53100"
_READ_ONLY_STATE = "25006"
_OWN_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""The classes of its codes that are about the server, whatever it was given: PostgreSQL's appendix A."""
_ROOM_OCTETS_LEAST = 1 << 20
"""With less room on its disk, SQLite cannot make the files that it has beside the database, and says so otherwise."""
_REASON_MOST = 300


class Written(dict[str, object]):
    """A JSON object together with its text, for whoever needs the text before the store does.

    Nothing may be changed in it.
    """

    __slots__ = ("text",)

    def __init__(self, value: Mapping[str, object]) -> None:
        super().__init__(value)
        self.text = json.dumps(value)


def _json_text(value: object) -> str:
    return value.text if value.__class__ is Written else json.dumps(value)


def engine_of(location: Location) -> Engine:
    """The engine of a store; nothing is connected.

    :raises StoreUnavailable: when its URL is wrong, or its library is missing.
    """
    kind = location.kind
    try:
        engine = create_engine(location.url, hide_parameters=True, json_serializer=_json_text, **_arguments(location))
    except NoSuchModuleError as error:
        raise StoreUnavailable(f"cannot use the database: there is no kind {kind!r}") from error
    except (ArgumentError, ValueError):
        # What could not be read may have a password in it: it is not shown, not even as the cause.
        raise StoreUnavailable(
            "cannot use the database: its URL cannot be read; it looks like "
            "sqlite:////var/lib/smartproxy/smartproxy.db or postgresql://smartproxy@db.example/smartproxy"
        ) from None
    except ImportError as error:
        raise StoreUnavailable(
            f"cannot use the database: {kind!r} needs {error.name}, which is not installed here"
            + ("; run: pip install 'smartproxy[backend,postgresql]'" if location.is_postgresql else "")
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _set_up_postgresql)
        event.listen(engine, "begin", _begin_postgresql)
    return engine


def _arguments(location: Location) -> dict[str, Any]:
    if not location.is_postgresql:
        return {}
    # A server that vanished without a word is noticed in half a minute, not in two hours.
    wanted: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "application_name": "smartproxy",
    }
    said = location.parameters
    return {"pool_pre_ping": True, "connect_args": {key: wanted[key] for key in wanted if key not in said}}


def _set_up_sqlite(connection: Any, record: object) -> None:
    # The sqlite3 module would begin transactions by itself, and too late; _begin_sqlite does it instead.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",
        f"cache_size=-{CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another wrote between; the lock first waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _set_up_postgresql(connection: Any, record: object) -> None:
    # A process that stands still with the lock is thrown out, so that the others go on.
    connection.execute(
        f"SET lock_timeout = {BUSY_MILLISECONDS}; SET idle_in_transaction_session_timeout = 60000; SET TIME ZONE 'UTC';"
        # What a machine that vanished held is free in half a minute, not in two hours.
        "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
    )
    connection.commit()


def _begin_postgresql(connection: Connection) -> None:
    # Code that looks whether something is there and then makes it holds only if nobody else writes between.
    if _writes(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(WRITES, False))


def one_state(engine: Engine) -> Engine:
    """The engine for transactions that see one state of the store from their first statement to their last."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ")
    return engine


def is_among(session: Session, column: SQLColumnExpression[Any], texts: Sequence[str]) -> ColumnElement[bool]:
    """Whether a column holds one of many texts: as one parameter, because one for each costs more than the search."""
    if session.get_bind().dialect.name == "postgresql":
        return column == any_(literal(texts, ARRAY(Text)))
    return column.in_(select(func.json_each(json.dumps(texts)).table_valued("value").c.value))


def announce(session: Session) -> None:
    """Tell other backends of the change, once it is kept; where they share no server, they look by themselves."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


def check_server(connection: Connection) -> None:
    """See that a database without tables is one that keeps and sorts every text as SQLite does.

    :raises StoreUnavailable: saying how to make one that does.
    """
    if connection.dialect.name != "postgresql":
        return
    name, encoding, collation, provider = connection.execute(
        text(
            "SELECT datname, pg_encoding_to_char(encoding), datcollate, datlocprovider "
            "FROM pg_database WHERE datname = current_database()"
        )
    ).one()
    if encoding == "UTF8" and provider == "c" and collation in ("C", "POSIX", "C.UTF-8", "C.utf8"):
        return
    raise StoreUnavailable(
        f"the database {name} keeps texts in {encoding} and sorts them as {collation}; make it with: "
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    )


@contextmanager
def in_words(location: Location) -> Iterator[None]:
    """Tell a store that is busy, or away for a while, from one that is broken.

    :raises StoreBusy: when another program keeps it locked; the same may be tried again.
    :raises StoreUnreachable: when its server does not answer, or ended the connection.
    :raises StoreFull: when its disk is full.
    :raises StoreReadOnly: when its server is a standby.
    :raises StoreUnavailable: when its file is damaged, or cannot be read or written.
    """
    try:
        yield
    except DBAPIError as error:
        refusal = _refusal(error, location)
        if refusal is None:
            raise
        raise refusal from error


@contextmanager
def keeping() -> Iterator[None]:
    """Say of a connection that is lost while a transaction is kept that nobody knows whether it was.

    :raises StoreUnreachable: then.
    """
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnreachable(
                "the connection to the database was lost while a change was saved; it is not known whether it was: "
                "look with 'smartproxy history' before you repeat it"
            ) from error
        raise


def _refusal(error: DBAPIError, location: Location) -> StoreUnavailable | None:
    if not location.is_postgresql:
        code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE
        return None if location.file is None else _sqlite_refusal(code, location.file)
    state = getattr(error.orig, "sqlstate", None)
    if state in _BUSY_STATES:
        return StoreBusy()
    if state == _FULL_STATE:
        return StoreFull("the disk of the database's server")
    if state == _READ_ONLY_STATE:
        return StoreReadOnly("the database takes no changes: it is a standby; name the primary in the URL")
    lost = error.connection_invalidated or (state is None and isinstance(error, OperationalError))
    if lost or state in _AWAY_STATES or (state or "").startswith("08"):
        return StoreUnreachable(f"the database cannot be reached: {reason_of(error, location)}; try again")
    return None


def is_own_fault(error: DBAPIError) -> bool:
    """Whether the database is the reason, and not what it was given: the same may succeed at another time."""
    if error.connection_invalidated:
        return True
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & _PRIMARY_CODE not in _GIVEN_CODES
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state[:2] in _OWN_CLASSES
    return isinstance(error, OperationalError)


def _sqlite_refusal(code: int, file: Path) -> StoreUnavailable | None:
    """What SQLite's error code means to an operator; ``None`` for a fault of ours."""
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusy()
        case sqlite3.SQLITE_FULL:
            return _full(file)
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN if _room(file) < _ROOM_OCTETS_LEAST:
            return _full(file)
        case sqlite3.SQLITE_IOERR:
            return StoreUnavailable(
                f"the disk of the store {file} cannot be read or written; look for its errors in the system's log"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreUnavailable(
                f"the store {file} cannot be written: its file, its folder or its disk is read-only for this user; "
                "run this as the user of smartproxy-backend"
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreUnavailable(
                f"the store {file} is damaged or not a database; restore a backup (smartproxy restore), or name the "
                "right one"
            )
        case _:
            return None


def _full(file: Path) -> StoreFull:
    return StoreFull(f"the disk of the store {file}")


def room_lacks(location: Location) -> StoreFull | None:
    """That there is no room for what SQLite writes next, before it is tried."""
    file = location.file
    return None if file is None or _room(file) >= _ROOM_OCTETS_LEAST else _full(file)


def _room(file: Path) -> int:
    """How many octets this user can still write beside a file."""
    try:
        found = os.statvfs(file.parent)
    except OSError:
        return _ROOM_OCTETS_LEAST
    return found.f_bavail * found.f_frsize


def reason_of(error: DBAPIError, location: Location) -> str:
    """What a database says, on one line, without the URL's password."""
    return _told(str(error.orig), location)


def _told(said: str, location: Location) -> str:
    said = " ".join(said.split())
    for secret in location.secrets:
        said = said.replace(secret, "***")
    return said if len(said) <= _REASON_MOST else f"{said[:_REASON_MOST]}…"


def wipe(engine: Engine, location: Location, tables: Sequence[str]) -> str | None:
    """Have the database keep no former rows of tables; what to do instead, if it could not.

    PostgreSQL leaves a row that was changed where it was until it needs the place; SQLite does so in its log.
    """
    names = ", ".join(sorted(tables))
    if engine.dialect.name != "postgresql":
        with engine.connect() as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
        return "stop the backend and run 'smartproxy store status' once" if busy else None
    try:
        lone = Lone(engine, location)
        try:
            lone.execute(f"VACUUM (FULL) {names}")
        finally:
            lone.close()
    except StoreUnavailable:
        return f"have PostgreSQL do it: VACUUM (FULL) {names}"
    return None


class Lone:
    """A connection to PostgreSQL outside of the engine's pool, for what lives as long as the connection does.

    Each statement stands by itself. Its calls wait for the server, except :meth:`notified`.

    :ivar socket: a descriptor of its socket, which stays open until :meth:`close`.
    :raises StoreUnreachable: when there is no connection.
    """

    def __init__(self, engine: Engine, location: Location) -> None:
        self._location = location
        try:
            # What is raised here is psycopg's own: SQLAlchemy puts only what its connections raise into its words.
            pooled = engine.raw_connection()
            connection: Any = pooled.driver_connection
            pooled.detach()
            connection.rollback()
            connection.autocommit = True
            # libpq closes its own descriptor when the connection is lost; a reactor has to take it out before that.
            self.socket = os.dup(connection.fileno())
        except Exception as error:
            raise self._gone(error) from error
        self._connection = connection

    def execute(self, statement: str) -> object:
        """Execute one statement; the first value that it gives.

        :raises StoreUnreachable: when the connection is gone.
        """
        try:
            cursor = self._connection.execute(statement)
            row = cursor.fetchone() if cursor.description is not None else None
        except Exception as error:
            raise self._gone(error) from error
        return None if row is None else row[0]

    def notified(self) -> bool:
        """Whether PostgreSQL told of something since this was asked last; does not wait.

        :raises StoreUnreachable: when the connection is gone.
        """
        told = False
        try:
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                told = True
        except Exception as error:
            raise self._gone(error) from error
        return told

    def close(self) -> None:
        """End the connection; what it held is free."""
        self._connection.close()
        if self.socket >= 0:
            os.close(self.socket)
            self.socket = -1

    def _gone(self, error: Exception) -> StoreUnreachable:
        return StoreUnreachable(f"the database cannot be reached: {_told(str(error), self._location)}; try again")
