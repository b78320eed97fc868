"""The happy half: files both ways, broken off and restarted, many at once; compared at both ends."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.task import deferLater

from smartproxy.testing.demo.display import Display
from smartproxy.testing.demo.files import SourceFile
from smartproxy.testing.programs import PATIENCE_SECONDS, POLL_SECONDS, Program
from smartproxy.testing.site import Site
from smartproxy.testing.virtual_file import BLOCK

WORTH_A_SPEED = 1_000_000
"""Fewer octets than this say nothing about throughput."""

Record = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class DemoTransfer:
    """One line of the table.

    :ivar faults: what is not as it should be; nothing of that, and the line is right.
    """

    partner: str
    dataset: str
    way: str
    format: str
    octets: int
    speed: float | None
    tls: str
    result: str
    faults: tuple[str, ...] = ()

    def cells(self) -> list[str]:
        """The line's cells."""
        speed = "-" if self.speed is None else f"{self.speed:.0f}"
        result = f"WRONG: {'; '.join(self.faults)}" if self.faults else self.result
        return [self.partner, self.dataset, self.way, self.format, f"{self.octets:,}", speed, self.tls, result]


HEADS = ("partner", "file", "way", "fmt", "octets", "MB/s", "TLS", "SHA-256 at both ends, end response")
NUMBERS = (4, 5)


async def follow(reactor: Any, display: Display, program: Program) -> None:
    """Show a partner's progress until it ends."""
    totals: dict[str, int] = {}
    while True:
        running = program.status is None
        for record in program.read():
            if record["event"] == "Progress":
                dataset = record["identity"]["dataset"]
                totals[dataset] = record["octets"]
                way = "to the station" if record["sending"] else "to the partner"
                display.progress(f"{dataset} {way}: {record['octets'] * 100 // max(record['total'], 1)} %")
        if not running:
            return
        await deferLater(reactor, POLL_SECONDS)


async def settle(reactor: Any, station: Program) -> None:
    """Wait until the station has noticed the end of every session."""
    deadline = reactor.seconds() + PATIENCE_SECONDS
    while reactor.seconds() < deadline:
        station.read()
        events = [record["event"] for record in station.records]
        if events.count("Opened") == events.count("Closed"):
            return
        await deferLater(reactor, POLL_SECONDS)


@attrs.frozen
class DemoEnds:
    """What both ends noted about a call: the lines of JSON of the partner's process and of the station's."""

    partner: Sequence[Record]
    station: Sequence[Record]

    @classmethod
    def of(cls, site: Site, program: Program) -> "DemoEnds":
        """The records of a call that is over."""
        assert site.station is not None
        return cls(program.records, site.station.records)


def compare(
    ends: DemoEnds, file: SourceFile, *, partner: str, outgoing: bool, response: str = "EERP", result: str = ""
) -> DemoTransfer:
    """Compare what was sent with what arrived.

    :param outgoing: whether the station sent it.
    :param response: the end response that there should be.
    :param result: what the line says if all is right, before the end response.
    """
    sender, receiver = (ends.station, ends.partner) if outgoing else (ends.partner, ends.station)
    faults = []
    begun = _first(sender, "FileStarted", file, sending=True)
    sent = _first(sender, "FileSent", file)
    received = _first(receiver, "FileReceived", file)
    answer = _first(sender, "EndResponseReceived", file)
    if sent is None or received is None:
        faults.append("not sent" if sent is None else "not received")
    elif {file.sha256, sent["sha256"], received["sha256"], _digest(Path(received["path"]))} != {file.sha256}:
        faults.append("the two ends hold different octets")
    if answer is None or answer["kind"] != response:
        faults.append(f"{response} expected, {'nothing' if answer is None else answer['kind']} came")
    seconds = sent["time"] - begun["time"] if sent and begun else 0.0
    # A restarted transfer carries what lies behind its restart position; only files without records are restarted here.
    octets = file.octets - (begun["from_position"] * BLOCK if begun else 0)
    closed = [record["tls"] for record in ends.partner if record["event"] == "Closed"]
    reason = f" {answer['reason']:02} {answer['text']}" if answer and answer["reason"] else ""
    return DemoTransfer(
        partner=partner,
        dataset=file.dataset,
        way="to partner" if outgoing else "to station",
        format=file.format.value,
        octets=file.octets,
        speed=octets / seconds / 1e6 if seconds and octets >= WORTH_A_SPEED else None,
        tls=(closed[0] if closed else None) or "none",
        result=f"equal, {result}{response}{reason}",
        faults=tuple(faults),
    )


def _first(records: Sequence[Record], event: str, file: SourceFile, **fields: object) -> Record | None:
    for record in records:
        if (
            record["event"] == event
            and record["identity"]["dataset"] == file.dataset
            and all(record[name] == value for name, value in fields.items())
        ):
            return record
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
