"""Malformed cases beyond single fields: headers, unknown commands, illegal cells, chains, negotiation, restart."""

from collections.abc import Iterator
from functools import cache

from smartproxy.oftp2.roles import Role
from tests.conformance.cases import HEADER, Case
from tests.conformance.facts import table
from tests.conformance.openings import CONNECTING, INITIATOR, RESPONDER, STATES, TERMS, Terms
from tests.conformance.spans import first_impossible_octet
from tests.conformance.wire import COMMANDS, OCTETS, Wire, framed

#: Cells that only the credit forbids.
CREDIT_CELLS = {("SENDING-0", "S", "DATA"), ("SENDING", "L", "CDT"), ("CLOSING", "L", "CDT")}


def headers() -> Iterator[Case]:
    """Stream Transmission Headers that section 8.2 does not allow, or that promise more than the state can need."""
    for state, sender in (
        ("AWAIT_I_SSID", INITIATOR),
        ("IDLE", INITIATOR),
        ("SENDING", INITIATOR),
        ("OPENING", RESPONDER),
    ):
        for first in range(256):
            if first != 0x10:
                yield Case(
                    name=f"header {first:02x} in {state}",
                    state=state,
                    sender=sender,
                    octets=bytes((first,)) + b"\x00\x00\x05R",
                    family="StreamHeaderError",
                    offset=0,
                )
        for length in range(5):
            yield Case(
                name=f"header length {length} in {state}",
                state=state,
                sender=sender,
                octets=b"\x10" + length.to_bytes(3, "big") + b"R",
                family="BadLength",
                offset=3,
            )
        ceiling = 1010 if state == "AWAIT_I_SSID" else 100003
        for length in (ceiling + 1, ceiling + 2, 2 * ceiling, 100004, 100005, 0x01FFFF, 0x020000, 0x0FFFFF, 0xFFFFFF):
            wrong = first_impossible_octet(length.to_bytes(3, "big"), [(5, ceiling)])
            assert wrong is not None
            yield Case(
                name=f"header length {length} in {state}",
                state=state,
                sender=sender,
                octets=b"\x10" + length.to_bytes(3, "big") + b"H",
                family="BadLength",
                offset=1 + wrong,
                exact=False,
            )


def unknown_commands() -> Iterator[Case]:
    """Command octets that no release level has, and those that the agreed one lacks."""
    for state, sender in (("AWAIT_I_SSID", INITIATOR), ("IDLE", INITIATOR), ("OPENING", RESPONDER)):
        for octet in range(256):
            if bytes((octet,)) not in OCTETS:
                yield Case(
                    name=f"command {octet:02x} in {state}",
                    state=state,
                    sender=sender,
                    octets=framed(bytes((octet,)) + b" " * 60),
                    family="UnknownCommand",
                    offset=HEADER,
                )
    for level in (1, 2, 4):
        for command in COMMANDS:
            if not Wire(level).knows(command):
                yield Case(
                    name=f"{command} at level {level}",
                    state="IDLE",
                    terms=Terms(level=level),
                    sender=INITIATOR,
                    octets=framed(Wire(level).any(command)),
                    family="UnknownCommand",
                    offset=HEADER,
                )


@cache
def allowed_cells() -> dict[tuple[str, str, str], str]:
    """The table of facts: {(state, sender, command with its variant): next state}."""
    return {(row["state"], row["sender"], row["command"]): row["next"] for row in table("witness.tsv")}


def sides(state: str, speaker: Role, sender: Role) -> str:
    """How the table of facts names a sender in this state."""
    if state in STATES[:9]:
        return sender.value
    return "S" if sender is speaker else "L"


def illegal_cells() -> Iterator[Case]:
    """Every (state, sender, command) that sections 9.8 to 9.12 do not have, with either side as the Speaker."""
    allowed = {(state, sender, command.partition("(")[0]) for state, sender, command in allowed_cells()}
    for state in STATES:
        if state == "ENDED":
            continue
        for speaker in (INITIATOR, RESPONDER) if STATES.index(state) >= 9 else (INITIATOR,):
            for sender in (INITIATOR, RESPONDER):
                side = sides(state, speaker, sender)
                for command in COMMANDS:
                    if (state, side, command) in allowed:
                        continue
                    credit = (state, side, command) in CREDIT_CELLS
                    yield Case(
                        name=f"{command} from {side} in {state}, Speaker {speaker.name}",
                        state=state,
                        speaker=speaker,
                        sender=sender,
                        octets=framed(Wire(5).any(command)),
                        family="CreditExceeded" if credit else "UnexpectedCommand",
                        command=command,
                        offset=HEADER,
                        exact=state not in CONNECTING,
                    )


def _data(name: str, payload: bytes, family: str, at: int, *, exact: bool = True, offer: Terms = TERMS) -> Case:
    return Case(
        name=name,
        state="SENDING",
        sender=INITIATOR,
        terms=offer,
        octets=framed(b"D" + payload),
        family=family,
        offset=HEADER + 1 + at if at >= 0 else HEADER,
        exact=exact,
        command="DATA" if exact else None,
    )


