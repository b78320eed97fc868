"""A backup of the whole store in one file, and its way back into an empty one, on whichever database that is.

Made of one state of the store, while backends run. Every table is in it, as it lies in the database: what is encrypted
there is encrypted in the file, and its key is not in it. A restore keeps all or nothing; it reads back what it wrote
and compares it with what the backup says of each table. Trusts a file no further than that: one that was cut off or
changed is refused.
"""

import base64
import gzip
import hashlib
import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, Any

import attrs
from sqlalchemy import JSON, Column, Integer, LargeBinary, MetaData, Table, Text, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.orm import Session

from smartproxy._version import __version__
from smartproxy.backend.columns import Declared, DeclaredKey, UtcTime
from smartproxy.backend.errors import ChangeRefused, Unusable
from smartproxy.backend.schema import REVISION, EventRow, GenerationRow, SiteRow, StoreKeyRow
from smartproxy.backend.sealing import Sealed
from smartproxy.backend.store import Store
from smartproxy.backend.tables import all_tables
from smartproxy.logs.fields import isotime, utc_of

FORMAT = 1
AT_ONCE = 500
"""Rows that are read or written together."""
PACKED = 4
"""How hard gzip tries: the highest makes a file a tenth smaller in three times the time."""
LINE_OCTETS_MOST = 128 * 1024 * 1024
"""A row is no longer: the largest revocation list is one."""


@attrs.frozen(kw_only=True)
class BackupFacts:
    """What is in a backup.

    :ivar made: when.
    :ivar version: the SmartProxy that made it.
    :ivar generation: the newest generation in it.
    :ivar key: the key that its secrets are encrypted with; ``None`` if it has none.
    :ivar rows: how many rows of each table.
    """

    made: datetime
    version: str
    site: str | None
    generation: int
    key: str | None
    rows: Mapping[str, int]


def write(store: Store, now: datetime, out: IO[bytes]) -> BackupFacts:
    """Write one state of the store."""
    with store.reading() as session, gzip.GzipFile(fileobj=out, mode="wb", compresslevel=PACKED, mtime=0) as file:
        site = session.scalar(select(SiteRow.name))
        head: dict[str, Any] = {
            "smartproxy_backup": FORMAT,
            "version": __version__,
            "tables_at": REVISION,
            "made": isotime(now),
            "site": site,
            "generation": session.scalar(select(func.max(GenerationRow.number))) or 0,
            "key": session.scalar(select(StoreKeyRow.key)),
        }
        file.write(_line(head))
        tables: dict[str, tuple[int, str]] = {}
        for table in all_tables():
            count, digest = 0, hashlib.sha256()
            for line in _rows(session, table):
                file.write(line)
                digest.update(line)
                count += 1
            tables[table.name] = count, digest.hexdigest()
        file.write(_line({"tables": tables}))
    return _facts(head, {name: count for name, (count, _) in tables.items()})


@attrs.frozen
class OpenBackup:
    """A backup of which the head was read and judged, and nothing else.

    :ivar lines: what follows.
    """

    head: Mapping[str, Any]
    lines: Iterator[Any]


def opened(source: IO[bytes]) -> OpenBackup:
    """Read the head of a backup, for which no store is needed yet.

    :raises Unusable: when the file is no backup, or is of another version.
    """
    lines = map(_parsed, _lines(source))
    head = next(lines, None)
    if not isinstance(head, dict) or "smartproxy_backup" not in head:
        raise Unusable("the file was not written by 'smartproxy backup'")
    if (head["smartproxy_backup"], head.get("tables_at")) != (FORMAT, REVISION):
        raise Unusable(
            f"the backup was made by SmartProxy {head.get('version')}, with another version of the tables than "
            f"this {__version__}; restore it with that version, then update"
        )
    return OpenBackup(head, lines)


def examined(source: IO[bytes]) -> OpenBackup:
    """Read a whole backup and compare it with what it says of its tables, for which no store is needed yet.

    Where the file cannot be read twice, only its head is read: a restore compares once more.

    :raises Unusable: when the file is no backup, was cut off or changed, or is of another version.
    """
    if not source.seekable():
        return opened(source)
    opened(source)
    source.seek(0)
    found = {table.name: (0, hashlib.sha256()) for table in all_tables()}
    tables: Any = None
    for line in itertools.islice(_lines(source), 1, None):
        if line.startswith(b"["):
            name = line[2:].partition(b'"')[0].decode("ascii", "replace")
            count, digest = found.setdefault(name, (0, hashlib.sha256()))
            digest.update(line)
            found[name] = count + 1, digest
        elif tables is None:
            tables = _parsed(line)
    if not isinstance(tables, dict) or not isinstance(tables := tables.get("tables"), dict):
        raise Unusable("the backup is cut off; nothing is restored")
    for name, (count, digest) in found.items():
        _see_table(name, count, digest.hexdigest(), tables)
    source.seek(0)
    return opened(source)


