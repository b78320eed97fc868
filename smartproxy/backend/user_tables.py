"""The tables of the page's users: their accounts, their second factors, and who is logged in.

Part of the store's schema (:mod:`smartproxy.backend.schema`).
"""

from datetime import datetime

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from smartproxy.backend.columns import Declared, sealed_text
from smartproxy.backend.schema import Base, NamedRow
from smartproxy.policy.permissions import UserEntry
from smartproxy.policy.schema import ObjectOf


class UserRow(NamedRow):
    """A user of the page; ``password`` is the argon2id hash of the password."""

    __tablename__ = "users"

    entry: Mapped[UserEntry] = mapped_column(Declared(ObjectOf(UserEntry)))
    password: Mapped[str]
    last_login: Mapped[datetime | None]
    last_address: Mapped[str | None]


class SecondFactorRow(Base):
    """A user's second factor: the secret that its authenticator has, too, in base32.

    ``confirmed`` is false until the user has shown a first code; ``step`` is that of the last code that was taken, in
    units of 30 seconds; ``recovery`` has the SHA-256 of each recovery code that was not used yet.
    """

    __tablename__ = "second_factors"

    user: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[str] = mapped_column(sealed_text("second_factors.secret"))
    confirmed: Mapped[bool]
    step: Mapped[int]
    recovery: Mapped[list[str]] = mapped_column(JSON)


class LoginRow(Base):
    """A user who is logged in with a browser; ``cookie_sha256`` is of the cookie, which is stored nowhere.

    No number comes again: whoever ends a login that it saw ends no other one.
    """

    __tablename__ = "logins"
    __table_args__ = {"sqlite_autoincrement": True}

    id: Mapped[int] = mapped_column(primary_key=True)
    cookie_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    user: Mapped[str] = mapped_column(index=True)
    made: Mapped[datetime]
    seen: Mapped[datetime]
    ends: Mapped[datetime]
    address: Mapped[str]
    browser: Mapped[str]