def chains() -> Iterator[Case]:
    """DATA whose subrecords do not end where the buffer ends, are compressed unasked, or are too long (section 7)."""
    starts = (
        (b"", "first"),
        (b"\x01A", "second"),
        (b"\x00\x00\x80", "fourth"),
        (b"\x3f" + bytes(63), "after a full one"),
    )
    for start, place in starts:
        for count in range(1, 64):
            for flag in (0, 0x80):
                payload = start + bytes((flag | count,)) + b"x" * (count - 1)
                yield _data(f"{place} subrecord {flag | count:02x} overruns by 1", payload, "BadSubrecord", len(start))
        for count in (2, 17, 63):
            payload = start + bytes((count,))
            yield _data(f"{place} subrecord {count:02x} is missing", payload, "BadSubrecord", len(start))
        for header in (0x40, 0x41, 0x7F, 0xC0, 0xFF):
            yield _data(
                f"{place} compressed {header:02x} lacks its octet", start + bytes((header,)), "BadSubrecord", len(start)
            )
            for flags in ("NY", "NN"):
                payload = start + bytes((header,)) + b"x"
                yield _data(
                    f"{place} compressed {header:02x}, {flags}",
                    payload,
                    "CompressionRefused",
                    len(start),
                    offer=Terms(flags=flags),
                )
    for size in (128, 129, 200, 1024, 9999):
        for more in (2, 3, 60):
            payload = b"\x00" * (size - 1 + more)
            for answer in (None, size):
                offered = size if answer is None else 2 * size
                name = f"{size + more} octets of {size}, offered {offered}"
                yield _data(name, payload, "BadLength", -1, exact=False, offer=Terms(size=offered, answer_size=answer))


def negotiations() -> Iterator[Case]:
    """Two SSIDs, each right, that do not go together (section 5.3.2)."""
    last = HEADER + 60

    def answer(name: str, family: str, offer: Terms, octets: bytes) -> Case:
        return Case(
            name=name,
            state="AWAIT_R_SSID",
            terms=offer,
            sender=RESPONDER,
            octets=octets,
            family=family,
            offset=last,
            exact=False,
        )

    wire = Wire(5)
    for mode in "SR":
        ssid = wire.ssid("O0013STATION", 1024, mode, "NN", 2, False)
        yield answer(f"SR {mode} against {mode}", "Incompatible", Terms(modes=mode * 2), framed(ssid))
    for window, credit in ((1, 2), (1, 999), (64, 65), (998, 999)):
        ssid = wire.ssid("O0013STATION", 1024, "B", "NN", credit, False)
        yield answer(f"credit {credit} for {window}", "CreditExceeded", Terms(window=window), framed(ssid))
    ssid = wire.ssid("O0013STATION", 1024, "B", "NN", 2, True)
    yield answer("authentication Y for N", "AuthenticationMismatch", TERMS, framed(ssid))


def guards() -> Iterator[Case]:
    """Restart positions and directions that were not agreed (predicates P1 and P2 of sections 9.10 and 9.12)."""
    for level in (2, 4, 5):
        wire = Wire(level)
        rest = 138 if level == 5 else 119
        width = 17 if level == 5 else 9
        for flags, position in (("YN", 1), ("NN", 5), ("YN", 10**width - 1)):
            for state in ("IDLE", "IDLE_TURNED"):
                yield Case(
                    name=f"restart at {position} with {flags}, level {level}, {state}",
                    state=state,
                    sender=INITIATOR,
                    terms=Terms(level=level, flags=flags),
                    octets=framed(wire.sfid(7, "U", 0, 5, position, "")),
                    family="RestartRefused",
                    offset=HEADER + rest + width - 1,
                    exact=False,
                )
        for position, count in ((0, 1), (5, 6), (999, 1000), (0, 10**width - 1)):
            yield Case(
                name=f"answer {count} to restart at {position}, level {level}",
                state="OPENING",
                restart=position,
                sender=RESPONDER,
                terms=Terms(level=level),
                octets=framed(wire.sfpa(count)),
                family="RestartRefused",
                offset=HEADER + width,
                exact=False,
            )
        for form in "TU":
            buffer = wire.sfid(7, form, 80, 5, 0, "")
            yield Case(
                name=f"record length in format {form}, level {level}",
                state="IDLE",
                sender=INITIATOR,
                terms=Terms(level=level),
                octets=framed(buffer),
                family="BadField",
                offset=HEADER + 111,
                exact=False,
            )
        for modes, sender in (
            ("RS", INITIATOR),
            ("RB", INITIATOR),
            ("BS", INITIATOR),
            ("SR", RESPONDER),
            ("BR", RESPONDER),
            ("SB", RESPONDER),
        ):
            for state in ("IDLE", "IDLE_TURNED"):
                yield Case(
                    name=f"file from {sender.name} with {modes}, level {level}, {state}",
                    state=state,
                    speaker=sender,
                    sender=sender,
                    terms=Terms(level=level, modes=modes),
                    octets=framed(wire.sfid(7, "U", 0, 5, 0, "")),
                    family="UnexpectedCommand",
                    offset=HEADER,
                    exact=False,
                )
