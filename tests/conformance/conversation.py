"""A session in words: who says what, what the monitor lets pass and what it refuses."""

from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.judgement import Judgement
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.openings import INITIATOR, TERMS, Terms, opening
from tests.conformance.wire import Wire, framed


class Conversation:
    """A monitor and what it was told so far.

    :ivar anomalies: the numbers of the tolerated departures, in the order in which they were seen.
    """

    def __init__(
        self,
        state: str = "AWAIT_SSRM",
        speaker: Role = INITIATOR,
        *,
        profile: Profile = Profile.DEFAULT,
        terms: Terms = TERMS,
        restart: int = 0,
    ) -> None:
        self.monitor = Monitor(profile)
        self.wire = Wire(terms.level)
        self.anomalies: list[int] = []
        for sender, buffer in opening(state, speaker, terms, restart):
            self.says(sender, buffer)

    def judge(self, sender: Role, octets: bytes) -> Judgement:
        """Octets of a stream, as they are."""
        judgement = self.monitor.judge(sender, octets)
        for observation in judgement.observations:
            self.anomalies += [anomaly.number for anomaly in observation.anomalies]
        return judgement

    def says(self, sender: Role, *buffers: bytes) -> None:
        """Exchange Buffers that must pass unchanged."""
        for buffer in buffers:
            octets = framed(buffer)
            judgement = self.judge(sender, octets)
            if judgement.error is not None:
                raise AssertionError(f"refused {buffer[:1]!r} from {sender.name}: {judgement.error!r}")
            if judgement.octets != octets:
                raise AssertionError(f"{buffer[:1]!r} from {sender.name} was changed")

    def refuses(self, sender: Role, buffer: bytes) -> ProtocolError:
        """Return the error that an Exchange Buffer must give; nothing of it may pass."""
        judgement = self.judge(sender, framed(buffer))
        if judgement.error is None:
            raise AssertionError(f"let pass {buffer[:1]!r} from {sender.name} in {self.monitor.state}")
        if judgement.octets:
            raise AssertionError(f"{len(judgement.octets)} octets passed together with an error")
        return judgement.error
