"""The tables of the store, as SQLAlchemy's typed ORM.

One class a table. What an operator configures (partners, CAs, identities, clients) is one column, ``entry``: the entry
as the class that declares it, kept as its JSON; a change reads it, evolves it and writes it, so that a further setting
needs no further column. Only column types that every database has, so that SQLite and PostgreSQL hold the same store;
times are aware UTC. Nothing here opens a database: :mod:`smartproxy.backend.store` does. The migrations under
``migrations/versions`` make these tables; a test compares the two. Tables of one subject are in a module of their own
beside this one, ``*_tables.py``; :mod:`smartproxy.backend.tables` has all of them.
"""

import secrets
from datetime import datetime

import attrs
import sqlalchemy
from sqlalchemy import JSON, Index, LargeBinary, MetaData, String, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from smartproxy.backend.columns import WHOLE, Declared, DeclaredKey, UtcTime, sealed_entry, sealed_octets, sealed_text
from smartproxy.policy.certificates.revocation import ListScope, fresh_until
from smartproxy.policy.certificates.serials import SerialSet
from smartproxy.policy.partners import Partner, ServerIdentity, TrustedCa
from smartproxy.policy.schema import ListOf, ObjectOf, kind, masked
from smartproxy.policy.settings import ClientEntry
from smartproxy.policy.values import NAME, SHA256, Instant, Line, Pem

REVISION = "0001"
"""The migration that makes exactly these tables; a test holds it equal to the newest migration."""


@attrs.frozen(kw_only=True)
class PinNote:
    """What stands in a certificate that is pinned, for operators to read.

    :ivar sha256: the pin: of the certificate, or of its key.
    """

    sha256: str = attrs.field(metadata=kind(SHA256))
    subject: str = attrs.field(metadata=kind(Line(most=2048)))
    not_after: datetime = attrs.field(metadata=kind(Instant()))


@attrs.frozen(kw_only=True)
class CertificateRequest:
    """A request for an identity's certificate that is still out, with its key."""

    name: str = attrs.field(metadata=kind(NAME))
    key: str = attrs.field(repr=masked, metadata=kind(Pem(label="PRIVATE KEY", most=1)))
    request: str = attrs.field(metadata=kind(Pem(label="CERTIFICATE REQUEST", most=1)))


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
    type_annotation_map = {datetime: UtcTime(), str: sqlalchemy.Text(), bytes: LargeBinary(), int: WHOLE}


class NamedRow(Base):
    """A row that has a name which no other row of its table has."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


def new_store_id() -> str:
    """An id that no other store has."""
    return secrets.token_hex(8)


class SiteRow(Base):
    """The site: its name, its authority and the https identity of its backend. Exactly one row, number 1.

    ``store`` is the id of this store: part of what a generation is called, and not of the site. Another store of the
    same site has another one, and so has a store that was set back to a copy. ``page_certificate`` was uploaded for the
    page's own address, with its chain.
    """

    __tablename__ = "site"

    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    authority_certificate: Mapped[str]
    authority_key: Mapped[str] = mapped_column(sealed_text("site.authority_key"))
    https_certificate: Mapped[str]
    https_key: Mapped[str] = mapped_column(sealed_text("site.https_key"))
    page_certificate: Mapped[str | None]
    page_key: Mapped[str | None] = mapped_column(sealed_text("site.page_key"))
    created: Mapped[datetime]
    store: Mapped[str] = mapped_column(String(16), default=new_store_id)


class StoreKeyRow(Base):
    """Which key the store's secrets are encrypted with, and since when. At most one row, number 1."""

    __tablename__ = "store_keys"

    number: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(8))
    since: Mapped[datetime]


class GenerationRow(Base):
    """One change of the configuration: when, by whom, what. Only the newest keeps its document, all keep its digest."""

    __tablename__ = "generations"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    made: Mapped[datetime]
    made_by: Mapped[str]
    way: Mapped[str] = mapped_column(String(16))
    change: Mapped[str]
    comment: Mapped[str | None]
    document: Mapped[bytes | None] = mapped_column(sealed_octets("generations.document"))
    digest: Mapped[str] = mapped_column(String(16))


class ClientRow(NamedRow):
    """A client, and what was last seen of it."""

    __tablename__ = "clients"

    entry: Mapped[ClientEntry] = mapped_column(Declared(ObjectOf(ClientEntry)))
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


class WithdrawnRow(Base):
    """A client's name whose certificates are withdrawn if they begin to be valid until then; licences say so.

    ``token_sha256`` is of a client that was removed; ``forget`` is when the last of those certificates has expired.
    """

    __tablename__ = "withdrawn"

    name: Mapped[str] = mapped_column(primary_key=True)
    begins_until: Mapped[datetime]
    forget: Mapped[datetime]
    token_sha256: Mapped[str | None] = mapped_column(String(64))


class CaRow(NamedRow):
    """A CA that partners' certificates may chain to, with its intermediates."""

    __tablename__ = "cas"

    entry: Mapped[TrustedCa] = mapped_column(Declared(ObjectOf(TrustedCa)))


