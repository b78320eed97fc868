"""The tables of what operators are alerted to: rules that silence, alerts, and ends that were told.

Part of the store's schema (:mod:`smartproxy.backend.schema`).
"""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from smartproxy.backend.columns import Declared
from smartproxy.backend.schema import Base, NamedRow
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.schema import ObjectOf


class IgnoreRow(NamedRow):
    """A rule that silences events, how often it did, and which event was the last.

    ``told`` is how many of the hits the log tells of.
    """

    __tablename__ = "ignore_rules"

    entry: Mapped[IgnoreRule] = mapped_column(Declared(ObjectOf(IgnoreRule)))
    hits: Mapped[int] = mapped_column(default=0)
    told: Mapped[int] = mapped_column(default=0)
    last_hit: Mapped[datetime | None]
    last_event: Mapped[int | None]


class AlertRow(Base):
    """What an event starts, and what came of it: an event script, or a mail.

    ``due`` is when it may be begun, or begun again if its end was not noted until then.
    """

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_state_due", "state", "due"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[int] = mapped_column(index=True)
    channel: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    received: Mapped[datetime]
    due: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    ended: Mapped[datetime | None]
    cause: Mapped[str | None]
    exit_status: Mapped[int | None]
    output: Mapped[str | None]


class ToldEndingRow(Base):
    """That the end of something was told, so many days before it."""

    __tablename__ = "told_endings"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    valid_until: Mapped[datetime]
    mark: Mapped[int]


class MailTestRow(Base):
    """The mail that was asked for last to try the settings, and what came of it. At most one row, number 1."""

    __tablename__ = "mail_tests"

    number: Mapped[int] = mapped_column(primary_key=True)
    asked: Mapped[datetime]
    by: Mapped[str]
    ended: Mapped[datetime | None]
    cause: Mapped[str | None]
    message: Mapped[str | None]
