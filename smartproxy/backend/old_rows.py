"""Deletes what the store has kept long enough, piece by piece.

Whoever deletes months of events at once keeps everybody else from writing for minutes. So each transaction deletes
:data:`~smartproxy.policy.limits.DELETED_AT_ONCE_MOST` rows of a table at most, and whoever deletes waits
:data:`~smartproxy.policy.limits.DELETING_PAUSE_SECONDS` between two of them.
"""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, delete, inspect, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from smartproxy.policy import limits


def delete_oldest(
    session: Session, age: InstrumentedAttribute[datetime], before: datetime, *conditions: ColumnElement[bool]
) -> int:
    """Delete the oldest rows of a table, as many as one transaction deletes; return how many these are.

    :param age: the column that says how old a row is.
    :param before: rows of this time and newer ones stay.
    :param conditions: what a row that is deleted meets besides.
    """
    key = inspect(age.class_).primary_key
    # In the order of the column's index, so that the last piece does not look through all that stays.
    oldest = select(*key).where(age < before, *conditions).order_by(age).limit(limits.DELETED_AT_ONCE_MOST)
    statement = delete(age.class_).where(tuple_(*key).in_(oldest)).execution_options(synchronize_session=False)
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


def are_more(*deleted: int) -> bool:
    """Whether a table may have more to delete, by how many rows of each were deleted."""
    return max(deleted) >= limits.DELETED_AT_ONCE_MOST