class RevocationRow(Base):
    """What a CA's newest revocation list of a scope says.

    ``octets`` are its ``count`` serial numbers, each in ``width`` octets, in rising order. They are read from the
    database only when they are asked for, within the transaction.
    """

    __tablename__ = "revocation_lists"
    __table_args__ = (UniqueConstraint("issuer_key_sha256", "issuer", "scope"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    issuer_key_sha256: Mapped[str] = mapped_column(String(64))
    issuer: Mapped[str]
    scope: Mapped[ListScope] = mapped_column(DeclaredKey(ObjectOf(ListScope)))
    this_update: Mapped[datetime]
    next_update: Mapped[datetime | None]
    number: Mapped[str | None]
    width: Mapped[int]
    count: Mapped[int]
    octets: Mapped[bytes] = mapped_column(deferred=True)
    loaded: Mapped[datetime]

    @property
    def fresh_until(self) -> datetime:
        """The time until which the list is current, without the hours of grace."""
        return fresh_until(self.this_update, self.next_update)

    @property
    def serials(self) -> SerialSet:
        """The serial numbers."""
        return SerialSet(self.octets, self.width)


class IdentityRow(NamedRow):
    """A certificate and key that the server shows to partners, their successor, and the request that is still out.

    ``planned`` takes the place of ``entry`` at ``planned_since``; both are there, or neither.
    """

    __tablename__ = "identities"

    entry: Mapped[ServerIdentity | None] = mapped_column(sealed_entry("identities.entry", ObjectOf(ServerIdentity)))
    request: Mapped[CertificateRequest | None] = mapped_column(
        sealed_entry("identities.request", ObjectOf(CertificateRequest))
    )
    planned: Mapped[ServerIdentity | None] = mapped_column(sealed_entry("identities.planned", ObjectOf(ServerIdentity)))
    planned_since: Mapped[datetime | None]


class PartnerRow(NamedRow):
    """A partner, and what is known of the certificates that its entry pins."""

    __tablename__ = "partners"

    entry: Mapped[Partner] = mapped_column(Declared(ObjectOf(Partner)))
    notes: Mapped[tuple[PinNote, ...]] = mapped_column(Declared(ListOf(item=ObjectOf(PinNote))))


class SettingRow(Base):
    """A setting that differs from its default, by its dotted name."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[object] = mapped_column(JSON)


PRESSING = "level = 'warning' OR level = 'error' OR level = 'critical'"
"""Of the index of events by level: those that are rare."""
INSIDE = "source = 'backend' OR source = 'command'"
"""Of the index of events by source: those that are rare."""
NAMED = "partner IS NOT NULL"
"""Of the index of events by partner: those that have one."""


class EventRow(Base):
    """An event of any daemon, as it was told. ``fields`` holds what is not a column of its own.

    An index by time has the newest events, one by number those that arrived after a cursor.

    ``telling``: whether it tells of a refusal or an early end.

    ``key`` is the same for the same event, which comes again if its sender did not learn that it was stored.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_time", "time"),
        Index("ix_events_name_time", "name", "time"),
        Index("ix_events_name_id", "name", "id"),
        Index("ix_events_partner_time", "partner", "time", sqlite_where=text(NAMED), postgresql_where=text(NAMED)),
        Index("ix_events_partner_id", "partner", "id", sqlite_where=text(NAMED), postgresql_where=text(NAMED)),
        Index("ix_events_telling", "name", "time", sqlite_where=text("telling = 1"), postgresql_where=text("telling")),
        Index("ix_events_pressing_time", "level", "time", sqlite_where=text(PRESSING), postgresql_where=text(PRESSING)),
        Index("ix_events_pressing_id", "level", "id", sqlite_where=text(PRESSING), postgresql_where=text(PRESSING)),
        Index("ix_events_inside_time", "source", "time", sqlite_where=text(INSIDE), postgresql_where=text(INSIDE)),
        Index("ix_events_inside_id", "source", "id", sqlite_where=text(INSIDE), postgresql_where=text(INSIDE)),
        Index("ix_events_received", "received"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime]
    received: Mapped[datetime]
    source: Mapped[str]
    name: Mapped[str]
    level: Mapped[str] = mapped_column(String(16))
    session: Mapped[str | None] = mapped_column(index=True)
    partner: Mapped[str | None]
    telling: Mapped[bool]
    fields: Mapped[dict[str, object]] = mapped_column(JSON)
    key: Mapped[str | None] = mapped_column(String(32), unique=True)


class ListDownloadRow(Base):
    """An address of a CA's revocation lists: when it was proposed, and what came of the last try to download it.

    An address that may be downloaded stands in the CA's entry. ``list`` is the number of the revocation list that the
    last download brought, and ``made`` its thisUpdate; while that list is in force, ``etag`` and ``modified`` say which
    answer need not be sent again.
    """

    __tablename__ = "list_downloads"
    __table_args__ = (UniqueConstraint("ca", "url"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    ca: Mapped[str]
    url: Mapped[str]
    proposed: Mapped[datetime | None]
    rejected: Mapped[datetime | None]
    tried: Mapped[datetime | None]
    succeeded: Mapped[datetime | None]
    next_try: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(default=0)
    fault: Mapped[str | None]
    etag: Mapped[str | None]
    modified: Mapped[str | None]
    list: Mapped[int | None]
    made: Mapped[datetime | None]
