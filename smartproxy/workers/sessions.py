"""The sessions of all workers, as their daemon sees them: one set, wherever each of them runs.

What workers tell of their sessions is judged: a worker is taken for hostile.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.logs.emit import Events
from smartproxy.net.drain import DrainWait
from smartproxy.policy import limits
from smartproxy.policy.faults import OwnFault
from smartproxy.policy.portraits import AgedPortrait
from smartproxy.policy.schema import read_object, write_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.tunnel.boxes import Plain
from smartproxy.workers.crew import Crew
from smartproxy.workers.members import CrewMember
from smartproxy.workers.words import Portraits

WORKER_ANSWER_SECONDS: Final = 2.0
"""So long a worker is waited for when somebody looks at sessions: an operator asks because something hangs."""
_PORTRAITS_MOST: Final = 10_000


class CrewSessions:
    """What :class:`~smartproxy.net.sessions.LiveSessions` is to a daemon that is one process.

    :param events: where it is told that a worker answered what it may not.
    :param crew: the workers.
    """

    def __init__(self, reactor: Any, events: Events, crew: Crew) -> None:
        self._crew = crew
        self._clock = reactor
        self._events = events
        self._wait = DrainWait(reactor, self)
        crew.empty = self._wait.finished
        self._portraits: list[dict[str, object]] = []

    @property
    def live(self) -> Mapping[str, object]:
        """The worker of each, by its id."""
        return self._crew.live

    async def look(self) -> None:
        """Ask the workers for the state of their sessions."""
        self._portraits = await portraits(self._crew.members, self._events, self._clock)

    def portraits(self) -> list[dict[str, object]]:
        """The state of each session when it was looked at last."""
        return [dict(portrait) for portrait in self._portraits]

    def close(self, session: str, fault: OwnFault) -> bool:
        """End a session; whether it was there."""
        return self._crew.end_session(session, fault)

    def stop(self, fault: OwnFault) -> None:
        """End all sessions."""
        for session in list(self.live):
            self.close(session, fault)

    async def drain(self, seconds: float, closing: float) -> None:
        """Let sessions end by themselves for so long, and then end them, for which they have the closing time."""
        await self._wait.run(seconds, closing)

    def hurry(self) -> None:
        """Wait no longer for sessions to end by themselves."""
        self._wait.hurry()


async def portraits(members: Iterable[CrewMember], events: Events, clock: IReactorTime) -> list[dict[str, object]]:
    """The state of each session, but those of a silent worker; ``since`` is in the clock's seconds.

    What one worker tells that is no portrait of its sessions is left out, and reported as a bug.
    """
    asked = [Deferred.fromCoroutine(_portraits_of(member, events, clock)) for member in members]
    found: list[dict[str, object]] = []
    looks: list[tuple[bool, Any]] = await DeferredList(asked, consumeErrors=True)
    for answered, told in looks:
        if answered:
            found += told
        else:
            events.failure("smartproxy.workers.sessions", told)
    return found[:_PORTRAITS_MOST]


async def _portraits_of(member: CrewMember, events: Events, clock: IReactorTime) -> list[dict[str, object]]:
    told: list[dict[str, object]] = []
    after = ""
    for _ in range(limits.PORTRAIT_PAGES_MOST):
        try:
            answer = await member.link.ask(Portraits, after=after, seconds=WORKER_ANSWER_SECONDS)
        except Exception:
            break
        page: list[dict[str, Plain]] = answer["portraits"] or []
        before = after
        for document in page:
            try:
                portrait = read_object(AgedPortrait, document, "portrait")
            except DocumentRefused:
                events.failure("smartproxy.workers.sessions", Failure())
                continue
            after = max(after, portrait.session)
            if portrait.session in member.sessions:
                begun = clock.seconds() - portrait.since
                told.append({**write_object(portrait), "since": begun, "pid": member.pid})
        if after == before:
            break
    return told
