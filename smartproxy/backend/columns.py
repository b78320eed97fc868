"""The types of the store's columns that databases do not have themselves: times in UTC, and declared classes as JSON.

Each is made of types that every database has, so that SQLite and PostgreSQL hold the same.
"""

import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, Text, TypeDecorator

from smartproxy.backend.sealing import Sealed
from smartproxy.policy.values import ValueKind

WHOLE = BigInteger().with_variant(Integer(), "sqlite")
"""A whole number of 63 bits. SQLite's INTEGER has as many, and only a key of this type is the row's own number."""


_WITHOUT_ZONE: Final = len("2026-11-20 12:00:00.000000")


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time, in databases that keep time zones and in those that do not."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; a naive time is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC)

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], object] | None:
        """What writes a value; for SQLite the text that SQLAlchemy keeps there, made in a third of its time."""
        if dialect.name != "sqlite":
            return super().bind_processor(dialect)

        def write(value: datetime | None) -> str | None:
            moment = self.process_bind_param(value, dialect)
            return None if moment is None else _sqlite_text(moment)

        return write

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back that SQLite does not keep."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


@functools.lru_cache(maxsize=128)
def _sqlite_text(moment: datetime) -> str:
    """A time in UTC without its zone; remembered, because rows that are stored together share most of their times."""
    return moment.isoformat(" ", "microseconds")[:_WITHOUT_ZONE]


class Declared(TypeDecorator[Any]):
    """An instance of a class that policy declares, kept as the JSON that its kind writes."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def __init__(self, within: ValueKind) -> None:
        super().__init__()
        self.within = within

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Write what is stored."""
        return None if value is None else self.within.write(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Read what was stored."""
        return None if value is None else self.within.read(value, "entry")


class DeclaredKey(TypeDecorator[Any]):
    """The same as text that is equal for equal instances: part of a key."""

    impl = Text
    cache_ok = True

    def __init__(self, within: ValueKind) -> None:
        super().__init__()
        self.within = within

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Write what is stored."""
        return json.dumps(self.within.write(value), sort_keys=True, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Read what was stored."""
        return self.within.read(json.loads(value), "entry")


def sealed_text(column: str) -> Sealed:
    """A text that is encrypted in the database."""
    return Sealed(column, _encode, _decode)


def sealed_octets(column: str) -> Sealed:
    """Octets that are encrypted in the database."""
    return Sealed(column, bytes, bytes)


def sealed_json(column: str) -> Sealed:
    """JSON that is encrypted in the database; of a :func:`sealed_entry`, its JSON as it is."""
    return Sealed(column, _write_json, json.loads)


def sealed_entry(column: str, within: ValueKind) -> Sealed:
    """An instance of a class that policy declares, encrypted in the database."""
    return Sealed(
        column,
        lambda value: _write_json(within.write(value)),
        lambda octets: within.read(json.loads(octets), "entry"),
    )


def _encode(text: str) -> bytes:
    return text.encode("utf-8")


def _decode(octets: bytes) -> str:
    return octets.decode("utf-8")


def _write_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("utf-8")
