"""The sessions of one daemon that are not over, by their ids."""

from smartproxy.net.driver import SessionDriver
from smartproxy.policy.faults import OwnFault


class LiveSessions:
    """Knows the live sessions, and ends them.

    :ivar live: the sessions that are not over, by id.
    """

    def __init__(self) -> None:
        self.live: dict[str, SessionDriver] = {}

    def portraits(self) -> list[dict[str, object]]:
        """How each of them is now."""
        return [driver.portrait() for driver in self.live.values()]

    def stop(self, fault: OwnFault) -> None:
        """End all of them."""
        for driver in list(self.live.values()):
            driver.stop(fault)

    def close(self, session: str, fault: OwnFault) -> bool:
        """End one; whether it was there."""
        driver = self.live.get(session)
        if driver is not None:
            driver.stop(fault)
        return driver is not None
