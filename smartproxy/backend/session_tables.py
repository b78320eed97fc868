"""The tables of sessions: lists, records, who runs now, figures, and what operators want of the clients.

Part of the store's schema (:mod:`smartproxy.backend.schema`). Filled as events arrive
(:mod:`smartproxy.backend.session_rows`); they are kept as long as events are.
"""

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from smartproxy.backend.schema import Base


class SessionRow(Base):
    """A session, as far as events and its record have told of it; ``id`` rises in the order of arrival.

    ``settled`` says whether its end has been counted.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_began", "began"),
        Index("ix_sessions_partner_id", "partner", "id"),
        Index("ix_sessions_outcome_id", "outcome", "id"),
        Index("ix_sessions_received", "received"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    session: Mapped[str] = mapped_column(String(64), unique=True)
    received: Mapped[datetime]
    partner: Mapped[str | None]
    direction: Mapped[str | None] = mapped_column(String(16))
    peer: Mapped[str | None]
    began: Mapped[datetime]
    ended: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(16))
    cause: Mapped[str | None]
    message: Mapped[str | None]
    octets_in: Mapped[int] = mapped_column(default=0)
    octets_out: Mapped[int] = mapped_column(default=0)
    files_in: Mapped[int] = mapped_column(default=0)
    files_out: Mapped[int] = mapped_column(default=0)
    settled: Mapped[bool] = mapped_column(default=False)


class SessionFileRow(Base):
    """A Virtual File of a session: it was offered, and perhaps it came to an end."""

    __tablename__ = "session_files"
    __table_args__ = (
        Index("ix_session_files_session", "session"),
        Index("ix_session_files_dataset_session", "dataset", "session"),
        Index("ix_session_files_received", "received"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    session: Mapped[str] = mapped_column(String(64))
    received: Mapped[datetime]
    dataset: Mapped[str]
    link: Mapped[str] = mapped_column(String(8))
    outcome: Mapped[str] = mapped_column(String(16))
    octets: Mapped[int | None]


class SessionRecordRow(Base):
    """The packed record of a session: :mod:`smartproxy.policy.session_record`."""

    __tablename__ = "session_records"
    __table_args__ = (Index("ix_session_records_received", "received"),)

    session: Mapped[str] = mapped_column(String(64), primary_key=True)
    received: Mapped[datetime]
    client: Mapped[str]
    packed: Mapped[bytes]


class LiveReportRow(Base):
    """The sessions that a client runs, as it told last: JSON."""

    __tablename__ = "live_reports"

    client: Mapped[str] = mapped_column(primary_key=True)
    received: Mapped[datetime]
    count: Mapped[int]
    sessions: Mapped[str]


class FigureRow(Base):
    """A count of a span of time: ``minute`` or ``hour``, by the time at which it begins."""

    __tablename__ = "figures"

    span: Mapped[str] = mapped_column(String(8), primary_key=True)
    begins: Mapped[datetime] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(96), primary_key=True)
    count: Mapped[int]


class TrialRow(Base):
    """What an operator wants to have tried: a partner, or the station where none is named.

    With a ``wish`` it is no trial, but what an operator wants of the live session: ``end``, or a ``level`` of the log.
    """

    __tablename__ = "trials"

    number: Mapped[int] = mapped_column(primary_key=True)
    session: Mapped[str] = mapped_column(String(16))
    partner: Mapped[str | None]
    asked: Mapped[datetime]
    wish: Mapped[str | None] = mapped_column(String(16))
    level: Mapped[str | None] = mapped_column(String(16))
