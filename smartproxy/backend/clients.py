"""The clients that may call the backend, and how they prove it: a token, of which only the SHA-256 is kept."""

import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from shlex import quote
from typing import Any

import attrs
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import authority, licences
from smartproxy.backend.change import Change
from smartproxy.backend.errors import AlreadyThere, NotFound, Unusable
from smartproxy.backend.named import NamedRows
from smartproxy.backend.schema import ClientRow, WithdrawnRow
from smartproxy.policy.addresses import BadHostPort, address_of, see_one
from smartproxy.policy.settings import ClientEntry

SEEN_AGAIN = timedelta(seconds=30)
"""A call so soon after the last one that was noted is not noted."""
SILENT = timedelta(minutes=5)
"""A client asks for changes at least once a minute; one that has not asked for so long is away."""
PREFIX = "spc_"
"""What every token begins with, so that a secret scanner recognizes one that leaked."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_ROWS = NamedRows(ClientRow, lambda name, known: NotFound(f"there is no client {name!r}; known: {known}"))
find, listed = _ROWS.find, _ROWS.listed


def add(change: Change, name: str, **values: Any) -> str:
    """Add a client; return its token, which nobody can see again.

    :param values: other fields of its entry, a :class:`~smartproxy.policy.settings.ClientEntry`.
    :raises AlreadyThere: when there is one of this name.
    :raises Unusable: when it is not a name that a certificate and a log take, or not an address.
    """
    checked = _checked(values)
    if _NAME.fullmatch(name) is None:
        raise Unusable(f"{name!r} is not a valid client name; use letters, digits, '.', '_' and '-', at most 64")
    if _ROWS.get(change.session, name) is not None:
        raise AlreadyThere(
            f"there is a client {name!r} already; 'smartproxy client token {quote(name)}' gives it a new token"
        )
    token = new_token()
    entry = ClientEntry(name=name, token_sha256=token_digest(token), created=change.now, **checked)
    change.session.add(ClientRow(name=name, entry=entry))
    change.note("client.changed", command=change.what, names=[name])
    return token


def new_token_for(change: Change, name: str) -> str:
    """Give a client a new token; the old one is worth nothing from now on."""
    token = new_token()
    alter(change, name, token_sha256=token_digest(token))
    return token


def alter(change: Change, name: str, **values: Any) -> ClientRow:
    """Change fields of a client's entry.

    :raises Unusable: when an address is not one.
    """
    row = find(change.session, name)
    entry = attrs.evolve(row.entry, **_checked(values))
    change.compare(row.entry, entry)
    row.entry = entry
    change.note("client.changed", command=change.what, names=[name])
    return row


def enable(change: Change, name: str, enabled: bool) -> ClientRow:
    """Let a client call, or do not; then servers shut it out, too, until it gets another certificate."""
    row = alter(change, name, enabled=enabled)
    if not enabled:
        licences.shut_out(change, name, authority.TUNNEL_LIFE)
    return row


def remove(change: Change, name: str) -> ClientRow:
    """Remove a client; servers shut it out."""
    row = find(change.session, name)
    change.session.delete(row)
    licences.shut_out(change, name, authority.TUNNEL_LIFE, row.entry.token_sha256)
    change.note("client.changed", command=change.what, names=[name])
    return row


def entry_of(session: Session, name: str) -> ClientEntry | None:
    """The entry of a client, if there is one of this name."""
    row = _ROWS.get(session, name)
    return None if row is None else row.entry


def authenticate(session: Session, token: str) -> ClientRow | None:
    """The client that a token belongs to, enabled or not.

    Every client is compared with, so that the time taken says nothing about which of them came near.
    """
    digest = token_digest(token)
    found = None
    for row in listed(session):
        if same_digest(row.entry.token_sha256, digest):
            found = row
    return found


def was_removed(session: Session, token: str) -> str | None:
    """The name of a removed client that a token belonged to, as long as certificates of it could be valid."""
    digest = token_digest(token)
    found = None
    for row in session.scalars(select(WithdrawnRow).where(WithdrawnRow.token_sha256.is_not(None))):
        if same_digest(row.token_sha256 or "", digest):
            found = row.name
    return found


def worth_noting(row: ClientRow, now: datetime, version: str | None, address: str) -> bool:
    """Whether a call tells something about the client that is not known yet.

    What was noted for later was noted while the clock was ahead, and says nothing of now.
    """
    if row.last_seen is None or (row.last_version, row.last_address) != (version, address):
        return True
    return abs(now - row.last_seen) >= SEEN_AGAIN


def is_silent(row: ClientRow, now: datetime) -> bool:
    """Whether a client has not called for too long, or never, as far as is known."""
    return row.last_seen is None or abs(now - row.last_seen) > SILENT


def note_call(session: Session, name: str, now: datetime, version: str | None, address: str) -> None:
    """Keep when a client called last, from where and with which version."""
    row = _ROWS.get(session, name)
    if row is not None:
        row.last_seen, row.last_version, row.last_address = now, version, address


def note_certificate(session: Session, name: str, until: datetime) -> None:
    """Keep until when the last tunnel certificate of a client is valid."""
    row = _ROWS.get(session, name)
    if row is not None:
        row.certificate_until = until


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an entry, with the addresses in their usual form.

    :raises Unusable: when an address is not one, or a client is bound to one that stands for all: nobody calls from it.
    """
    found = dict(values)
    for field in ("address", "listen_address"):
        if (address := found.get(field)) is not None:
            try:
                if field == "address":
                    see_one(address)
                found[field] = str(address_of(address))
            except BadHostPort:
                raise Unusable(
                    f"{address!r} stands for every address; a client that may call from any is bound to none"
                ) from None
            except ValueError:
                raise Unusable(
                    f"{address!r} is not an address; give one IPv4 or IPv6 address, such as 10.0.0.5"
                ) from None
    return found


def new_token(prefix: str = PREFIX) -> str:
    """A token that nobody can guess: 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """What is kept of a token, in hex."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def same_digest(digest: str, other_digest: str) -> bool:
    """Compare two digests in a time that does not tell where they differ."""
    return hmac.compare_digest(digest.encode("ascii"), other_digest.encode("ascii"))
