"""What a daemon answers on the control socket, each answer declared once: the daemon writes it, the command reads it.

How it is has a module of its own, :mod:`smartproxy.ctl.statuses`. Free of secrets. A session is told by
its portrait (:mod:`smartproxy.policy.portraits`), in which texts of peers are harmless already.
"""

from collections.abc import Mapping
from datetime import datetime

import attrs

from smartproxy.ctl.kinds import (
    FLAG,
    NUMBER,
    NUMBER_OR_NONE,
    TEXT,
    TEXT_OR_NONE,
    TIME_OR_NONE,
    AnyNumber,
    ByName,
    Words,
    many,
)
from smartproxy.policy.portraits import Age, ToldSession
from smartproxy.policy.schema import kind

# Sessions.


@attrs.frozen(kw_only=True)
class ListedSession(ToldSession):
    """A session, with its rates since it began.

    :ivar pid: the worker that carries it; nothing where the daemon does.
    :ivar seconds: its age.
    """

    client: str | None = attrs.field(default=None, metadata=TEXT_OR_NONE)
    pid: int | None = attrs.field(default=None, metadata=NUMBER_OR_NONE)
    seconds: float = attrs.field(metadata=kind(Age()))


@attrs.frozen(kw_only=True)
class ListedSessions:
    """The live sessions, the oldest first."""

    sessions: tuple[ListedSession, ...] = attrs.field(metadata=many(ListedSession))


# The others.


@attrs.frozen(kw_only=True)
class ToldLicence:
    """A licence, without its authority's certificate; or why it is none.

    :ivar refused: why it does not count; then the other facts are not known.
    """

    proxy_id: str = attrs.field(metadata=TEXT)
    site: str | None = attrs.field(default=None, metadata=TEXT_OR_NONE)
    valid_from: datetime | None = attrs.field(default=None, metadata=TIME_OR_NONE)
    valid_until: datetime | None = attrs.field(default=None, metadata=TIME_OR_NONE)
    days_left: int | None = attrs.field(default=None, metadata=NUMBER_OR_NONE)
    in_force: bool = attrs.field(default=False, metadata=FLAG)
    limits: Mapping[str, int] = attrs.field(factory=dict, metadata=kind(ByName(AnyNumber())))
    refused: str | None = attrs.field(default=None, metadata=TEXT_OR_NONE)


@attrs.frozen(kw_only=True)
class Licences:
    """The licence of a server, or those of a site's servers."""

    licences: tuple[ToldLicence, ...] = attrs.field(metadata=many(ToldLicence))


@attrs.frozen(kw_only=True)
class LevelsInForce:
    """What is logged: ``*``, categories, ``session ID`` and ``partner NAME``."""

    levels: Mapping[str, str] = attrs.field(metadata=kind(ByName(Words())))


@attrs.frozen(kw_only=True)
class DrainBegun:
    """That a daemon ends.

    :ivar sessions: so many may go on.
    """

    draining: bool = attrs.field(default=True, metadata=FLAG)
    sessions: int = attrs.field(metadata=NUMBER)


@attrs.frozen(kw_only=True)
class HandedOver:
    """That a new process has taken over.

    :ivar pid: the new process.
    :ivar sessions: so many go on in the old one.
    """

    pid: int = attrs.field(metadata=NUMBER)
    sessions: int = attrs.field(metadata=NUMBER)


@attrs.frozen(kw_only=True)
class KilledSession:
    """That a session was ended: its id."""

    killed: str = attrs.field(metadata=TEXT)
