"""One good example of each command at each release level, for tests that need any."""

from typing import Any

from smartproxy.oftp2.commands import (
    AUCH,
    AURP,
    CD,
    CDT,
    EERP,
    EFID,
    EFNA,
    EFPA,
    ESID,
    NERP,
    RTR,
    SECD,
    SFID,
    SFNA,
    SFPA,
    SSID,
    SSRM,
    Command,
)
from smartproxy.oftp2.roles import Level

STATION = "O0013STATION"
PARTNER = "O0099PARTNER"


def ssid(code: str = PARTNER, **changes: Any) -> SSID:
    """Make an SSID; secure authentication is ``N`` at level 5 and absent below."""
    values: dict[str, Any] = {
        "lev": 5,
        "pswd": "SECRET",
        "sdeb": 2048,
        "sr": "B",
        "cmpr": "N",
        "rest": "N",
        "spec": "N",
        "cred": 3,
        **changes,
    }
    if values["lev"] == 5:
        values.setdefault("auth", "N")
    return SSID(code=code, **values)


def sfid(level: Level = Level.OFTP_2_0, **changes: Any) -> SFID:
    """Make an SFID of a level's layout."""
    values: dict[str, Any] = {
        **_file(level),
        "dest": STATION,
        "orig": PARTNER,
        "fmt": "U",
        "lrecl": 0,
        "fsiz": 1,
        "rest": 0,
    }
    if level is Level.OFTP_2_0:
        values.update(osiz=1, sec=0, ciph=0, comp=0, env=0, sign="N", desc="")
    return SFID(**{**values, **changes})


def eerp(level: Level = Level.OFTP_2_0, **changes: Any) -> EERP:
    """Make an EERP of a level's layout."""
    values: dict[str, Any] = {**_file(level), "dest": PARTNER, "orig": STATION}
    if level is Level.OFTP_2_0:
        values.update(hsh=b"", sig=b"")
    return EERP(**{**values, **changes})


def nerp(level: Level = Level.OFTP_2_0, **changes: Any) -> NERP:
    """Make a NERP of a level's layout."""
    values: dict[str, Any] = {**_file(level), "dest": PARTNER, "orig": STATION, "crea": STATION, "reas": 35}
    if level is Level.OFTP_2_0:
        values.update(reast="", hsh=b"", sig=b"")
    return NERP(**{**values, **changes})


def _file(level: Level) -> dict[str, Any]:
    short = level < Level.OFTP_1_4
    return {"dsn": "ORDERS.1", "date": 261120 if short else 20261120, "time": 123456 if short else 1234560001}


def samples(level: Level) -> dict[str, Command]:
    """Return every command of a level but DATA, by name."""
    text = {"reast": "why"} if level is Level.OFTP_2_0 else {"reast": None}
    found: list[Command] = [
        SSRM(),
        ssid(lev=int(level)),
        sfid(level),
        SFPA(acnt=0),
        SFNA(reas=13, rrtr="N", **text),
        CDT(),
        EFID(rcnt=0, ucnt=0),
        EFPA(cd="N"),
        EFNA(reas=99, **text),
        ESID(reas=8, **text),
        CD(),
        eerp(level),
        RTR(),
    ]
    if level >= Level.OFTP_1_4:
        found.append(nerp(level))
    if level is Level.OFTP_2_0:
        found += [SECD(), AUCH(chal=bytes(40)), AURP(rsp=bytes(20))]
    return {command.NAME: command for command in found}


BAD = ("TLS alert bad",)
NAMED_HERE: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "handshake.alert": ("handshake.failed", {"cause": "handshake.alert", "alert": "bad"}, BAD),
    "handshake.distrusted": ("handshake.failed", {"cause": "handshake.distrusted", "alert": "bad"}, BAD),
    "call.alert": ("outbound.failed", {"cause": "call.alert", "alert": "bad", "step": "tls"}, BAD),
    "call.distrusted": (
        "outbound.failed",
        {"cause": "call.distrusted", "alert": "bad", "step": "tls"},
        ("TLS alert bad",),
    ),
    "violation.partner": (
        "session.violation",
        {"rule": "header.version", "section": "8.2", "side": "partner", "ended_by": "partner"},
        ("header.version", "8.2"),
    ),
    "aborted.partner": (
        "session.abandoned",
        {"outcome": "aborted", "cause": "session.aborted", "ended_by": "partner", "reason": 4},
        ("ESID reason code",),
    ),
    "aborted.station": (
        "session.ended",
        {"outcome": "aborted", "cause": "session.aborted", "ended_by": "station", "reason": 4},
        ("ESID reason code",),
    ),
}
"""An event for each explanation that says that something is named here, and what has to stand beneath it."""
