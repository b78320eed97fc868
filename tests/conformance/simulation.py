"""A session of two simulated entities with a witness between them, cut and delayed at random.

``simulate`` plays one session to its end; what goes wrong is raised with the seed that shows it again.
"""

from collections.abc import Callable
from itertools import accumulate
from random import Random

import attrs

from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Profile, Role
from tests.conformance.random_user import Party
from tests.conformance.section9 import SimulationFault
from tests.conformance.wire import COMMANDS, framed

STEPS = 100_000
#: Names for sizes of Data Exchange Buffers.
SPANS = (("smallest buffers", 128, 128), ("small buffers", 129, 1023), ("large buffers", 32768, 99999))


@attrs.define(kw_only=True)
class Outcome:
    """What a session came to, for the statistics that show that the simulation is worth something."""

    steps: int = 0
    octets: int = 0
    ended: str = ""
    anomalies: int = 0
    injected: str | None = None
    features: set[str] = attrs.Factory(set)


class Simulation:
    """One session: two entities, four stretches of line and the witness in the middle."""

    def __init__(self, seed: int | str, profile: Profile, make: Callable[[Profile], Monitor]) -> None:
        self.rng = rng = Random(seed)
        authentication = rng.random() < 0.25
        self.monitor = make(profile)
        self.entities = {
            Role.INITIATOR: Party(rng, caller=True, authentication=authentication),
            Role.RESPONDER: Party(rng, caller=False, authentication=authentication),
        }
        self.taken = dict.fromkeys(Role, 0)
        self.relayed = {role: bytearray() for role in Role}
        self.delivered = dict.fromkeys(Role, 0)
        self.discarded = dict.fromkeys(Role, 0)
        self.outcome = Outcome()
        self.actions: list[Callable[[], bool]] = []
        for role in Role:
            self.actions += [
                lambda role=role: self.entities[role].act(),  # type: ignore[misc]  # the lambda binds its role
                lambda role=role: self.reach_witness(role),  # type: ignore[misc]  # the same
                lambda role=role: self.reach_peer(role),  # type: ignore[misc]  # the same
            ]
        self.weights = list(accumulate(rng.choice((1, 1, 2, 5, 25)) for _ in self.actions))
        self.cutting = rng.choice((0.0, 0.2, 0.7))

    def _cut(self, waiting: int) -> int:
        rng = self.rng
        if rng.random() >= self.cutting:
            return waiting
        return rng.randint(1, min(waiting, rng.choice((1, 5, 40, 5000))))

    def reach_witness(self, role: Role) -> bool:
        """Some of what the entity sent reaches the witness, which judges it."""
        sent, start = self.entities[role].sent, self.taken[role]
        if len(sent) == start:
            return False
        end = start + self._cut(len(sent) - start)
        self.taken[role] = end
        judgement = self.monitor.judge(role, bytes(sent[start:end]))
        if judgement.error is not None:
            raise SimulationFault(f"false refusal of {role.name} at octets {start} to {end}: {judgement.error!r}")
        self.relayed[role] += judgement.octets
        self.discarded[role] += judgement.discarded
        for observation in judgement.observations:
            self.outcome.anomalies += len(observation.anomalies)
            self.outcome.features.add(f"{observation.command} from {role.name}")
        return True

    def reach_peer(self, role: Role) -> bool:
        """Some of what the witness let pass reaches the other entity."""
        relayed, start = self.relayed[role], self.delivered[role]
        if len(relayed) == start:
            return False
        end = start + self._cut(len(relayed) - start)
        self.delivered[role] = end
        self.entities[role.other].receive(bytes(relayed[start:end]))
        return True

    def step(self) -> bool:
        """One random thing happens; False when nothing is left to happen."""
        self.outcome.steps += 1
        lot = self.rng.random() * self.weights[-1]
        first = next(index for index, weight in enumerate(self.weights) if lot < weight)
        actions = self.actions
        return any(actions[(first + turn) % len(actions)]() for turn in range(len(actions)))

    def run(self) -> Outcome:
        """Play the session to its end and compare what went in with what came out."""
        for entity in self.entities.values():
            entity.connect()
        while self.step():
            if self.outcome.steps > STEPS:
                raise SimulationFault("the session does not end")
        states = {entity.state for entity in self.entities.values()}
        if not states <= {"IDLE", "WF_NDISC"} or not self.monitor.ended:
            raise SimulationFault(f"the session stopped in {states}, witness in {self.monitor.state}")
        for role in Role:
            sent, relayed = self.entities[role].sent, self.relayed[role]
            if not sent.startswith(relayed):
                raise SimulationFault(f"octets of {role.name} were altered")
            lost = len(sent) - len(relayed)
            if lost and not any(entity.aborted for entity in self.entities.values()):
                raise SimulationFault(f"{lost} octets of {role.name} were lost in a session without abort")
            if not 0 <= self.discarded[role] <= lost:
                raise SimulationFault(f"{self.discarded[role]} octets of {role.name} said to be discarded, {lost} were")
            self.outcome.octets += len(relayed)
        self.outcome.features |= self.agreement()
        released = any(entity.released for entity in self.entities.values())
        self.outcome.ended = "released" if released else "aborted"
        return self.outcome

    def inject(self) -> Outcome:
        """Stop at a quiet moment, let one side send any command, and ask witness and receiver about it."""
        for entity in self.entities.values():
            entity.connect()
        moment = self.rng.randint(3, 60)
        quiet = False
        while self.step():
            quiet = self.outcome.steps >= moment and self.settled()
            if quiet:
                break
        if not quiet or self.monitor.ended:
            return self.outcome
        sender = self.rng.choice(tuple(Role))
        receiver = self.entities[sender.other]
        if receiver.state in ("IDLE", "WF_NDISC"):
            return self.outcome
        command = self.rng.choice(COMMANDS)
        if command == "ESID" or not receiver.wire.knows(command):
            return self.outcome
        before = self.monitor.state
        error = self.monitor.judge(sender, framed(receiver.wire.any(command))).error
        self.outcome.injected = f"{command} {receiver.state}"
        if (error is None) != receiver.judgement(command):
            raise SimulationFault(
                f"{command} from {sender.name} in {before}: the receiver in {receiver.state} "
                f"{'takes' if receiver.judgement(command) else 'refuses'} it, the witness says {error!r}"
            )
        return self.outcome

    def agreement(self) -> set[str]:
        """What the two entities agreed on; the witness must have understood the same."""
        agreed, entity = self.monitor.agreed, self.entities[Role.INITIATOR]
        if agreed is None:
            return {"no agreement"}
        seen = (agreed.level, agreed.buffer_size, agreed.credit, agreed.compression, agreed.restart)
        meant = (entity.level, entity.buf_size, entity.window, entity.compression, entity.restart)
        if seen[1:] != meant[1:] or max(seen[0], 2) != meant[0]:
            raise SimulationFault(f"the witness understood {seen}, the Initiator {meant}")
        found = {f"level {agreed.level:d}", f"senders {''.join(sorted(role.value for role in agreed.senders))}"}
        found |= {name for name in ("compression", "restart", "authentication") if getattr(agreed, name)}
        return found | {name for name, low, high in SPANS if low <= agreed.buffer_size <= high}

    def settled(self) -> bool:
        """Nothing is on its way."""
        return all(
            self.taken[role] == len(self.entities[role].sent) and self.delivered[role] == len(self.relayed[role])
            for role in Role
        )


def simulate(
    seed: int | str, profile: Profile, make: Callable[[Profile], Monitor] = Monitor, *, inject: bool = False
) -> Outcome:
    """Play the session of this seed; every failure names the seed."""
    simulation = Simulation(seed, profile, make)
    try:
        return simulation.inject() if inject else simulation.run()
    except SimulationFault as fault:
        raise SimulationFault(f"seed {seed!r}, profile {profile.value}, inject={inject}: {fault}") from fault
