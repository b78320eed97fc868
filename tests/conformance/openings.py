"""Conversations that bring a session into each state of the witness, written by hand from RFC 5024 section 4."""

import attrs

from smartproxy.oftp2.roles import Role
from tests.conformance.wire import Wire, framed

INITIATOR, RESPONDER = Role.INITIATOR, Role.RESPONDER

CONNECTING = ("AWAIT_SSRM", "AWAIT_I_SSID", "AWAIT_R_SSID")
AUTHENTICATING = ("AWAIT_I_SECD", "AWAIT_R_AUCH", "AWAIT_I_AURP", "AWAIT_R_SECD", "AWAIT_I_AUCH", "AWAIT_R_AURP")
OPEN = ("IDLE", "IDLE_TURNED", "AWAIT_RTR", "OPENING", "SENDING", "SENDING-0", "CLOSING", "CLOSING-0", "AWAIT_CD")
STATES = (*CONNECTING, *AUTHENTICATING, *OPEN, "ENDED")


@attrs.frozen(kw_only=True)
class Terms:
    """What the two SSIDs of an opening say."""

    level: int = 5
    size: int = 1024
    answer_size: int | None = None
    modes: str = "BB"
    flags: str = "YY"
    window: int = 2
    answer_window: int | None = None


TERMS = Terms()


def handshake(terms: Terms, *, authentication: bool = False) -> list[tuple[Role, bytes]]:
    """SSRM and both SSIDs."""
    wire = Wire(terms.level)
    first, second = terms.modes[0], terms.modes[1]
    size = terms.size if terms.answer_size is None else terms.answer_size
    window = terms.window if terms.answer_window is None else terms.answer_window
    return [
        (RESPONDER, b"IODETTE FTP READY \r"),
        (INITIATOR, wire.ssid("O0099PARTNER", terms.size, first, terms.flags, terms.window, authentication)),
        (RESPONDER, wire.ssid("O0013STATION", size, second, terms.flags, window, authentication)),
    ]


def opening(state: str, speaker: Role = INITIATOR, terms: Terms = TERMS, restart: int = 0) -> list[tuple[Role, bytes]]:
    """The Exchange Buffers, each with its sender, after which the session is in ``state`` with this Speaker."""
    wire = Wire(terms.level)
    if state in CONNECTING:
        return handshake(terms)[: CONNECTING.index(state)]
    if state in AUTHENTICATING:
        steps = [
            (s, wire.any(c))
            for s, c in zip(
                (INITIATOR, RESPONDER, INITIATOR, RESPONDER, INITIATOR),
                ("SECD", "AUCH", "AURP", "SECD", "AUCH"),
                strict=True,
            )
        ]
        return handshake(terms, authentication=True) + steps[: AUTHENTICATING.index(state)]
    talk = handshake(terms)
    if state == "IDLE_TURNED":
        return (
            [*talk, (INITIATOR, b"R")]
            if speaker is RESPONDER
            else [*talk, (INITIATOR, b"R"), *_turn(wire, RESPONDER), (RESPONDER, b"R")]
        )
    if speaker is RESPONDER:
        talk += [(INITIATOR, b"R"), *_turn(wire, RESPONDER)]
    listener = speaker.other
    file = [(speaker, wire.sfid(1, "U", 0, 1, restart, "")), (listener, wire.sfpa(0))]
    data = [(speaker, wire.any("DATA"))] * min(terms.window, terms.answer_window or terms.window)
    return (
        talk
        + {
            "IDLE": [],
            "AWAIT_RTR": [(speaker, wire.any("EERP"))],
            "OPENING": file[:1],
            "SENDING": file,
            "SENDING-0": file + data,
            "CLOSING": [*file, (speaker, wire.efid(0, 0))],
            "CLOSING-0": [*file, *data, (speaker, wire.efid(0, len(data)))],
            "AWAIT_CD": [*file, (speaker, wire.efid(0, 0)), (listener, b"4Y")],
            "ENDED": [(speaker, wire.any("ESID"))],
        }[state]
    )


def _turn(wire: Wire, speaker: Role) -> list[tuple[Role, bytes]]:
    """One end response, after which the Speaker is no longer one who has just been given the turn."""
    return [(speaker, wire.any("EERP")), (speaker.other, wire.any("RTR"))]


def streamed(talk: list[tuple[Role, bytes]]) -> list[tuple[Role, bytes]]:
    """The same conversation as Stream Transmission Buffers."""
    return [(role, framed(buffer)) for role, buffer in talk]
