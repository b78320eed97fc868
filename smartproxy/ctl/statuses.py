"""How a daemon is, as it tells on the control socket: a class for each daemon, which it writes and the command reads.

Free of secrets.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

import attrs

from smartproxy.ctl.kinds import (
    FLAG,
    NUMBER,
    NUMBER_OR_NONE,
    PARTS_OR_NONE,
    TEXT,
    TEXT_OR_NONE,
    TEXTS,
    TIME,
    TIME_OR_NONE,
    AnyNumber,
    ByName,
    Words,
    many,
)
from smartproxy.policy.health import Diagnosis, Health
from smartproxy.policy.schema import ObjectOf, Optional, Tagged, kind
from smartproxy.policy.values import Flag, Member


def instant(when: datetime) -> str:
    """A time as answers have it: ISO 8601 in UTC, to the second."""
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


@attrs.frozen(kw_only=True)
class ToldFinding:
    """Something that is wrong.

    :ivar verdict: its stable name.
    :ivar advice: what is wrong, and what to do about it.
    """

    verdict: str = attrs.field(metadata=TEXT)
    health: Health = attrs.field(metadata=kind(Member(Health)))
    advice: str = attrs.field(metadata=TEXT)


@attrs.frozen(kw_only=True)
class ToldExpiry:
    """What runs out next."""

    what: str = attrs.field(metadata=TEXT)
    until: datetime = attrs.field(metadata=TIME)


@attrs.frozen(kw_only=True)
class InForce:
    """The generation in force; nothing where there is none."""

    generation: int | None = attrs.field(default=None, metadata=NUMBER_OR_NONE)
    generation_since: datetime | None = attrs.field(default=None, metadata=TIME_OR_NONE)
    generation_from: str | None = attrs.field(default=None, metadata=TEXT_OR_NONE)


@attrs.frozen(kw_only=True)
class Status(InForce):
    """How a daemon is: ``verdict`` and ``advice`` are those of the worst finding.

    :ivar pid_file_right: whether the PID file holds the process's number.
    :ivar uptime: seconds.
    """

    program: ClassVar[str]

    health: Health = attrs.field(metadata=kind(Member(Health)))
    verdict: str = attrs.field(metadata=TEXT)
    advice: str = attrs.field(metadata=TEXT)
    findings: tuple[ToldFinding, ...] = attrs.field(metadata=many(ToldFinding))
    runs_out_next: ToldExpiry | None = attrs.field(metadata=kind(Optional(ObjectOf(ToldExpiry))))
    version: str = attrs.field(metadata=TEXT)
    pid: int = attrs.field(default=0, metadata=NUMBER)
    pid_file: str | None = attrs.field(default=None, metadata=TEXT_OR_NONE)
    pid_file_right: bool | None = attrs.field(default=None, metadata=kind(Optional(Flag())))
    started: datetime | None = attrs.field(default=None, metadata=TIME_OR_NONE)
    uptime: int = attrs.field(default=0, metadata=NUMBER)


def judged(diagnosis: Diagnosis) -> dict[str, Any]:
    """The fields of a :class:`Status` that a diagnosis fills."""
    after = diagnosis.next_expiry
    return {
        "health": diagnosis.health,
        "verdict": diagnosis.code,
        "advice": diagnosis.findings[0].sentence if diagnosis.findings else "",
        "findings": tuple(
            ToldFinding(verdict=each.code, health=each.health, advice=each.sentence) for each in diagnosis.findings
        ),
        "runs_out_next": None if after is None else ToldExpiry(what=after.what, until=after.until),
    }


def fields_of(held: InForce) -> dict[str, Any]:
    """The fields of a :class:`Status` that the generation in force fills."""
    return attrs.asdict(held, recurse=False)


@attrs.frozen(kw_only=True)
class ToldWorker:
    """A process that carries sessions for a daemon.

    :ivar seconds: its age.
    """

    pid: int = attrs.field(metadata=NUMBER)
    sessions: int = attrs.field(metadata=NUMBER)
    seconds: int = attrs.field(metadata=NUMBER)


@attrs.frozen(kw_only=True)
class _Carrying(Status):
    """A daemon that has sessions.

    :ivar load: the share of the sessions that may be, in per cent.
    :ivar workers: none where the daemon carries them itself.
    """

    sessions: int = attrs.field(metadata=NUMBER)
    sessions_most: int | None = attrs.field(metadata=NUMBER_OR_NONE)
    load: float | None = attrs.field(metadata=PARTS_OR_NONE)
    workers: tuple[ToldWorker, ...] = attrs.field(default=(), metadata=many(ToldWorker))


@attrs.frozen(kw_only=True)
class TunnelOfClient:
    """A client that is connected to a server."""

    client: str | None = attrs.field(metadata=TEXT_OR_NONE)
    peer: str = attrs.field(metadata=TEXT)
    version: str = attrs.field(metadata=TEXT)
    since: datetime = attrs.field(metadata=TIME)
    sessions: int = attrs.field(metadata=NUMBER)
    certificate_until: datetime = attrs.field(metadata=TIME)


@attrs.frozen(kw_only=True)
class _Outside(_Carrying):
    """A server of either pair."""

    site: str = attrs.field(metadata=TEXT)
    proxy_id: str = attrs.field(metadata=TEXT)
    internal_listener: str | None = attrs.field(metadata=TEXT_OR_NONE)
    external_listeners: tuple[str, ...] = attrs.field(metadata=TEXTS)
    external_listeners_missing: tuple[str, ...] = attrs.field(metadata=TEXTS)
    tunnels: tuple[TunnelOfClient, ...] = attrs.field(metadata=many(TunnelOfClient))
    licence_until: datetime = attrs.field(metadata=TIME)


@attrs.frozen(kw_only=True)
class ServerStatus(_Outside):
    """How a server is.

    :ivar banned: the networks, with the seconds that are left; not all of very many.
    """

    program: ClassVar = "smartproxy-server"

    connections: int = attrs.field(metadata=NUMBER)
    connections_most: int = attrs.field(metadata=NUMBER)
    bans: int = attrs.field(metadata=NUMBER)
    banned: Mapping[str, int] = attrs.field(metadata=kind(ByName(AnyNumber())))


@attrs.frozen(kw_only=True)
class PlainServerStatus(_Outside):
    """How a plain server is."""

    program: ClassVar = "smartproxy-plain-server"


@attrs.frozen(kw_only=True)
class TunnelToServer:
    """A server that a client dials; nothing but its name while it is not connected."""

    server: str = attrs.field(metadata=TEXT)
    up: bool = attrs.field(default=False, metadata=FLAG)
    peer: str | None = attrs.field(default=None, metadata=TEXT_OR_NONE)
    version: str | None = attrs.field(default=None, metadata=TEXT_OR_NONE)
    since: datetime | None = attrs.field(default=None, metadata=TIME_OR_NONE)
    proxy_id: str | None = attrs.field(default=None, metadata=TEXT_OR_NONE)
    generation: int | None = attrs.field(default=None, metadata=NUMBER_OR_NONE)
    data_connections: int | None = attrs.field(default=None, metadata=NUMBER_OR_NONE)


@attrs.frozen(kw_only=True)
class _Inside(_Carrying):
    """A client of either pair.

    :ivar station: what sessions from outside are connected to.
    :ivar outbound_listeners: where calls are taken, by whom they are for; nothing where that is not open.
    """

    station: str | None = attrs.field(metadata=TEXT_OR_NONE)
    servers: tuple[str, ...] = attrs.field(metadata=TEXTS)
    outbound_listeners: Mapping[str, str | None] = attrs.field(metadata=kind(ByName(Optional(Words()))))
    tunnels: tuple[TunnelToServer, ...] = attrs.field(metadata=many(TunnelToServer))


@attrs.frozen(kw_only=True)
class ClientStatus(_Inside):
    """How a client is."""

    program: ClassVar = "smartproxy-client"

    backend: str = attrs.field(metadata=TEXT)


@attrs.frozen(kw_only=True)
class PlainClientStatus(_Inside):
    """How a plain client is."""

    program: ClassVar = "smartproxy-plain-client"


@attrs.frozen(kw_only=True)
class ToldClient:
    """A client of a backend, and what was last seen of it."""

    client: str = attrs.field(metadata=TEXT)
    enabled: bool = attrs.field(metadata=FLAG)
    last_call: datetime | None = attrs.field(metadata=TIME_OR_NONE)
    version: str | None = attrs.field(metadata=TEXT_OR_NONE)
    address: str | None = attrs.field(metadata=TEXT_OR_NONE)


@attrs.frozen(kw_only=True)
class ToldDownload:
    """A revocation list that a backend downloads."""

    ca: str = attrs.field(metadata=TEXT)
    url: str = attrs.field(metadata=TEXT)
    result: str = attrs.field(metadata=TEXT)
    last_try: datetime | None = attrs.field(metadata=TIME_OR_NONE)
    next_try: datetime | None = attrs.field(metadata=TIME_OR_NONE)


@attrs.frozen(kw_only=True)
class BackendStatus(Status):
    """How a backend is.

    :ivar page: where the page is, if it has an address of its own.
    :ivar on_duty: whether the hourly work is done here.
    """

    program: ClassVar = "smartproxy-backend"

    site: str | None = attrs.field(metadata=TEXT_OR_NONE)
    listener: str | None = attrs.field(metadata=TEXT_OR_NONE)
    page: str | None = attrs.field(metadata=TEXT_OR_NONE)
    store: str = attrs.field(metadata=TEXT)
    on_duty: bool = attrs.field(metadata=FLAG)
    clients: tuple[ToldClient, ...] = attrs.field(metadata=many(ToldClient))
    downloads: tuple[ToldDownload, ...] = attrs.field(metadata=many(ToldDownload))


STATUS: Final = Tagged("program", (ServerStatus, ClientStatus, BackendStatus, PlainServerStatus, PlainClientStatus))
"""How any daemon is."""
