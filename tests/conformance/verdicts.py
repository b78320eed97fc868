"""All that a monitor says on a session, gathered so that the cuts of its streams cannot show."""

import attrs

from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.judgement import Observation
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Profile, Role
from smartproxy.oftp2.witness import Agreed, State
from tests.conformance.cuts import Chunks

TOLD = ("rule", "section", "command", "field", "offset", "sender", "state", "position")


@attrs.frozen(kw_only=True)
class Verdicts:
    """What must not depend on how the streams were cut.

    :ivar passed: what was let pass of each side.
    :ivar discarded: how many octets of each side came after the end.
    :ivar told: the error's class and all that it says.
    """

    passed: dict[Role, bytes]
    discarded: dict[Role, int]
    observations: list[Observation]
    told: tuple[object, ...]
    state: State
    speaker: Role | None
    agreed: Agreed | None
    ended: bool

    @property
    def anomalies(self) -> set[int]:
        """Numbers of the tolerated departures that were seen."""
        return {anomaly.number for seen in self.observations for anomaly in seen.anomalies}


def told(error: ProtocolError | None) -> tuple[object, ...]:
    """All that an error says; nothing if there is none."""
    if error is None:
        return ()
    if not isinstance(error, ProtocolError):
        raise AssertionError(f"not of the family: {error!r}")
    return (type(error).__name__, int(error.reason), *(getattr(error, name) for name in TOLD))


def verdicts(
    chunks: Chunks, profile: Profile = Profile.DEFAULT, *, before: Chunks | None = None, observe_data: bool = True
) -> Verdicts:
    """Put a session through a monitor that has seen ``before``; stop at the first error."""
    monitor = Monitor(profile, observe_data=observe_data)
    for sender, octets in before or ():
        monitor.judge(sender, octets)
    passed = {role: bytearray() for role in Role}
    discarded = dict.fromkeys(Role, 0)
    observations: list[Observation] = []
    for sender, octets in chunks:
        judgement = monitor.judge(sender, octets)
        passed[sender] += judgement.octets
        discarded[sender] += judgement.discarded
        observations += judgement.observations
        if judgement.error is not None:
            break
    return Verdicts(
        passed={role: bytes(octets) for role, octets in passed.items()},
        discarded=discarded,
        observations=observations,
        told=told(monitor.error),
        state=monitor.state,
        speaker=monitor.speaker,
        agreed=monitor.agreed,
        ended=monitor.ended,
    )
