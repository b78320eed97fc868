"""The types of the store's columns that databases do not have themselves: times in UTC, and declared classes as JSON.

Each is made of types that every database has, so that SQLite and PostgreSQL hold the same.
"""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Text, TypeDecorator

from smartproxy.policy.values import ValueKind


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

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back that SQLite does not keep."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


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
