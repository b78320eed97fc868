"""The tables of administrators, and of the requests of theirs that were answered or wait for a second one.

Part of the store's schema (:mod:`smartproxy.backend.schema`).
"""

from datetime import datetime

from sqlalchemy import JSON, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from smartproxy.backend.columns import Declared
from smartproxy.backend.schema import Base, NamedRow
from smartproxy.policy.permissions import AdministratorEntry
from smartproxy.policy.schema import ObjectOf


class AdministratorRow(NamedRow):
    """An administrator's token, and when it was used last."""

    __tablename__ = "administrators"

    entry: Mapped[AdministratorEntry] = mapped_column(Declared(ObjectOf(AdministratorEntry)))
    last_used: Mapped[datetime | None]
    last_address: Mapped[str | None]


class AnsweredRequestRow(Base):
    """The answer to a call with an idempotency key, if it holds no secret; ``request`` is the SHA-256 of the call."""

    __tablename__ = "answered_calls"
    __table_args__ = (UniqueConstraint("caller", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    caller: Mapped[str]
    key: Mapped[str]
    request: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True))
    answered: Mapped[datetime] = mapped_column(index=True)


class AwaitedSecondRow(Base):
    """A call that one administrator wants, and that waits for another one; ``request`` is the SHA-256 of the call."""

    __tablename__ = "awaited_seconds"

    request: Mapped[str] = mapped_column(String(64), primary_key=True)
    said: Mapped[str]
    by: Mapped[str]
    at: Mapped[datetime]
