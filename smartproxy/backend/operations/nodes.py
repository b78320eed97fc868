"""The operation that lists the machines of a site, as far as the store knows: servers, clients and backends.

Made of what clients told when they called, and of the events of all daemons. Nobody is asked: a daemon that tells
nothing looks as it did when it told something last, and when that was is said. The clock of a daemon is compared by the
times that its events bear and the times at which they arrived: what took least to arrive comes nearest, and a clock
that is behind looks no worse than the slowest way.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

import attrs
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from smartproxy.backend import clients, generations, journal, licences, loads
from smartproxy.backend.journal import StoredEvent
from smartproxy.backend.loads import Loads, NodeKind, backend_place
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyText, Instantaneous, Nothing
from smartproxy.backend.schema import ClientRow, EventRow
from smartproxy.policy import limits
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.loads import ToldLoad
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import Flag, Whole

NODES = Family("nodes", "nodes", key="")

LOAD_SPAN: Final = timedelta(hours=1)
_LOOKED_BACK: Final = timedelta(days=400)
_TUNNELS_READ: Final = 200
_CLOCKS_READ: Final = 500
_COUNT = Whole(limits.EVENT_NUMBER)
_TEXT = Optional(AnyText())
_TIME = Optional(Instantaneous())
_DIFFERENCE = Optional(Whole(limits.CLOCK_DIFFERENCE))


@attrs.frozen(kw_only=True)
class KnownTunnel:
    """A client's tunnel to a server.

    :ivar up: whether it is up, as the client told; ``null`` while that client does not call: it is not known then.
    :ivar since: when that became so; of one that is not known, the last change that its client told.
    :ivar cause: why it is down, in words.
    """

    client: str = attrs.field(metadata=kind(AnyText()))
    up: bool | None = attrs.field(metadata=kind(Optional(Flag())))
    since: datetime = attrs.field(metadata=kind(Instantaneous()))
    cause: str | None = attrs.field(default=None, metadata=kind(_TEXT))


_LOAD = kind(Optional(ObjectOf(ToldLoad)))


@attrs.frozen(kw_only=True)
class ServerNode:
    """A server.

    :ivar address: where clients dial it.
    :ivar started: when it started last.
    :ivar last_seen: when it was heard of last.
    :ivar licence_until: the end of the newest licence that was issued for it.
    :ivar reported_until: the end of the one that it reported to have put in force.
    :ivar load: how busy it is, as it told a client within the last minutes.
    """

    proxy_id: str = attrs.field(metadata=kind(AnyText()))
    version: str | None = attrs.field(metadata=kind(_TEXT))
    address: str | None = attrs.field(metadata=kind(_TEXT))
    started: datetime | None = attrs.field(metadata=kind(_TIME))
    last_seen: datetime | None = attrs.field(metadata=kind(_TIME))
    tunnels: tuple[KnownTunnel, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownTunnel))))
    licence_until: datetime | None = attrs.field(metadata=kind(_TIME))
    reported_until: datetime | None = attrs.field(metadata=kind(_TIME))
    load: ToldLoad | None = attrs.field(metadata=_LOAD)


@attrs.frozen(kw_only=True)
class ClientNode:
    """A client.

    :ivar enabled: whether it may call.
    :ivar calls: whether it has called within the last minutes.
    :ivar sessions: how many sessions began with it within the last hour.
    :ivar clock_difference: how far its clock is behind the backend's, in milliseconds; negative: ahead.
    :ivar load: how busy it is, as it told within the last minutes.
    """

    name: str = attrs.field(metadata=kind(AnyText()))
    enabled: bool = attrs.field(metadata=kind(Flag()))
    calls: bool = attrs.field(metadata=kind(Flag()))
    version: str | None = attrs.field(metadata=kind(_TEXT))
    address: str | None = attrs.field(metadata=kind(_TEXT))
    last_seen: datetime | None = attrs.field(metadata=kind(_TIME))
    certificate_until: datetime | None = attrs.field(metadata=kind(_TIME))
    sessions: int = attrs.field(metadata=kind(_COUNT))
    clock_difference: int | None = attrs.field(metadata=kind(_DIFFERENCE))
    load: ToldLoad | None = attrs.field(metadata=_LOAD)


@attrs.frozen(kw_only=True)
class BackendNode:
    """A backend.

    :ivar address: where it listens.
    :ivar host: its machine's name.
    :ivar path: its state folder.
    :ivar started: when it started last.
    :ivar load: how busy it is, as it told within the last minutes.
    """

    version: str = attrs.field(metadata=kind(AnyText()))
    address: str | None = attrs.field(metadata=kind(_TEXT))
    host: str | None = attrs.field(metadata=kind(_TEXT))
    path: str | None = attrs.field(metadata=kind(_TEXT))
    started: datetime = attrs.field(metadata=kind(Instantaneous()))
    load: ToldLoad | None = attrs.field(metadata=_LOAD)


@attrs.frozen(kw_only=True)
class KnownNodes:
    """The machines of a site.

    :ivar generation: the newest generation of the configuration.
    :ivar server_clock_difference: as that of a client, of the servers together: their events do not say which server
        told them.
    :ivar database: the kind of database: ``sqlite`` or ``postgresql``.
    """

    servers: tuple[ServerNode, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ServerNode))))
    clients: tuple[ClientNode, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ClientNode))))
    backends: tuple[BackendNode, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(BackendNode))))
    generation: int = attrs.field(metadata=kind(_COUNT))
    server_clock_difference: int | None = attrs.field(metadata=kind(_DIFFERENCE))
    database: str = attrs.field(metadata=kind(AnyText()))


@NODES.reading("list", "List servers, clients and backends: version, load, when seen, tunnels, licences, clocks.")
def listed(look: Transaction, wanted: Nothing) -> KnownNodes:
    """All of them, by name."""
    session = look.session
    differences = _clock_differences(session)
    begun = _sessions_begun(session, look.now)
    busy = loads.known(session, look.now)
    found = tuple(
        _client(row, look.now, begun.get(row.name, 0), differences.get(("client", row.name)), busy)
        for row in clients.listed(session)
    )
    calling = frozenset(each.name for each in found if each.calls)
    return KnownNodes(
        servers=tuple(_servers(session, look.now, busy, calling)),
        clients=found,
        backends=tuple(_backends(session, look.now, busy)),
        generation=generations.newest_number(session),
        server_clock_difference=_least(each for (source, _), each in differences.items() if source == "server"),
        database=session.get_bind().dialect.name,
    )


def _servers(session: Session, now: datetime, busy: Loads, calling: Container[str]) -> Iterator[ServerNode]:
    starts = {str(each.fields.get("proxy_id")): each for each in _newest_first(session, "server.started", now)[::-1]}
    ups = [each for each in _newest_first(session, "tunnel.up", now) if each.source == "client"]
    downs = [each for each in _newest_first(session, "tunnel.down", now) if each.source == "client"]
    dialled = {str(each.fields.get("proxy_id")): each for each in reversed(ups)}
    known = {each.proxy_id: each for each in licences.of_servers(session)}
    newest = select(EventRow.received).where(EventRow.source == "server").order_by(EventRow.id.desc())
    heard = session.scalars(newest.limit(1)).first()
    for proxy_id in known | starts | dialled:
        licence, start, up = known.get(proxy_id), starts.get(proxy_id), dialled.get(proxy_id)
        tunnels = tuple(_tunnels(proxy_id, ups, downs, calling))
        seen = [
            each
            for each in (
                # Events do not say which of several servers told them.
                heard if len(known | starts | dialled) == 1 else None,
                None if start is None else start.time,
                None if licence is None else licence.reported,
                *(each.since for each in tunnels),
            )
            if each is not None
        ]
        yield ServerNode(
            proxy_id=proxy_id,
            version=_text(up, "theirs") or _text(start, "version"),
            address=_text(up, "peer") or _text(up, "host"),
            started=None if start is None else start.time,
            last_seen=max(seen, default=None),
            tunnels=tunnels,
            licence_until=None if licence is None or licence.issued is None else licence.issued.valid_until,
            reported_until=None if licence is None else licence.reported_until,
            load=busy.get((NodeKind.SERVER, proxy_id)),
        )


def _tunnels(
    proxy_id: str, ups: Iterable[StoredEvent], downs: list[StoredEvent], calling: Container[str]
) -> Iterator[KnownTunnel]:
    """The tunnels to a server: the newest of each client, and whether it went down since.

    :param calling: the clients that call.
    """
    newest: dict[str, StoredEvent] = {}
    for each in ups:
        if each.fields.get("proxy_id") == proxy_id:
            newest.setdefault(str(each.fields.get("client", "")), each)
    for client, up in newest.items():
        end = next(
            (
                each
                for each in downs
                if all(each.fields.get(name) == up.fields.get(name) for name in ("client", "peer"))
                and (each.time, each.number) > (up.time, up.number)
            ),
            None,
        )
        cause = None if end is None else str(end.fields.get("message") or end.fields.get("cause", ""))
        yield KnownTunnel(
            client=client, up=end is None if client in calling else None, since=(end or up).time, cause=cause
        )


def _client(row: ClientRow, now: datetime, sessions: int, difference: int | None, busy: Loads) -> ClientNode:
    return ClientNode(
        name=row.name,
        enabled=row.entry.enabled,
        calls=not clients.is_silent(row, now),
        version=row.last_version,
        address=row.last_address,
        last_seen=row.last_seen,
        certificate_until=row.certificate_until,
        sessions=sessions,
        clock_difference=difference,
        load=busy.get((NodeKind.CLIENT, row.name)),
    )


def _backends(session: Session, now: datetime, busy: Loads) -> Iterator[BackendNode]:
    """The newest start of each; a backend with a database in its own folder is alone.

    Of machines that listen alike, the one that started last is shown, and others while they tell their load: the name
    of a machine may change with each start.
    """
    alone = session.get_bind().dialect.name == "sqlite"
    newest: dict[str, StoredEvent] = {}
    places: set[object] = set()
    for each in _newest_first(session, "backend.started", now):
        where = None if alone else (each.fields.get("address"), each.fields.get("port"))
        name = backend_place(*(each.fields.get(field) for field in ("host", "address", "port")))
        if where not in places or (not alone and (NodeKind.BACKEND, name) in busy):
            newest.setdefault(name, each)
        places.add(where)
    for name, each in newest.items():
        address, port = _text(each, "address"), each.fields.get("port")
        yield BackendNode(
            version=_text(each, "version") or "",
            address=str(HostPort(address, port)) if address is not None and isinstance(port, int) else None,
            host=_text(each, "host"),
            path=_text(each, "path"),
            started=each.time,
            load=busy.get((NodeKind.BACKEND, name)),
        )


def _newest_first(session: Session, name: str, now: datetime) -> list[StoredEvent]:
    return journal.newest_since(session, name, now - _LOOKED_BACK, _TUNNELS_READ)[0]


def _text(event: StoredEvent | None, name: str) -> str | None:
    value = None if event is None else event.fields.get(name)
    return None if value is None else str(value)


def _sessions_begun(session: Session, now: datetime) -> Mapping[str, int]:
    """How many sessions began within the last hour, by client."""
    name = EventRow.fields["client"].as_string()
    query = select(name, func.count()).where(
        EventRow.name == "session.started", EventRow.time >= now - LOAD_SPAN, EventRow.source == "client"
    )
    return {str(client): count for client, count in session.execute(query.group_by(name)).all()}


def _clock_differences(session: Session) -> Mapping[tuple[str, str], int]:
    """How far the clocks of servers and clients are behind, by source and carrying client, in milliseconds."""
    newest = select(EventRow.source, EventRow.time, EventRow.received, EventRow.fields["client"].as_string())
    found: dict[tuple[str, str], list[int]] = {}
    for source, time, received, client in session.execute(newest.order_by(EventRow.id.desc()).limit(_CLOCKS_READ)):
        if source in ("server", "client") and client is not None:
            found.setdefault((source, client), []).append(round((received - time) / timedelta(milliseconds=1)))
    return {place: min(each) for place, each in found.items()}


def _least(differences: Iterable[int]) -> int | None:
    return min(differences, default=None)
