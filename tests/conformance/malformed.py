"""Malformed cases made from the facts, each with the error that RFC 5024 asks for and the octet that makes it wrong.

Nothing here asks the code under test: layouts, values and allowed cells come from the tables in ``tests/data``.
"""

from collections.abc import Iterator

import attrs

from smartproxy.oftp2.roles import Role
from tests.conformance.cases import HEADER, Case
from tests.conformance.facts import LEVELS, facts
from tests.conformance.malformed_sessions import chains, guards, headers, illegal_cells, negotiations, unknown_commands
from tests.conformance.mutations import MUTATIONS
from tests.conformance.openings import INITIATOR, RESPONDER, Terms
from tests.conformance.spans import spans, wrong_length_at
from tests.conformance.wire import COMMANDS, Wire, framed

#: Where each command may stand.
PLACES = {
    "SSRM": (("AWAIT_SSRM", RESPONDER),),
    "SSID": (("AWAIT_I_SSID", INITIATOR), ("AWAIT_R_SSID", RESPONDER)),
    "SFID": (("IDLE", INITIATOR),),
    "SFPA": (("OPENING", RESPONDER),),
    "SFNA": (("OPENING", RESPONDER),),
    "CDT": (("SENDING-0", RESPONDER),),
    "EFID": (("SENDING", INITIATOR),),
    "EFPA": (("CLOSING", RESPONDER),),
    "EFNA": (("CLOSING", RESPONDER),),
    "ESID": (("IDLE", INITIATOR), ("OPENING", RESPONDER)),
    "CD": (("IDLE", INITIATOR),),
    "EERP": (("IDLE", INITIATOR),),
    "NERP": (("IDLE_TURNED", RESPONDER),),
    "RTR": (("AWAIT_RTR", RESPONDER),),
    "SECD": (("AWAIT_I_SECD", INITIATOR),),
    "AUCH": (("AWAIT_R_AUCH", RESPONDER),),
    "AURP": (("AWAIT_I_AURP", INITIATOR),),
}


def sample(level: int, command: str) -> bytes:
    """A valid buffer whose variable fields are not empty."""
    wire = Wire(level)
    if level == 5:
        rich = {
            "SFID": lambda: wire.sfid(7, "F", 80, 5, 0, "Schrauben für Köln"),
            "SFNA": lambda: wire.sfna(13, "N", "déjà reçu"),
            "EFNA": lambda: wire.efna(99, "full"),
            "ESID": lambda: wire.esid(8, "come back later"),
            "EERP": lambda: wire.eerp(7, bytes(range(20)), bytes(range(130))),
            "NERP": lambda: wire.nerp(7, 34, "unlesbar", bytes(range(20)), bytes(range(130))),
        }
        if command in rich:
            return rich[command]()
    return wire.any(command)


def terms(level: int) -> Terms:
    """The opening's terms at this level."""
    return Terms(level=level)


def cases() -> Iterator[Case]:
    """All of them."""
    for level in LEVELS:
        for command in COMMANDS:
            if command == "DATA" or (level, command) not in facts():
                continue
            for state, sender in PLACES[command]:
                if level == 1 and command != "SSID":
                    continue
                speaker = sender.other if command in ("SFPA", "SFNA", "CDT", "EFPA", "EFNA", "RTR") else sender
                if state == "OPENING":
                    speaker = INITIATOR
                place = _Place(level, command, state, sender, speaker)
                yield from place.fields()
                yield from place.lengths()
    yield from headers()
    yield from unknown_commands()
    yield from illegal_cells()
    yield from chains()
    yield from negotiations()
    yield from guards()


@attrs.frozen
class _Place:
    """One command at one level, where it may stand."""

    level: int
    command: str
    state: str
    sender: Role
    speaker: Role

    def case(self, what: str, buffer: bytes, family: str, at: int, *, field: str | None = None) -> Case:
        return Case(
            name=f"{self.command} level {self.level} in {self.state}: {what}",
            state=self.state,
            speaker=self.speaker,
            terms=terms(self.level),
            sender=self.sender,
            octets=framed(buffer),
            family=family,
            offset=HEADER + at,
            command=self.command,
            field=field,
        )

    def fields(self) -> Iterator[Case]:
        """Each field out of its range in each way."""
        buffer = sample(self.level, self.command)
        for span in spans(self.level, self.command, buffer):
            for what, octets, wrong in MUTATIONS[span.fact.rule](span, span.of(buffer)):
                changed = buffer[: span.start] + octets + buffer[span.start + span.width :]
                family = "BadField"
                if what.startswith("length"):
                    family = "BadLength"
                    found = wrong_length_at(self.level, self.command, changed, len(buffer))
                    if found is None:
                        continue
                    wrong = found - span.start
                field = span.fact.field if family == "BadField" else None
                yield self.case(f"{span.fact.field} {what}", changed, family, span.start + wrong, field=field)

    def lengths(self) -> Iterator[Case]:
        """Cut off at each octet, and with octets behind."""
        buffer = sample(self.level, self.command)
        full = len(buffer)
        for declared in (*range(1, full), full + 1, full + 2, full + 7, full + 300):
            if self.command == "ESID" and (declared == 3 or (declared >= 7 if self.level < 5 else declared == 4)):
                continue  # the default profile takes the layouts of 1.x and of 2.0 at every level
            content = (buffer + b"0" * 300)[:declared]
            found = wrong_length_at(self.level, self.command, content, declared)
            if found is None:
                continue
            yield self.case(f"{declared} octets of {full}", content, "BadLength", found)
