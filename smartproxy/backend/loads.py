"""How busy servers, clients and backends are, as each told last; and the backend's own, which it tells by itself.

Kept apart from events: only the newest of each is of use, and one that has told nothing for some minutes is not known.
Decides nothing: a server may tell what it likes.
"""

import enum
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import attrs
from sqlalchemy import delete, select
from sqlalchemy.orm import Session
from twisted.internet.interfaces import IReactorTime

from smartproxy.backend.rounds import StoreRounds
from smartproxy.backend.sighting_tables import NodeLoadRow
from smartproxy.backend.store import Runner, Store
from smartproxy.backend.upkeep import BUSY_SECONDS
from smartproxy.logs.clock import now
from smartproxy.logs.emit import Events
from smartproxy.net.load import LoadMeter
from smartproxy.policy.loads import TELL_SECONDS, ToldLoad

GOOD_FOR: Final = timedelta(minutes=3)
"""So old a load still tells something."""
_KEPT: Final = timedelta(days=1)


class NodeKind(enum.StrEnum):
    """What a node is."""

    SERVER = "server"
    CLIENT = "client"
    BACKEND = "backend"


Loads: TypeAlias = Mapping[tuple[NodeKind, str], ToldLoad]
"""Loads by the node's kind and name: the Proxy ID of a server, the name of a client, the place of a backend."""


def keep(session: Session, told: Loads, now: datetime) -> None:
    """Keep loads in the place of what was told before; what nobody tells of any more is deleted."""
    session.execute(delete(NodeLoadRow).where(~NodeLoadRow.told.between(now - _KEPT, now + _KEPT)))
    for (kind, name), load in told.items():
        session.merge(NodeLoadRow(kind=kind.value, name=name, told=now, **attrs.asdict(load)))


def known(session: Session, now: datetime) -> Loads:
    """The loads that still tell something: none of before, and none of a time when the clock was ahead."""
    rows = session.scalars(select(NodeLoadRow).where(NodeLoadRow.told.between(now - GOOD_FOR, now + GOOD_FOR)))
    return {
        (NodeKind(row.kind), row.name): ToldLoad(
            cpu=row.cpu, memory=row.memory, sessions=row.sessions, sessions_most=row.sessions_most
        )
        for row in rows
    }


def backend_place(host: object, address: object, port: object) -> str:
    """What a backend is known by among those that share a database: its machine, and where it listens there."""
    return f"{host or ''} {address} {port}"


class OwnLoad(StoreRounds):
    """Tells the load of this backend, again and again.

    :param place: what it is known by; ``None`` while it does not listen.
    """

    busy_seconds = BUSY_SECONDS
    fault_seconds = TELL_SECONDS

    def __init__(
        self, store: Store, runner: Runner, events: Events, clock: IReactorTime, place: Callable[[], str | None]
    ) -> None:
        super().__init__(store, runner, events, clock)
        self._clock = clock
        self._meter = LoadMeter(clock)
        self._place = place

    async def look(self) -> float:
        """Tell it now."""
        place = self._place()
        if place is not None:
            await self._runner.run(self._keep, place, self._meter.told(), now(self._clock))
        return TELL_SECONDS

    def _keep(self, place: str, load: ToldLoad, when: datetime) -> None:
        with self._store.writing() as session:
            keep(session, {(NodeKind.BACKEND, place): load}, when)
