"""The tables of what is watched of partners: their last sessions and files, and the files that await an end response.

Part of the store's schema (:mod:`smartproxy.backend.schema`). Made of stored events, and kept longer than these; only
:mod:`smartproxy.backend.business` knows them.
"""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from smartproxy.backend.schema import Base


class WatchCursorRow(Base):
    """Up to which event all are taken in. At most one row, number 1."""

    __tablename__ = "watch_cursors"

    number: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[int]


class WatchedPartnerRow(Base):
    """A partner that is watched since a time; what was told of it and is not over."""

    __tablename__ = "watched_partners"

    name: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    last_session: Mapped[datetime | None]
    last_file: Mapped[datetime | None]
    silent_told: Mapped[datetime | None]
    no_files_told: Mapped[datetime | None]


class AwaitedResponseRow(Base):
    """A file whose end response has not come; ``key`` is what a response to it is known by.

    ``named`` says whether the event that told of it names it, or only counts it.
    """

    __tablename__ = "awaited_responses"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    partner: Mapped[str] = mapped_column(index=True)
    link: Mapped[str] = mapped_column(String(8))
    dataset: Mapped[str]
    stamp: Mapped[str]
    originator: Mapped[str]
    ended: Mapped[datetime] = mapped_column(index=True)
    told: Mapped[datetime | None]
    named: Mapped[bool] = mapped_column(default=False)
