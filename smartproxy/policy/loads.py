"""The load of a daemon, declared once for all who tell it and all who read it.

Duty: what a server tells a client with its pings, what a client tells the backend of itself and of its
servers, and what the backend keeps. Each number is bounded and may be missing. A server in the DMZ may tell what it
likes: what it tells is shown, and decides nothing.
"""

from typing import Final

import attrs

from smartproxy.policy.licence import PROXY_ID
from smartproxy.policy.limits import Limit
from smartproxy.policy.schema import ObjectOf, Optional, kind
from smartproxy.policy.values import Line, Whole

TELL_SECONDS: Final = 60.0
"""How often a client and a backend tell of loads."""
CPU_MOST: Final = 409_600
"""Per cent of one processor: as much as 4,096 of them can do."""
MEMORY_MOST: Final = 2**26
"""MiB."""
SESSIONS_MOST: Final = 10**6
SERVERS_TOLD_MOST: Final = 100
"""Servers of which one client tells the load."""


def _count(most: int) -> Optional:
    return Optional(Whole(Limit(default=0, least=0, most=most, unit="(a count)")))


@attrs.frozen(kw_only=True)
class ToldLoad:
    """How much a daemon does.

    :ivar cpu: the share of one processor that its processes took of late, in per cent; above 100 for several.
    :ivar memory: what they have in memory, in MiB.
    :ivar sessions: the sessions that run; a backend has none.
    :ivar sessions_most: how many may run.
    """

    cpu: int | None = attrs.field(default=None, metadata=kind(_count(CPU_MOST)))
    memory: int | None = attrs.field(default=None, metadata=kind(_count(MEMORY_MOST)))
    sessions: int | None = attrs.field(default=None, metadata=kind(_count(SESSIONS_MOST)))
    sessions_most: int | None = attrs.field(default=None, metadata=kind(_count(SESSIONS_MOST)))


@attrs.frozen(kw_only=True)
class ServerLoad:
    """What a server told a client of its load."""

    proxy_id: str = attrs.field(metadata=kind(Line(pattern=PROXY_ID, form="a Proxy ID")))
    load: ToldLoad = attrs.field(metadata=kind(ObjectOf(ToldLoad)))
