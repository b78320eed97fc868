"""The sessions of all workers, as their daemon sees them: one set, wherever each of them runs."""

from collections.abc import Mapping
from typing import Any

from smartproxy.net.drain import DrainWait
from smartproxy.policy.faults import OwnFault
from smartproxy.workers.crew import Crew


class CrewSessions:
    """What :class:`~smartproxy.net.sessions.LiveSessions` is to a daemon that is one process.

    :param crew: the workers.
    """

    def __init__(self, reactor: Any, crew: Crew) -> None:
        self._crew = crew
        self._wait = DrainWait(reactor, self)
        crew.empty = self._wait.finished
        self._portraits: list[dict[str, object]] = []

    @property
    def live(self) -> Mapping[str, object]:
        """The worker of each, by its id."""
        return self._crew.live

    async def look(self) -> None:
        """Ask the workers for the state of their sessions."""
        self._portraits = await self._crew.portraits()

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
        """See :meth:`~smartproxy.net.sessions.LiveSessions.drain`."""
        await self._wait.run(seconds, closing)

    def hurry(self) -> None:
        """Wait no longer for sessions to end by themselves."""
        self._wait.hurry()
