"""Every cell of (state, sender, command), what sections 9.8 to 9.12 say of it, and whether the monitor agrees.

The expected table is ``tests/data/witness.tsv``, taken from the RFC's tables and not from the code.
"""

from collections.abc import Iterable, Iterator

from smartproxy.oftp2.errors import CreditExceeded, UnexpectedCommand
from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.conversation import Conversation
from tests.conformance.malformed_sessions import allowed_cells, sides
from tests.conformance.openings import INITIATOR, STATES
from tests.conformance.wire import COMMANDS, Wire, framed

WIRE = Wire(5)
#: The variants in which a command stands in the table of facts.
VARIANTS = {
    "EFPA": {"EFPA(N)": b"4N", "EFPA(Y)": b"4Y"},
    "ESID": {"ESID(99)": WIRE.esid(99), "ESID(00)": WIRE.esid(0)},
}
#: Commands after which the other side is the Speaker.
TURNS = {("IDLE", "CD"), ("AWAIT_CD", "CD")}


def variants(command: str) -> dict[str, bytes]:
    """A command's variants and their octets."""
    return VARIANTS.get(command, {command: WIRE.any(command)})


def cells() -> Iterator[tuple[str, Role, Role, str, bytes]]:
    """(state, Speaker, sender, variant, octets) of every cell."""
    for state in STATES[:-1]:
        for speaker in Role if STATES.index(state) >= 9 else (INITIATOR,):
            for sender in Role:
                for command in COMMANDS:
                    for variant, buffer in variants(command).items():
                        yield state, speaker, sender, variant, buffer


def normal_end(state: str, profile: Profile, side: str) -> bool:
    """Whether ESID 00 passes: 9.12 F alone; by default wherever ESID does once both SSIDs are exchanged."""
    if STATES.index(state) < 3:
        return False
    return profile is Profile.DEFAULT or (state == "IDLE_TURNED" and side == "S")


def after(state: str, speaker: Role, sender: Role, variant: str, profile: Profile) -> str | None:
    """The state that an allowed command leads to; ``None`` for one that must be refused."""
    side = sides(state, speaker, sender)
    if variant == "ESID(00)":
        return "ENDED" if normal_end(state, profile, side) else None
    return allowed_cells().get((state, side, variant))


def disagreement(
    state: str, speaker: Role, sender: Role, variant: str, buffer: bytes, profile: Profile, *, whole: bool = True
) -> str | None:
    """What the monitor does else than the cell says; ``None`` if it agrees. ``whole`` or octet by octet."""
    command = variant.partition("(")[0]
    conversation = Conversation(state, speaker, profile=profile)
    octets = framed(buffer)
    pieces = [octets] if whole else [octets[index : index + 1] for index in range(len(octets))]
    judgements = [conversation.judge(sender, piece) for piece in pieces]
    error = next((judgement.error for judgement in judgements if judgement.error is not None), None)
    passed = b"".join(judgement.octets for judgement in judgements)
    expected = after(state, speaker, sender, variant, profile)
    if expected is None:
        # where ESID may stand it is the reason's last digit that makes 00 wrong
        by_reason = command == "ESID" and after(state, speaker, sender, "ESID(99)", profile) is not None
        return refusal(error, passed, 6 if by_reason else 4)
    if error is not None or passed != octets:
        return f"refused or changed: {error!r}"
    monitor = conversation.monitor
    found = "ENDED" if monitor.ended else monitor.state.name
    if found != expected.removesuffix("-0"):
        return f"leads to {found}, expected {expected}"
    turned = speaker.other if (state, variant) in TURNS else speaker
    if expected != "ENDED" and STATES.index(expected) >= 9 and monitor.speaker is not turned:
        return f"the Speaker is {monitor.speaker}"
    return None


def refusal(error: object, passed: bytes, offset: int) -> str | None:
    """What is wrong with a refusal; ``None`` if it is as it should be."""
    if not isinstance(error, (UnexpectedCommand, CreditExceeded)):
        return f"not refused, or not so: {error!r}"
    if passed:
        return "refused, but passed"
    if error.reason != 2 or error.offset != offset:
        return f"reason {error.reason:d} at {error.offset}, expected 2 at {offset}"
    return None


def disagreements(states: Iterable[str]) -> Iterator[str]:
    """All disagreements about these states, in both profiles, whole and octet by octet."""
    chosen = set(states)
    for state, speaker, sender, variant, buffer in cells():
        if state in chosen:
            for profile in Profile:
                for whole in (True, False):
                    found = disagreement(state, speaker, sender, variant, buffer, profile, whole=whole)
                    if found is not None:
                        where = f"{variant} from {sender.name} in {state}, Speaker {speaker.name}"
                        yield f"{where}, {profile.value}: {found}"


def disagreements_after(states: Iterable[str]) -> Iterator[str]:
    """All disagreements about what may follow the allowed commands of these states, credit included."""
    allowed = allowed_cells()
    chosen = set(states)
    for state, speaker, sender, variant, buffer in cells():
        following = allowed.get((state, sides(state, speaker, sender), variant))
        if state not in chosen or following is None or following == "ENDED":
            continue
        then = speaker.other if (state, variant) in TURNS else speaker
        for next_sender in Role:
            for command in set(COMMANDS) - {"ESID"}:
                for other, octets in variants(command).items():
                    conversation = Conversation(state, speaker)
                    conversation.says(sender, buffer)
                    expected = (following, sides(following, then, next_sender), other) in allowed
                    error = conversation.judge(next_sender, framed(octets)).error
                    if (error is None) != expected:
                        yield f"{other} from {next_sender.name} after {variant} in {state}: {error!r}"
