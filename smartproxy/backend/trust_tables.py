"""The tables of trust lists (ETSI TS 119 612): which there are, and the CAs that they name.

Part of the store's schema (:mod:`smartproxy.backend.schema`).
"""

from datetime import datetime

from sqlalchemy import JSON, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from smartproxy.backend.columns import Declared
from smartproxy.backend.schema import Base, NamedRow
from smartproxy.policy.schema import ObjectOf
from smartproxy.policy.trust_lists import TrustListEntry


class TrustListRow(NamedRow):
    """A trust list, what the one that was taken last says of itself, and how its downloads go.

    ``told_over`` is the ``next_update`` that was told to have passed.
    """

    __tablename__ = "trust_lists"

    entry: Mapped[TrustListEntry] = mapped_column(Declared(ObjectOf(TrustListEntry)))
    sequence: Mapped[int | None]
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    issued: Mapped[datetime | None]
    next_update: Mapped[datetime | None]
    taken: Mapped[datetime | None]
    next_try: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(default=0)
    fault: Mapped[str | None]
    etag: Mapped[str | None]
    modified: Mapped[str | None]
    told_over: Mapped[datetime | None]


class ListedCaRow(Base):
    """A CA that a trust list names, or named: then its ``status`` is ``gone``.

    ``rejected``: when an operator decided not to trust it. ``told``: the status that was told of a CA that is trusted.
    """

    __tablename__ = "listed_cas"
    __table_args__ = (UniqueConstraint("trust_list", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    trust_list: Mapped[str] = mapped_column(index=True)
    sha256: Mapped[str] = mapped_column(String(64))
    certificate: Mapped[str]
    subject: Mapped[str]
    provider: Mapped[str]
    service: Mapped[str]
    status: Mapped[str]
    good: Mapped[bool]
    addresses: Mapped[list[str]] = mapped_column(JSON)
    not_after: Mapped[datetime]
    first_seen: Mapped[datetime]
    rejected: Mapped[datetime | None]
    told: Mapped[str | None]
