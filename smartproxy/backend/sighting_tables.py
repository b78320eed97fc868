"""The tables of what the daemons saw and reported: certificates, addresses of revocation lists, servers' licences.

Part of the store's schema (:mod:`smartproxy.backend.schema`). Nothing here is configuration.
"""

from datetime import datetime

from sqlalchemy import JSON, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from smartproxy.backend.schema import Base


class SeenCertificateRow(Base):
    """A certificate with which a partner was admitted, as a server reported it; kept longer than the event.

    ``proved`` is when a session with it gave one of the partner's SSIDCODEs last.
    """

    __tablename__ = "seen_certificates"
    __table_args__ = (UniqueConstraint("partner", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    partner: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    ca: Mapped[str | None]
    subject: Mapped[str]
    issuer: Mapped[str]
    serial: Mapped[str]
    crl_points: Mapped[list[str]] = mapped_column(JSON)
    not_after: Mapped[datetime]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    key_sha256: Mapped[str | None] = mapped_column(String(64))
    proved: Mapped[datetime | None]


class CrlUrlRow(Base):
    """An address of a revocation list that verified certificates of a CA name. It is downloaded if it is approved."""

    __tablename__ = "crl_urls"
    __table_args__ = (UniqueConstraint("ca", "url"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    ca: Mapped[str]
    url: Mapped[str]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]


class ServerLicenceRow(Base):
    """The licence that a server put in force last, as it reported; kept longer than the event."""

    __tablename__ = "server_licences"

    proxy_id: Mapped[str] = mapped_column(String(66), primary_key=True)
    valid_until: Mapped[datetime]
    reported: Mapped[datetime]


class NodeLoadRow(Base):
    """The load of a server, a client or a backend, as it told last."""

    __tablename__ = "node_loads"

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    told: Mapped[datetime]
    cpu: Mapped[int | None]
    memory: Mapped[int | None]
    sessions: Mapped[int | None]
    sessions_most: Mapped[int | None]


class ProposalRow(Base):
    """A certificate that may be the next one of a partner; ``old`` is the row of the pinned one that it showed.

    ``outgoing``: it was shown when the partner was called. ``rejected``: when an operator decided that it is not.
    """

    __tablename__ = "proposals"
    __table_args__ = (UniqueConstraint("sha256", "outgoing"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    partner: Mapped[str] = mapped_column(index=True)
    sha256: Mapped[str] = mapped_column(String(64))
    serial: Mapped[str]
    not_after: Mapped[datetime]
    cas: Mapped[str]
    old: Mapped[int]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    peer: Mapped[str | None]
    outgoing: Mapped[bool] = mapped_column(default=False)
    rejected: Mapped[datetime | None]
