"""Operations on the smartproxy-clients that may call the backend, and their tokens."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import clients
from smartproxy.backend.change import Change
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import Named, Page, Removed
from smartproxy.backend.schema import ClientRow
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, PartOf, declared, kind, masked
from smartproxy.policy.settings import ClientEntry
from smartproxy.policy.values import NAME, Instant, Line


def _state(session: Session, name: str) -> ClientEntry:
    return clients.find(session, name).entry


CLIENT = Family("client", "clients", state=_state)

_HIDDEN = frozenset({"token_sha256"})
_OTHERS = PartOf(cls=ClientEntry, without=_HIDDEN | {"name", "enabled", "created"})
_KINDS = declared(ClientEntry)
_TEXT = Line(most=1000)


@attrs.frozen(kw_only=True)
class ClientAddition:
    """A client to add.

    :ivar client: the other fields of its entry; what it does not say is the default.
    """

    name: str = attrs.field(metadata=kind(NAME))
    client: Mapping[str, Any] = attrs.field(
        factory=dict, metadata=kind(_OTHERS, people=ForPeople(help="the other fields of its entry"))
    )


@attrs.frozen(kw_only=True)
class ClientBinding:
    """From where a client may call.

    :ivar address: the only address; ``None``: any.
    """

    name: str = attrs.field(metadata=kind(NAME))
    address: str | None = attrs.field(metadata=kind(_KINDS["address"]))


@attrs.frozen(kw_only=True)
class ClientListening:
    """Where a client listens for calls to partners.

    :ivar address: its own address; ``None``: as the site says.
    :ivar port: the port; ``None``: as the site says.
    """

    name: str = attrs.field(metadata=kind(NAME))
    address: str | None = attrs.field(default=None, metadata=kind(_KINDS["listen_address"]))
    port: int | None = attrs.field(default=None, metadata=kind(_KINDS["listen_port"]))


@attrs.frozen(kw_only=True)
class KnownClient:
    """A client, without its token.

    :ivar client: its entry.
    :ivar last_seen: when it called last; ``None`` for never.
    :ivar certificate_until: until when its last tunnel certificate is valid.
    """

    client: dict[str, object] = attrs.field(metadata=kind(PartOf(cls=ClientEntry, without=_HIDDEN)))
    last_seen: datetime | None = attrs.field(metadata=kind(Optional(Instant())))
    last_address: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    last_version: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    certificate_until: datetime | None = attrs.field(metadata=kind(Optional(Instant())))


@attrs.frozen(kw_only=True)
class ClientPage:
    """A part of the list of clients.

    :ivar next: the cursor of the next part; ``None`` after the last.
    """

    items: tuple[KnownClient, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownClient))))
    next: str | None = attrs.field(metadata=kind(Optional(NAME)))


@attrs.frozen(kw_only=True)
class ClientToken:
    """A client's token; it is shown only here.

    :ivar token: what the client shows with each call.
    """

    name: str = attrs.field(metadata=kind(NAME))
    token: str = attrs.field(repr=masked, metadata=kind(Line(most=200)))


@CLIENT.reading("list", "List clients.")
def listed(look: Transaction, wanted: Page) -> ClientPage:
    """The clients by name."""
    names, following = wanted.of(look.session.scalars(select(ClientRow.name)))
    rows = {row.name: row for row in look.session.scalars(select(ClientRow).where(ClientRow.name.in_(names)))}
    return ClientPage(items=tuple(_known(rows[name]) for name in names), next=following)


@CLIENT.reading("show", "Show a client.")
def show(look: Transaction, wanted: Named) -> KnownClient:
    """One client."""
    return _known(clients.find(look.session, wanted.name))


@CLIENT.changing("add", "Add a client; its token is shown once and never again.")
def add(change: Change, wanted: ClientAddition) -> ClientToken:
    """Add the client, and make its token."""
    return ClientToken(name=wanted.name, token=clients.add(change, wanted.name, **wanted.client))


@CLIENT.changing("token", "Give a client a new token; the old one is invalid at once.")
def renew(change: Change, wanted: Named) -> ClientToken:
    """Make it another token."""
    return ClientToken(name=wanted.name, token=clients.new_token_for(change, wanted.name))


@CLIENT.changing("bind", "Allow a client to call from one address only, or from any.")
def bind(change: Change, wanted: ClientBinding) -> KnownClient:
    """Bind it to an address."""
    return _known(clients.alter(change, wanted.name, address=wanted.address))


@CLIENT.changing("listen", "Say where a client listens for calls to partners.")
def listen(change: Change, wanted: ClientListening) -> KnownClient:
    """Give it a place of its own, or the site's."""
    place = {"listen_address": wanted.address, "listen_port": wanted.port}
    return _known(clients.alter(change, wanted.name, **place))


@CLIENT.changing("enable", "Let a client call the backend again.")
def enable(change: Change, wanted: Named) -> KnownClient:
    """Let it call."""
    return _known(clients.enable(change, wanted.name, True))


@CLIENT.changing("disable", "Stop a client from calling the backend and from having a tunnel.")
def disable(change: Change, wanted: Named) -> KnownClient:
    """Stop it from calling; servers shut it out."""
    return _known(clients.enable(change, wanted.name, False))


@CLIENT.changing("remove", "Remove a client; servers shut it out.")
def remove(change: Change, wanted: Named) -> Removed:
    """Remove the client."""
    clients.remove(change, wanted.name)
    return Removed(name=wanted.name)


def _known(row: ClientRow) -> KnownClient:
    entry = {field.name: getattr(row.entry, field.name) for field in attrs.fields(ClientEntry)}
    return KnownClient(
        client={name: value for name, value in entry.items() if name not in _HIDDEN},
        last_seen=row.last_seen,
        last_address=row.last_address,
        last_version=row.last_version,
        certificate_until=row.certificate_until,
    )
