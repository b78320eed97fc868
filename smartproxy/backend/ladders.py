"""The ladder of a session: its commands one below the other, each from who said it to who heard it.

Duty: put the record of a session into rungs, with what matters of each command in a few words; what the proxy itself
said to a side comes from the events. Without a record, as of a session that never reached the client, the rungs are
what the events tell. Also makes the recording that ``smartproxy judge`` reads. Nothing here holds content or a secret.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from smartproxy.backend.journal import StoredEvent
from smartproxy.oftp2 import codec
from smartproxy.oftp2.commands import BY_NAME, Command, declared
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Level
from smartproxy.oftp2.stream import frame
from smartproxy.policy.identity import OF_THE_STATION
from smartproxy.policy.session_record import DATA, RecordedStep, SessionRecord

PROXY: Final = "proxy"
PARTNER: Final = "partner"
STATION: Final = "station"
_MASK: Final = "MASKED"
_OCTETS_MOST: Final = 2**16 - 1
"""What two octets of length can say."""
_TOLD: Final = {reason.label: reason for reason in EsidReason}


@attrs.frozen(kw_only=True)
class Rung:
    """Something that was said.

    :ivar at: milliseconds since the session began; ``None`` where that is not known.
    :ivar by: ``partner``, ``station``, or ``proxy`` for what SmartProxy said itself.
    :ivar to: who heard it: ``partner``, ``station``, or ``proxy`` where it came no further.
    :ivar words: what matters of it, in figures and names.
    :ivar gap: milliseconds since the rung before.
    """

    at: int | None
    by: str
    to: str
    command: str
    words: str
    fields: Mapping[str, str | int]
    gap: int | None = None


def rungs(record: SessionRecord | None, events: Sequence[StoredEvent]) -> list[Rung]:
    """The ladder."""
    found = _of_events(events) if record is None else [_rung(step) for step in record.steps]
    last = None
    for index, each in enumerate(found):
        if each.at is not None and last is not None:
            found[index] = attrs.evolve(each, gap=each.at - last)
        last = each.at
    if any(_is_refused_station(event) for event in events):
        _keep_from_partner(found)
    heard = {each.to for each in found if each.command == "ESID"}
    for side in (PARTNER, STATION):
        # Where no ESID would have been understood, the side was told nothing: the connection was closed.
        told = (_TOLD.get(str(each.fields.get(f"told_{side}"))) for each in events)
        reason = next((each for each in told if each is not None), None)
        if reason is not None and side not in heard:
            fields: dict[str, str | int] = {"ESIDREAS": int(reason)}
            said = _words("ESID", fields)
            found.append(Rung(at=None, by=PROXY, to=side, command="ESID", words=said, fields=fields))
    return found


def _is_refused_station(event: StoredEvent) -> bool:
    """Whether the server refused the station's SSID."""
    return event.name == "identity.refused" and event.fields.get("cause") in OF_THE_STATION


def _keep_from_partner(found: list[Rung]) -> None:
    """The client, which keeps the record, let the station's SSID pass; the server did not."""
    for index in reversed(range(len(found))):
        if (found[index].command, found[index].by) == ("SSID", STATION):
            found[index] = attrs.evolve(found[index], to=PROXY)
            return


def _of_events(events: Sequence[StoredEvent]) -> list[Rung]:
    """What events tell of a session that has no record: whose SSID came, and that it was greeted before."""
    for event in events:
        code, level = event.fields.get("code"), event.fields.get("release_level")
        if isinstance(code, str) and not _is_refused_station(event):
            fields: dict[str, str | int] = {"SSIDCODE": code}
            if isinstance(level, int):
                fields["SSIDLEV"] = level
            greeted = Rung(at=None, by=PROXY, to=PARTNER, command="SSRM", words="", fields={})
            said = _words("SSID", fields)
            return [greeted, Rung(at=None, by=PARTNER, to=PROXY, command="SSID", words=said, fields=fields)]
    return []


def _rung(step: RecordedStep) -> Rung:
    return Rung(
        at=step.at,
        by=step.by,
        to=STATION if step.by == PARTNER else PARTNER,
        command=step.command,
        words=_words(step.command, step.fields),
        fields=step.fields,
    )


