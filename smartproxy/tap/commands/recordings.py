"""A recorded session through the monitor that the daemons use: what ``smartproxy judge`` does.

Reads JSON lines, each with ``dir`` (``i2r`` or ``r2i``) and ``hex``, the octets of one read; other members are ignored.
A line with ``data`` in place of ``hex`` says only how much DATA there was, as recordings made from the record of a
session do: it is judged as if the file held zeros, and the summary says so. A line with neither is a note.
Prints one line per command, and what is wrong, by rule and section of RFC 5024. What the recording holds is escaped
before it is shown; passwords and challenge responses are not shown at all.
"""

import functools
import io
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, TextIO

import attrs

from smartproxy.logs.render import escape
from smartproxy.net import files
from smartproxy.oftp2 import codec
from smartproxy.oftp2.commands import CDT, DATA
from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.judgement import Judgement, Observation
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Profile, Role
from smartproxy.oftp2.stream import frame
from smartproxy.oftp2.subrecords import COMPRESSED, END_OF_RECORD, SUBRECORD_LONGEST
from smartproxy.oftp2.witness import Agreed
from smartproxy.tap.commands.console import CLOSED, UNREADABLE, CommandFailed

SENDERS: Final = {"i2r": Role.INITIATOR, "r2i": Role.RESPONDER}
#: A line holds one read; the longest buffer in hexadecimal is far below.
LINE_MOST: Final = 16 * 1024 * 1024
TEXT_MOST: Final = 80
#: The most Data Exchange Buffers of one line that are judged as zeros.
FILLED_MOST: Final = 10_000_000
#: What a line with the amount of DATA has, and the most of it.
COUNTED: Final = {"buffers": FILLED_MOST, "octets": FILLED_MOST * 100_000, "credits": FILLED_MOST}
_BYTE_ORDER_MARK: Final = "\ufeff"


def judge(path: str, *, profile: str, as_json: bool, out: TextIO) -> int:
    """Judge a recording and print the verdict.

    :param path: the recording; ``-`` for standard input.
    :param profile: ``default`` or ``strict``.
    :param as_json: print JSON lines.
    :return: 0 if nothing in it is wrong, 1 if something is.
    :raise CommandFailed: if it cannot be read; its status is 2.
    """
    report = _Json(out) if as_json else _Text(out)
    if path == "-":
        if sys.stdin is None:
            raise CommandFailed(CLOSED, UNREADABLE)
        return _replay(sys.stdin, "standard input", Profile(profile), report)
    try:
        with files.opened(path) as octets, io.TextIOWrapper(octets, encoding="utf-8") as lines:
            return _replay(lines, path, Profile(profile), report)
    except OSError as error:
        if error.filename is None:
            # What is printed could not be written.
            raise
        raise _unreadable(path, error) from error


def _replay(lines: TextIO, name: str, profile: Profile, report: "_Text | _Json") -> int:
    monitors: dict[str, Monitor] = {}
    filled: set[str] = set()
    for connection, sender, octets in recorded(lines, name):
        if connection not in monitors:
            monitors[connection] = Monitor(profile, observe_data=True)
        monitor = monitors[connection]
        if monitor.error is None:
            if isinstance(octets, Mapping):
                _fill(monitor, sender, octets)
                filled.add(connection)
            else:
                report.judgement(connection, monitor.judge(sender, octets))
    if not monitors:
        raise CommandFailed(f"{name} holds no recorded data", UNREADABLE)
    for connection, monitor in monitors.items():
        report.summary(connection, monitor, filled=connection in filled)
    return 1 if any(monitor.error is not None for monitor in monitors.values()) else 0


def _fill(monitor: Monitor, sender: Role, told: Mapping[str, int]) -> None:
    """Judge DATA of which only the amount was kept: the same number of buffers, octets and Set Credits."""
    buffers, octets, credits = (told[name] for name in COUNTED)
    if monitor.agreed is None or monitor.transfer is None:
        return
    observed, monitor.observe_data = monitor.observe_data, False
    before = monitor.transfer.octets
    for index in range(buffers):
        if monitor.error is None and monitor.transfer.credit == 0 and credits:
            credits -= 1
            monitor.judge(sender.other, frame(codec.encode(CDT(), monitor.agreed.level)))
        share = max(octets - before, 0) * (index + 1) // buffers - max(octets - before, 0) * index // buffers
        monitor.judge(sender, _zeros(share, monitor.agreed, last=index == buffers - 1))
    for _ in range(credits):
        monitor.judge(sender.other, frame(codec.encode(CDT(), monitor.agreed.level)))
    monitor.observe_data = observed


