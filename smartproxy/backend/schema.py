"""The tables of the store, as SQLAlchemy's typed ORM.

One class a table. Only column types that every database has, so that SQLite and PostgreSQL hold the same store; times
are aware UTC. Nothing here opens a database: :mod:`smartproxy.backend.store` does. The migrations under
``migrations/versions`` make these tables; a test compares the two.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

REVISION = "0005"
"""The migration that makes exactly these tables; a test holds it equal to the newest migration."""


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
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The base of all tables; names its constraints so that a migration can find them in every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcTime(), str: Text(), bytes: LargeBinary()}


class SiteRow(Base):
    """The site: its name, its authority and the https identity of its backend. Exactly one row, number 1."""

    __tablename__ = "site"

    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    authority_certificate: Mapped[str]
    authority_key: Mapped[str]
    https_certificate: Mapped[str]
    https_key: Mapped[str]
    created: Mapped[datetime]


class GenerationRow(Base):
    """One change of the configuration: when, by whom, what. Only the newest keeps its document."""

    __tablename__ = "generations"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    made: Mapped[datetime]
    made_by: Mapped[str]
    change: Mapped[str]
    document: Mapped[bytes | None]


class ClientRow(Base):
    """A smartproxy-client that may call the backend, from one address only if it is bound to it.

    Of its token only the SHA-256 is known.
    """

    __tablename__ = "clients"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    enabled: Mapped[bool]
    address: Mapped[str | None]
    created: Mapped[datetime]
    last_seen: Mapped[datetime | None]
    last_version: Mapped[str | None]
    last_address: Mapped[str | None]
    certificate_until: Mapped[datetime | None]


class LicenceRow(Base):
    """A licence that the authority signed. The newest of each Proxy ID counts."""

    __tablename__ = "licences"

    id: Mapped[int] = mapped_column(primary_key=True)
    proxy_id: Mapped[str] = mapped_column(String(66), index=True)
    text: Mapped[str]
    valid_from: Mapped[datetime]
    valid_until: Mapped[datetime]
    issued: Mapped[datetime]


class AuthorityRow(Base):
    """A certification authority that partners' certificates may chain to, with its intermediates."""

    __tablename__ = "authorities"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    certificates: Mapped[str]
    revocation: Mapped[str] = mapped_column(String(16))
    grace_hours: Mapped[int]


class RevocationRow(Base):
    """What one certificate authority's newest revocation list said: its serial numbers, in hex, one JSON list."""

    __tablename__ = "revocation_lists"

    id: Mapped[int] = mapped_column(primary_key=True)
    issuer_key_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    issuer: Mapped[str]
    this_update: Mapped[datetime]
    next_update: Mapped[datetime | None]
    number: Mapped[str | None]
    serials: Mapped[list[str]] = mapped_column(JSON)
    loaded: Mapped[datetime]


class IdentityRow(Base):
    """A certificate and key that the server shows to partners, and the key of a request that is still out."""

    __tablename__ = "identities"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    certificate: Mapped[str | None]
    key: Mapped[str | None]
    request_key: Mapped[str | None]
    request: Mapped[str | None]


class PartnerRow(Base):
    """A partner: what it may call itself and how it has to prove it."""

    __tablename__ = "partners"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    enabled: Mapped[bool]
    codes: Mapped[list[str]] = mapped_column(JSON)
    lowest_level: Mapped[int]
    authentication: Mapped[str] = mapped_column(String(16))
    profile: Mapped[str] = mapped_column(String(16))
    purpose: Mapped[str] = mapped_column(String(16))
    outbound: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True))
    certificates: Mapped[list["PartnerCertificateRow"]] = relationship(
        back_populates="partner", cascade="all, delete-orphan", order_by="PartnerCertificateRow.id", lazy="selectin"
    )


class PartnerCertificateRow(Base):
    """One way in which a partner's certificate is recognized: pinned, or named by an authority."""

    __tablename__ = "partner_certificates"

    id: Mapped[int] = mapped_column(primary_key=True)
    partner_id: Mapped[int] = mapped_column(ForeignKey("partners.id", ondelete="CASCADE"), index=True)
    partner: Mapped[PartnerRow] = relationship(back_populates="certificates")
    by: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str | None] = mapped_column(String(64))
    authority_id: Mapped[int | None] = mapped_column(ForeignKey("authorities.id"))
    authority: Mapped[AuthorityRow | None] = relationship(lazy="selectin")
    value: Mapped[str | None]
    subject: Mapped[str | None]
    not_after: Mapped[datetime | None]


class SeenCertificateRow(Base):
    """A certificate with which a partner was let in: told by a server, kept longer than the event."""

    __tablename__ = "seen_certificates"
    __table_args__ = (UniqueConstraint("partner", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    partner: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    authority: Mapped[str | None]
    subject: Mapped[str]
    issuer: Mapped[str]
    serial: Mapped[str]
    not_after: Mapped[datetime]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]


class CrlUrlRow(Base):
    """An address of a revocation list that verified certificates of an authority name. Nothing fetches it."""

    __tablename__ = "crl_urls"
    __table_args__ = (UniqueConstraint("authority", "url"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    authority: Mapped[str]
    url: Mapped[str]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]


class TrialRow(Base):
    """What an operator wants to have tried: a partner, or the station where none is named."""

    __tablename__ = "trials"

    number: Mapped[int] = mapped_column(primary_key=True)
    session: Mapped[str] = mapped_column(String(16))
    partner: Mapped[str | None]
    asked: Mapped[datetime]


class SettingRow(Base):
    """A setting that differs from its default, by its dotted name."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[object] = mapped_column(JSON)


class EventRow(Base):
    """An event of any daemon, as it was told. ``fields`` holds what is not a column of its own."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_time", "time"),
        Index("ix_events_name_time", "name", "time"),
        Index("ix_events_received", "received"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime]
    received: Mapped[datetime]
    source: Mapped[str]
    name: Mapped[str]
    level: Mapped[str] = mapped_column(String(16))
    session: Mapped[str | None] = mapped_column(index=True)
    partner: Mapped[str | None] = mapped_column(index=True)
    fields: Mapped[dict[str, object]] = mapped_column(JSON)
