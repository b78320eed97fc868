"""The tables of what operators did: what each generation changed, and the audit trail.

Part of the store's schema (:mod:`smartproxy.backend.schema`); only the history and the audit trail know them.
"""

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from smartproxy.backend.schema import Base


class DifferenceRow(Base):
    """What a generation changed in one entry, without secrets; ``secret`` says that one of these changed."""

    __tablename__ = "differences"

    id: Mapped[int] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(index=True)
    subject: Mapped[str] = mapped_column(String(16))
    name: Mapped[str]
    before: Mapped[object] = mapped_column(JSON(none_as_null=True), nullable=True)
    after: Mapped[object] = mapped_column(JSON(none_as_null=True), nullable=True)
    secret: Mapped[bool]


class AuditRow(Base):
    """A record of the audit trail: canonical JSON, which holds the hash of the record before, and its SHA-256."""

    __tablename__ = "audit_records"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    record: Mapped[str]
    hash: Mapped[str] = mapped_column(String(64))
