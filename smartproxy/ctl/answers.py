"""What a daemon answers on the control socket, each answer declared once: the daemon writes it, the command reads it.

How it is has a module of its own, :mod:`smartproxy.ctl.statuses`. Free of secrets. Texts of peers stand in an answer as
they are; whoever shows them makes them harmless.
"""

from collections.abc import Mapping
from datetime import datetime

import attrs

from smartproxy.ctl.kinds import (
    FLAG,
    NUMBER,
    NUMBER_OR_NONE,
    PARTS,
    TEXT,
    TEXT_OR_NONE,
    TIME,
    TIME_OR_NONE,
    AnyNumber,
    ByName,
    Words,
    many,
)
from smartproxy.policy.schema import ObjectOf, Optional, kind

# Sessions.


@attrs.frozen(kw_only=True)
class ToldAgreement:
    """What the two SSIDs agreed on."""

    level: int = attrs.field(metadata=NUMBER)
    buffer_size: int = attrs.field(metadata=NUMBER)
    credit: int = attrs.field(metadata=NUMBER)
    compression: bool = attrs.field(metadata=FLAG)
    restart: bool = attrs.field(metadata=FLAG)
    authentication: bool = attrs.field(metadata=FLAG)
    senders: str = attrs.field(metadata=TEXT)


@attrs.frozen(kw_only=True)
class ToldFile:
    """The Virtual File under way.

    :ivar link: ``in`` from the partner, ``out`` to it.
    :ivar size: SFIDFSIZ, in blocks of 1024 octets.
    """

    dataset: str = attrs.field(metadata=TEXT)
    stamp: str = attrs.field(metadata=TEXT)
    link: str = attrs.field(metadata=TEXT)
    originator: str = attrs.field(metadata=TEXT)
    destination: str = attrs.field(metadata=TEXT)
    octets: int = attrs.field(metadata=NUMBER)
    size: int | None = attrs.field(default=None, metadata=NUMBER_OR_NONE)


@attrs.frozen(kw_only=True)
class ListedSession:
    """A session; what a plain pair has not is nothing.

    :ivar pid: the worker that carries it; nothing where the daemon does.
    :ivar seconds: its age.
    :ivar rate_in: octets a second since its begin.
    """

    session: str = attrs.field(metadata=TEXT)
    partner: str | None = attrs.field(metadata=TEXT_OR_NONE)
    peer: str | None = attrs.field(metadata=TEXT_OR_NONE)
    code: str | None = attrs.field(metadata=TEXT_OR_NONE)
    direction: str = attrs.field(metadata=TEXT)
    profile: str | None = attrs.field(metadata=TEXT_OR_NONE)
    tls: str | None = attrs.field(metadata=TEXT_OR_NONE)
    phase: str = attrs.field(metadata=TEXT)
    speaker: str | None = attrs.field(metadata=TEXT_OR_NONE)
    agreed: ToldAgreement | None = attrs.field(metadata=kind(Optional(ObjectOf(ToldAgreement))))
    file: ToldFile | None = attrs.field(metadata=kind(Optional(ObjectOf(ToldFile))))
    octets_in: int = attrs.field(metadata=NUMBER)
    octets_out: int = attrs.field(metadata=NUMBER)
    files_in: int = attrs.field(metadata=NUMBER)
    files_out: int = attrs.field(metadata=NUMBER)
    client: str | None = attrs.field(default=None, metadata=TEXT_OR_NONE)
    pid: int | None = attrs.field(default=None, metadata=NUMBER_OR_NONE)
    since: datetime = attrs.field(metadata=TIME)
    seconds: float = attrs.field(metadata=PARTS)
    rate_in: int = attrs.field(metadata=NUMBER)
    rate_out: int = attrs.field(metadata=NUMBER)


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
