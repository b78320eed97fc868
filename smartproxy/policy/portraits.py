"""The portrait of a live session: how it is while it runs, declared once for all who tell it and all who read it.

Duty: what a worker tells its supervisor, a daemon the control socket, and a client the backend. Texts of a peer are in
it with everything made visible that could act on a reader, and cut short. Trusts no portrait: one is read by its
declaration, and each stands or falls alone.
"""

import datetime
import math
from typing import Final

import attrs
from typing_extensions import override

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.limits import Limit
from smartproxy.policy.schema import ObjectOf, Optional, kind
from smartproxy.policy.session_record import SESSION_ID
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import Flag, Instant, PeerText, ValueKind, Whole, wrong

TOLD_MOST: Final = 200
"""Live sessions that one client tells of."""
AGE_SECONDS_MOST: Final = 100 * 366 * 86_400.0
"""The oldest session that there can be."""

_TEXT: Final = kind(PeerText(most=limits.PORTRAIT_CHARACTERS_MOST))
_TEXT_OR_NONE: Final = kind(Optional(PeerText(most=limits.PORTRAIT_CHARACTERS_MOST)))
_WHOLE: Final = Whole(Limit(default=0, least=0, most=2**53, unit="(a count)"))
_COUNT: Final = kind(_WHOLE)
_FLAG: Final = kind(Flag())


@attrs.frozen
class Age(ValueKind):
    """Seconds since something began, with their fraction."""

    @override
    def read(self, value: object, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(value, where, "a number of seconds")
        if not math.isfinite(value) or not 0 <= value <= AGE_SECONDS_MOST:
            raise DocumentRefused(where=where, cause=Cause.DOCUMENT_VALUE, message="is no age that a session can have")
        return float(value)

    @override
    def write(self, value: float) -> object:
        return value


@attrs.frozen(kw_only=True)
class ToldAgreement:
    """What the two SSIDs agreed on."""

    level: int = attrs.field(metadata=_COUNT)
    buffer_size: int = attrs.field(metadata=_COUNT)
    credit: int = attrs.field(metadata=_COUNT)
    compression: bool = attrs.field(metadata=_FLAG)
    restart: bool = attrs.field(metadata=_FLAG)
    authentication: bool = attrs.field(metadata=_FLAG)
    senders: str = attrs.field(metadata=_TEXT)


@attrs.frozen(kw_only=True)
class ToldFile:
    """The Virtual File under way.

    :ivar link: ``in`` from the partner, ``out`` to it.
    :ivar octets: those of it that were sent in this session.
    :ivar size: SFIDFSIZ, in blocks of 1024 octets.
    """

    dataset: str = attrs.field(metadata=_TEXT)
    stamp: str = attrs.field(metadata=_TEXT)
    link: str = attrs.field(metadata=_TEXT)
    originator: str = attrs.field(metadata=_TEXT)
    destination: str = attrs.field(metadata=_TEXT)
    octets: int = attrs.field(metadata=_COUNT)
    size: int | None = attrs.field(default=None, metadata=kind(Optional(_WHOLE)))


@attrs.frozen(kw_only=True)
class Portrait:
    """A live session; what a plain pair has not is nothing.

    :ivar peer: the partner's address.
    :ivar code: the Initiator's SSIDCODE, once it is in.
    :ivar phase: how far it is.
    """

    session: str = attrs.field(metadata=kind(SESSION_ID))
    partner: str | None = attrs.field(metadata=_TEXT_OR_NONE)
    peer: str | None = attrs.field(metadata=_TEXT_OR_NONE)
    code: str | None = attrs.field(metadata=_TEXT_OR_NONE)
    direction: str = attrs.field(metadata=_TEXT)
    profile: str | None = attrs.field(metadata=_TEXT_OR_NONE)
    tls: str | None = attrs.field(metadata=_TEXT_OR_NONE)
    phase: str = attrs.field(metadata=_TEXT)
    speaker: str | None = attrs.field(metadata=_TEXT_OR_NONE)
    agreed: ToldAgreement | None = attrs.field(metadata=kind(Optional(ObjectOf(ToldAgreement))))
    file: ToldFile | None = attrs.field(metadata=kind(Optional(ObjectOf(ToldFile))))
    octets_in: int = attrs.field(metadata=_COUNT)
    octets_out: int = attrs.field(metadata=_COUNT)
    files_in: int = attrs.field(metadata=_COUNT)
    files_out: int = attrs.field(metadata=_COUNT)


@attrs.frozen(kw_only=True)
class AgedPortrait(Portrait):
    """What a worker tells its supervisor.

    :ivar since: how long ago the session began; a worker's clock is its own.
    """

    since: float = attrs.field(metadata=kind(Age()))


@attrs.frozen(kw_only=True)
class ToldSession(Portrait):
    """What a client tells the backend.

    :ivar since: when the session began.
    :ivar rate_in: octets a second since it was told last.
    :ivar rate_out: the same of what went out.
    """

    since: datetime.datetime = attrs.field(metadata=kind(Instant(years=limits.TOLD_YEARS)))
    rate_in: int = attrs.field(metadata=_COUNT)
    rate_out: int = attrs.field(metadata=_COUNT)