def restore(store: Store, source: IO[bytes] | OpenBackup) -> BackupFacts:
    """Put a backup into a store that is empty, and compare.

    :raises Unusable: when the file is no backup, was cut off or changed, or is of another version; nothing is kept.
    :raises ChangeRefused: when the store is not empty.
    :raises StoreSealed: when the key of its secrets is not there.
    """
    backup = source if isinstance(source, OpenBackup) else opened(source)
    head, lines = backup.head, backup.lines
    try:
        with store.writing(key=False) as session:
            for row in (SiteRow, GenerationRow, EventRow):
                if session.scalar(select(func.count()).select_from(row)):
                    raise ChangeRefused(
                        f"there is a site in the store {store.location.shown}; restore into an empty state folder or "
                        "an empty database"
                    )
            if head.get("key") is not None:
                store.ring.use(head["key"])
            tables = _insert_all(session, lines)
            found = _compare(session, tables)
            return _facts(head, found)
    except (KeyError, TypeError, ValueError, StatementError) as error:
        if isinstance(error, SQLAlchemyError) and not isinstance(error, StatementError):
            raise
        raise Unusable("the backup was changed: a row of it does not fit its table; nothing is restored") from error


def _facts(head: Mapping[str, Any], rows: Mapping[str, int]) -> BackupFacts:
    return BackupFacts(
        made=utc_of(head["made"]),
        version=head["version"],
        site=head["site"],
        generation=head["generation"],
        key=head["key"],
        rows=rows,
    )


def _insert_all(session: Session, lines: Iterator[Any]) -> Mapping[str, Any]:
    """Insert the rows of a backup; what its last line says of them."""
    raw = {table.name: _raw(table) for table in all_tables()}
    waiting: list[dict[str, Any]] = []
    name = ""
    for line in lines:
        if isinstance(line, dict):
            _insert(session, raw.get(name), waiting)
            tables: Mapping[str, Any] = line["tables"]
            return tables
        if line[0] != name or len(waiting) >= AT_ONCE:
            _insert(session, raw.get(name), waiting)
            name, waiting = line[0], []
        columns = raw[name].columns
        if len(line[1]) != len(columns):
            raise ValueError(name)
        waiting.append({column.name: _read(column, value) for column, value in zip(columns, line[1], strict=True)})
    raise Unusable("the backup is cut off; nothing is restored")


def _insert(session: Session, table: Table | None, rows: list[dict[str, Any]]) -> None:
    if table is not None and rows:
        session.execute(insert(table), rows)


def _compare(session: Session, tables: Mapping[str, Any]) -> Mapping[str, int]:
    """See that the store holds what the backup says of each table; how many rows that are."""
    postgresql = session.get_bind().dialect.name == "postgresql"
    found = {}
    for table in all_tables():
        count, digest = 0, hashlib.sha256()
        for line in _rows(session, table):
            digest.update(line)
            count += 1
        _see_table(table.name, count, digest.hexdigest(), tables)
        found[table.name] = count
        if postgresql and count:
            _count_on(session, table)
    return found


def _see_table(name: str, count: int, digest: str, tables: Mapping[str, Any]) -> None:
    """Compare a table with what the backup's last line says of it.

    :raises Unusable: when they differ.
    """
    if [count, digest] != tables.get(name):
        raise Unusable(f"the backup was changed: its table {name} is not what it says; nothing is restored")


def _count_on(session: Session, table: Table) -> None:
    """Have PostgreSQL number the next row after those that are there."""
    for column in table.primary_key.columns:
        if isinstance(column.type, Integer) and column.autoincrement is not False:
            sequence = session.scalar(
                text("SELECT pg_get_serial_sequence(:t, :c)"), {"t": table.name, "c": column.name}
            )
            if sequence is not None:
                newest = session.scalar(select(func.max(column)))
                session.execute(text("SELECT setval(:s, :n)"), {"s": sequence, "n": newest})


def _rows(session: Session, table: Table) -> Iterator[bytes]:
    """The lines of a table, in the order of its key."""
    raw = _raw(table)
    columns = list(raw.columns)
    query = select(raw).order_by(*raw.primary_key.columns).execution_options(yield_per=AT_ONCE)
    for row in session.execute(query):
        values = [_written(column, value) for column, value in zip(columns, row, strict=True)]
        yield _line([table.name, values])


def _raw(table: Table) -> Table:
    """A table as it lies in the database: declared classes as their JSON, secrets encrypted."""
    columns = []
    for column in table.columns:
        kind: Any = column.type
        if isinstance(kind, Declared):
            kind = JSON(none_as_null=True)
        elif isinstance(kind, DeclaredKey):
            kind = Text()
        elif isinstance(kind, Sealed):
            kind = LargeBinary()
        columns.append(Column(column.name, kind, primary_key=column.primary_key, autoincrement=False))
    return Table(table.name, MetaData(), *columns)


def _written(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, UtcTime):
        return value.isoformat()
    if isinstance(column.type, LargeBinary):
        return base64.b64encode(value).decode("ascii")
    return value


def _read(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, UtcTime):
        return utc_of(value)
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(value, validate=True)
    return value


def _line(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii") + b"\n"


_FOREIGN = "the file was not written by 'smartproxy backup', or it was changed"


def _parsed(line: bytes) -> Any:
    """What a line of a backup holds.

    :raises Unusable: when it is none.
    """
    try:
        return json.loads(line)
    except ValueError as error:
        raise Unusable(_FOREIGN) from error


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    """The lines of a backup.

    :raises Unusable: when it is not one, or a line is longer than any.
    """
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as file:
            while line := file.readline(LINE_OCTETS_MOST):
                if not line.endswith(b"\n"):
                    raise Unusable("the backup is cut off; nothing is restored")
                yield line
    except (EOFError, zlib.error) as error:
        raise Unusable("the backup is cut off; nothing is restored") from error
    except gzip.BadGzipFile as error:
        raise Unusable(_FOREIGN) from error