@functools.lru_cache(maxsize=8)
def _zeros(octets: int, agreed: Agreed, *, last: bool) -> bytes:
    """A Data Exchange Buffer with so many zeros, the end of a record behind the last ones."""
    plain = octets + -(-octets // SUBRECORD_LONGEST)
    compress = agreed.compression and plain + 1 > agreed.buffer_size
    buffer = bytearray(DATA.OCTET)
    while octets or len(buffer) == 1:
        taken = min(octets, SUBRECORD_LONGEST)
        octets -= taken
        end = END_OF_RECORD if last and not octets else 0
        buffer += bytes((end | COMPRESSED | taken, 0)) if compress else bytes((end | taken, *bytes(taken)))
    return frame(bytes(buffer))


def recorded(lines: TextIO, name: str) -> Iterator[tuple[str, Role, bytes | Mapping[str, int]]]:
    """Yield the connection, the sender and the octets of each recorded read; of DATA that was not kept, its amount.

    A byte order mark before the first line is no part of it.

    :raise CommandFailed: at the first line that is no record.
    """
    number = 0
    try:
        while line := lines.readline(LINE_MOST):
            number += 1
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if line.strip():
                record = json.loads(line)
                if "hex" not in record and "data" in record:
                    yield str(record.get("c", 0)), SENDERS[record["dir"]], _amount(record["data"])
                elif "hex" in record or "note" not in record:
                    yield str(record.get("c", 0)), SENDERS[record["dir"]], bytes.fromhex(record["hex"])
    except OSError as error:
        raise _unreadable(name, error) from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CommandFailed(
            f'{name}, line {number or 1}: not a recorded read; expected {{"dir": "i2r" or "r2i", "hex": "..."}}',
            UNREADABLE,
        ) from error


def _amount(told: Mapping[str, object]) -> dict[str, int]:
    """How much DATA there was.

    :raise ValueError: if a number is none, or more than is judged.
    """
    found = {}
    for name, most in COUNTED.items():
        value = told.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise ValueError(name)
        found[name] = value
    return found


def _unreadable(name: str, error: OSError) -> CommandFailed:
    return CommandFailed(f"cannot read {name or repr('')}: {error.strerror}", UNREADABLE)


@attrs.define
class _Text:
    """Lines for people."""

    out: TextIO

    def judgement(self, connection: str, judgement: Judgement) -> None:
        """Print what one read has shown."""
        for seen in judgement.observations:
            shown = " ".join(f"{name}={_value(value)}" for name, value in seen.fields.items())
            if seen.command == "DATA":
                shown = f"{seen.length} octets"
            self._line(connection, f"{seen.sender.value} {seen.command:<4} {seen.state.name:<12} {shown}")
            for anomaly in seen.anomalies:
                place = "" if anomaly.field is None else f"{anomaly.field}: "
                rule = f"[{anomaly.rule}, RFC 5024 section {anomaly.section}]"
                self._line(connection, f"  anomaly {anomaly.number}: {place}{anomaly.text} {rule}")
        if judgement.error is not None:
            self._violation(connection, judgement.error)

    def _violation(self, connection: str, error: ProtocolError) -> None:
        found = _violation(error)
        self._line(connection, f"{found['sender']} VIOLATION in {found['state']}: {found['message']}")
        self._line(connection, f"  [{found['violation']}, RFC 5024 section {found['section']}]")
        reason = f"{found['reason']:02d} {error.reason.phrase}"
        self._line(connection, f"  at octet {found['octet']} of this direction; the proxy would answer ESID {reason}")

    def summary(self, connection: str, monitor: Monitor, *, filled: bool) -> None:
        """Print what it came to.

        :param filled: whether content was not recorded.
        """
        if filled:
            self._line(connection, "The content of files was not recorded: zeros were judged in its place.")
        for role, counters in monitor.counters.items():
            counted = (
                f"{counters.octets} octets in {counters.buffers} buffers passed, "
                f"{counters.files} files confirmed, {monitor.held(role)} octets unfinished, "
                f"{counters.discarded} octets after the end"
            )
            self._line(connection, f"{role.name.capitalize()}: {counted}")
        verdict = "nothing is wrong" if monitor.error is None else "a violation"
        self._line(connection, f"Verdict: {verdict}; state {monitor.state.name}")

    def _line(self, connection: str, text: str) -> None:
        self.out.write(f"{'' if connection == '0' else escape(connection) + ': '}{text.rstrip()}\n")


@attrs.define
class _Json:
    """JSON lines for scripts."""

    out: TextIO

    def judgement(self, connection: str, judgement: Judgement) -> None:
        """Print what one read has shown."""
        for seen in judgement.observations:
            self._line(connection, _observation(seen))
        if judgement.error is not None:
            self._line(connection, _violation(judgement.error))

    def summary(self, connection: str, monitor: Monitor, *, filled: bool) -> None:
        """Print what it came to."""
        counted = {
            role.value: {**attrs.asdict(counters), "unfinished": monitor.held(role)}
            for role, counters in monitor.counters.items()
        }
        violated = monitor.error is not None
        self._line(
            connection,
            {"summary": counted, "violated": violated, "state": monitor.state.name}
            | ({"filled": True} if filled else {}),
        )

    def _line(self, connection: str, document: Mapping[str, object]) -> None:
        self.out.write(json.dumps({"connection": connection, **document}) + "\n")


def _observation(seen: Observation) -> dict[str, Any]:
    return {
        "sender": seen.sender.value,
        "command": seen.command,
        "fields": {name: _plain(value) for name, value in seen.fields.items()},
        "before": seen.before.name,
        "state": seen.state.name,
        "length": seen.length,
        "anomalies": [attrs.asdict(anomaly) for anomaly in seen.anomalies],
    }


def _violation(error: ProtocolError) -> dict[str, Any]:
    assert error.sender is not None and error.position is not None and error.offset is not None
    return {
        "violation": error.rule,
        "sender": error.sender.value,
        "message": error.message,
        "section": error.section,
        "command": error.command,
        "field": error.field,
        "state": error.state,
        "octet": error.position + error.offset,
        "reason": int(error.reason),
    }


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _value(value: object) -> str:
    text = escape(str(_plain(value)), TEXT_MOST)
    return f"'{text}'" if isinstance(value, str) else text
