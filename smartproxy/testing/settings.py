"""What an entity offers in its SSID, and what it answers to the offer of another.

Standards: RFC 5024 sections 5.3.2 (SSID), 9.7 (local constants).
"""

from collections.abc import Mapping

import attrs

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.roles import Level


@attrs.frozen(kw_only=True)
class Settings:
    """What an entity offers in its SSID (the local constants of RFC 5024 section 9.7).

    :ivar code: its SSIDCODE.
    :ivar level: the highest release level it speaks.
    :ivar direction: SSIDSR: ``S`` sends only, ``R`` receives only, ``B`` both.
    :ivar authentication: SSIDAUTH; ``None`` lets a Responder answer with what the Initiator wants.
    :ivar ask_for_turn: whether, as Listener with something to send, it asks for the turn in EFPA.
    :ivar peers: the SSIDCODEs it knows with their passwords; everybody is known if this is ``None``.
    """

    code: str
    password: str = ""
    level: Level = Level.OFTP_2_0
    buffer_size: int = 65535
    credit: int = 99
    direction: str = "B"
    compression: bool = False
    restart: bool = True
    authentication: bool | None = False
    ask_for_turn: bool = False
    user: str = ""
    peers: Mapping[str, str] | None = None


def offer(settings: Settings) -> SSID:
    """The Initiator's SSID: what we can do."""
    return _ssid(
        settings,
        level=settings.level,
        buffer_size=settings.buffer_size,
        credit=settings.credit,
        compression=settings.compression,
        restart=settings.restart,
        authentication=bool(settings.authentication),
    )


def answer(settings: Settings, offered: SSID) -> SSID:
    """The Responder's SSID: what is left of the offer."""
    wanted = settings.authentication
    return _ssid(
        settings,
        level=Level(min(settings.level, offered.lev)),
        buffer_size=min(settings.buffer_size, offered.sdeb),
        credit=min(settings.credit, offered.cred),
        compression=settings.compression and offered.cmpr == "Y",
        restart=settings.restart and offered.rest == "Y",
        authentication=offered.auth == "Y" if wanted is None else wanted,
    )


def _ssid(
    settings: Settings,
    *,
    level: Level,
    buffer_size: int,
    credit: int,
    compression: bool,
    restart: bool,
    authentication: bool,
) -> SSID:
    return SSID(
        lev=int(level),
        code=settings.code,
        pswd=settings.password,
        sdeb=buffer_size,
        sr=settings.direction,
        cmpr=_flag(compression),
        rest=_flag(restart),
        spec="N",
        cred=credit,
        auth=_flag(authentication) if level is Level.OFTP_2_0 else None,
        user=settings.user,
    )


def _flag(value: bool) -> str:
    return "Y" if value else "N"
