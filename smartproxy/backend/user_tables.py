"""The tables of the page's users: their accounts, and who is logged in.

Part of the store's schema (:mod:`smartproxy.backend.schema`).
"""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from smartproxy.backend.columns import Declared
from smartproxy.backend.schema import Base
from smartproxy.policy.permissions import UserEntry
from smartproxy.policy.schema import ObjectOf


class UserRow(Base):
    """A user of the page; ``password`` is the argon2id hash of the password."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    entry: Mapped[UserEntry] = mapped_column(Declared(ObjectOf(UserEntry)))
    password: Mapped[str]
    last_login: Mapped[datetime | None]
    last_address: Mapped[str | None]


class LoginRow(Base):
    """A user who is logged in with a browser; ``cookie_sha256`` is of the cookie, which is stored nowhere."""

    __tablename__ = "logins"

    id: Mapped[int] = mapped_column(primary_key=True)
    cookie_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    user: Mapped[str] = mapped_column(index=True)
    made: Mapped[datetime]
    seen: Mapped[datetime]
    ends: Mapped[datetime]
    address: Mapped[str]
    browser: Mapped[str]
