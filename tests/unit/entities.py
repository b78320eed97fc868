"""Two entities of the test kit in conversation, and the files that they exchange."""

import datetime
import random
from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

from smartproxy.oftp2.roles import Level, Role
from smartproxy.testing.entity import Entity
from smartproxy.testing.events import (
    Event,
)
from smartproxy.testing.settings import Settings
from smartproxy.testing.store import MemoryStore
from smartproxy.testing.user_monitor import FileRefusal, Response, UserMonitor
from smartproxy.testing.virtual_file import FileIdentity, Format, VirtualFile, join_records

E = TypeVar("E", bound=Event)
MOMENT = datetime.datetime(2026, 11, 20, 14, 37, 4)
PARTNER, STATION = "O0099ACME", "O0013STATION"


def octets(length: int, seed: int = 1) -> bytes:
    """Octets without a pattern."""
    return random.Random(seed).randbytes(length)


def runs(length: int, seed: int = 1) -> bytes:
    """Octets with runs that compression can use."""
    rng = random.Random(seed)
    made = bytearray()
    while len(made) < length:
        made += rng.randbytes(rng.randrange(5)) + rng.randbytes(1) * rng.randrange(200)
    return bytes(made[:length])


def file(
    name: str,
    content: bytes,
    file_format: Format = Format.UNSTRUCTURED,
    record_length: int = 0,
    originator: str = PARTNER,
    destination: str = STATION,
) -> VirtualFile:
    """A file from the partner to the station, or as told."""
    identity = FileIdentity.stamped(name, originator, destination, MOMENT)
    return VirtualFile(identity=identity, format=file_format, record_length=record_length, content=content)


FILES = [
    file("EMPTY", b""),
    file("ONE", b"x"),
    file("SIXTY-THREE", octets(63)),
    file("SIXTY-FOUR", octets(64)),
    file("FIVE-K", octets(5120)),
    file("LONG", octets(100_000)),
    file("RUNS", runs(20_000)),
    file("TEXT", b"The quick brown fox\r\njumps\r\n" * 200, Format.TEXT),
    file("FIXED", octets(8000), Format.FIXED, 80),
    file("FIXED-EMPTY", b"", Format.FIXED, 80),
    file("FIXED-LONG", runs(20_000), Format.FIXED, 10_000),
    file("VARIABLE", join_records([runs(n * 7 % 400, n) for n in range(150)]), Format.VARIABLE, 400),
    file("VARIABLE-EMPTY-RECORDS", join_records([b"", b"x", b"", b""]), Format.VARIABLE, 1),
]


def towards_partner(files: list[VirtualFile]) -> list[VirtualFile]:
    """The same files from the station to the partner."""
    return [
        attrs.evolve(sent, identity=attrs.evolve(sent.identity, originator=STATION, destination=PARTNER))
        for sent in files
    ]


class End:
    """One end: an entity with its User Monitor, its store and what it reported."""

    def __init__(
        self,
        role: Role,
        settings: Settings,
        store: MemoryStore | None = None,
        respond: Callable[[FileIdentity], Response | None] | None = None,
        refuse: Callable[[FileIdentity], FileRefusal | None] | None = None,
    ) -> None:
        self.store = store or MemoryStore()
        more = {name: given for name, given in (("respond", respond), ("refuse", refuse)) if given}
        self.monitor = UserMonitor(self.store, **more)  # type: ignore[arg-type]  # mypy sees one union of both
        self.events: list[Event] = []
        self.entity = Entity(role, settings, self.monitor, self.events.append)
        self.said = bytearray()

    def again(self, role: Role, settings: Settings) -> None:
        """Begin another session with the same User Monitor."""
        self.events = []
        self.entity = Entity(role, settings, self.monitor, self.events.append)
        self.said = bytearray()

    def reported(self, kind: type[E]) -> list[E]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def commands(self) -> str:
        """The command octets that were said, in order."""
        found, at = [], 0
        while at < len(self.said):
            found.append(chr(self.said[at + 4]))
            at += int.from_bytes(self.said[at + 1 : at + 4])
        return "".join(found)


def whole(said: bytes) -> Iterable[bytes]:
    """What was said, in one piece."""
    yield said


def octet_by_octet(said: bytes) -> Iterable[bytes]:
    """What was said, an octet at a time."""
    return (said[at : at + 1] for at in range(len(said)))


def at_random(seed: int) -> Callable[[bytes], Iterable[bytes]]:
    """What was said, cut at random."""
    rng = random.Random(seed)

    def cut(said: bytes) -> Iterable[bytes]:
        at = 0
        while at < len(said):
            length = rng.choice((1, 2, 3, 5, 64, 1000, 70_000))
            yield said[at : at + length]
            at += length

    return cut


def converse(*ends: End, cut: Callable[[bytes], Iterable[bytes]] = whole) -> None:
    """Carry octets between two ends until both have nothing to say; a cut cable loses both."""
    one, other = ends
    said = True
    while said:
        said = False
        for speaker, listener in ((one, other), (other, one)):
            while octets_said := speaker.entity.take(5000):
                said = True
                speaker.said += octets_said
                for piece in cut(octets_said):
                    listener.entity.receive(piece)
            if speaker.entity.broken:
                speaker.entity.lost("cut")
                listener.entity.lost("connection lost")


def pair(initiator: Settings, responder: Settings) -> tuple[End, End]:
    """A partner and a station."""
    return End(Role.INITIATOR, initiator), End(Role.RESPONDER, responder)


def contents(files: Iterable[VirtualFile], level: Level = Level.OFTP_2_0) -> dict[FileIdentity, bytes | None]:
    """What a store that received these files holds."""
    return {(sent.identity.reduced if level < Level.OFTP_1_4 else sent.identity): bytes(sent.content) for sent in files}
