"""The server's events on their way to the backend.

A bounded queue that outlives tunnels: what happened while there was none is told when there is one again. Events go in
batches, one batch at a time, each until it is acknowledged; a batch whose acknowledgment got lost goes again (events
are numbered, so the backend can tell). When too many wait, the oldest go first, and how many is an event itself.
"""

from collections import deque
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred

from smartproxy.policy import limits
from smartproxy.tunnel.arguments import Plain, line
from smartproxy.tunnel.interfaces import Emit


class ReportQueue:
    """Events in order.

    :param send: sends a batch through whatever tunnel there is; fires with whether it arrived, and never fails.
    """

    def __init__(self, send: Callable[[list[bytes]], Deferred[bool]], emit: Emit) -> None:
        self._send = send
        self._emit = emit
        self._waiting: deque[bytes] = deque()
        self._sending = False
        self._dropped = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, event: Mapping[str, Plain]) -> None:
        """Queue one event and send what waits, if there is a tunnel."""
        try:
            octets = line(event)
        except (TypeError, ValueError):
            self._dropped += 1
            return
        if len(self._waiting) >= limits.REPORTS_WAITING_MOST:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(octets)
        self.flush()

    def flush(self) -> None:
        """Send what waits, if nothing is on its way."""
        if self._sending or not self._waiting:
            return
        self._sending = True
        batch = self._batch()
        self._send(batch).addCallback(self._sent, batch)

    def _batch(self) -> list[bytes]:
        batch = [self._waiting.popleft()]
        size = len(batch[0])
        while self._waiting and size + len(self._waiting[0]) < limits.REPORTS_OCTETS:
            batch.append(self._waiting.popleft())
            size += len(batch[-1]) + 1
        return batch

    def _sent(self, arrived: bool, batch: list[bytes]) -> None:
        self._sending = False
        if not arrived:
            # The next tunnel, or the next event, starts it again.
            self._waiting.extendleft(reversed(batch))
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._emit("events.dropped", count=dropped, cause="too many events waited for the tunnel", daemon="server")
        self.flush()