def _figure(count: str | int) -> str:
    """A whole number in groups of three digits; a plain space divides them, since a page writes out all others."""
    return count if isinstance(count, str) else f"{count:,}".replace(",", " ")


def _words(command: str, fields: Mapping[str, str | int]) -> str:
    """What matters of a command, in figures and names, so that it reads in any language."""

    def of(name: str) -> str:
        return str(fields.get(command + name, ""))

    match command:
        case "SSID":
            parts = [of("CODE"), _level(fields.get("SSIDLEV"))]
            parts += [f"{name} {of(name)}" for name in ("SDEB", "CRED") if of(name)]
        case "SFID":
            parts = [of("DSN"), of("FMT"), f"{_figure(fields.get('SFIDFSIZ', 0))} KiB"]
        case "SFPA":
            parts = [of("ACNT")]
        case "EFID":
            parts = [f"{_figure(fields.get('EFIDUCNT', 0))} B"]
        case "DATA":
            parts = [
                f"\N{MULTIPLICATION SIGN} {_figure(fields.get('buffers', 0))}",
                f"{_figure(fields.get('octets', 0))} B",
            ]
            if credits := fields.get("credits"):
                parts.append(f"{_figure(credits)} CDT")
        case "SFNA" | "EFNA" | "NERP" | "ESID":
            reason = fields.get(command + "REAS", 0)
            told = reason if isinstance(reason, str) else f"{reason:02d}"
            parts = [of("DSN"), told, of("REAST") or _phrase(command, reason)]
        case "EERP":
            parts = [of("DSN")]
        case "EFPA":
            parts = ["CD" if of("CD") == "Y" else ""]
        case _:
            parts = []
    return " · ".join(filter(None, parts))


def _level(level: str | int | None) -> str:
    """A release level as people write it; a number where it is none that is known."""
    if not isinstance(level, int):
        return ""
    with contextlib.suppress(ValueError):
        return Level(level).label
    return str(level)


def _phrase(command: str, reason: str | int) -> str:
    with contextlib.suppress(ValueError):
        if command == "ESID" and isinstance(reason, int):
            return EsidReason(reason).phrase
    return ""


def recording(record: SessionRecord) -> Iterator[str]:
    """The lines of a recording: commands as octets, their secrets masked; of DATA only how much it was."""
    yield json.dumps(
        {
            "note": "made from the record of a session: file content was not kept, passwords and challenges are masked",
            "session": record.session,
            "partner": record.partner,
            "began": record.began,
            "left_out": record.left_out,
        }
    )
    level = Level.OFTP_2_0
    for step in record.steps:
        place: dict[str, Any] = {"dir": "i2r" if step.by == record.initiator else "r2i", "ms": step.at}
        if step.command == DATA:
            yield json.dumps({**place, "data": dict(step.fields)})
            continue
        command = _made(step)
        told = step.fields.get("SSIDLEV")
        with contextlib.suppress(ValueError):
            level = min(level, Level(told)) if isinstance(told, int) else level
        try:
            octets = frame(codec.encode(command, level)) if command is not None else None
        except ValueError:
            octets = None
        if octets is None:
            yield json.dumps({**place, "note": f"{step.command} cannot be written from what was kept of it"})
        else:
            yield json.dumps({**place, "hex": octets.hex()})


def _made(step: RecordedStep) -> Command | None:
    """The command, with zeros where octets were not kept; ``None`` for what is none, or none that can be written."""
    kind = BY_NAME.get(step.command)
    if kind is None:
        return None
    given: dict[str, Any] = {}
    lengths = {counted: kind.NAME + length.upper() for length, counted in kind.LENGTHS}
    for name, line in declared(kind):
        value: object = step.fields.get(kind.NAME + name.upper())
        if name not in kind.GIVEN or value is None:
            continue
        if value == "***":
            value = bytes(20) if kind.NAME == "AURP" else _MASK
        elif line.format == "U" and name in lengths:
            octets = step.fields.get(lengths[name])
            if not isinstance(octets, int) or not 0 <= octets <= _OCTETS_MOST:
                return None
            value = bytes(octets)
        given[name] = value
    try:
        return kind(**given)
    except (TypeError, ValueError):
        return None
