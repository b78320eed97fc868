"""Events on their way from a client to its backend.

Duty: bring them in batches that the backend takes, tell which one it never takes, and how many were lost while it was
away. What waits, and for how long, is the carrier's matter (:mod:`smartproxy.logs.carrier`).
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Any

import attrs

from smartproxy.client.backend import Backend, BackendRefused
from smartproxy.logs.carrier import BatchFailed, BatchRefused, Carrier, Document, fitting, is_urgent
from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from smartproxy.policy.limits import API_EVENTS_OCTETS_SENT, API_EVENTS_SENT

_SET_ASIDE = "events.set_aside"
SIZE: Callable[["CarriedEvent"], int] = attrgetter("size")


async def brought(call: Awaitable[object]) -> None:
    """Wait for a call that brings a batch.

    :raises BatchRefused: if the backend will never take it; a wrong token or version can be corrected.
    :raises BatchFailed: if it met a fault of the backend.
    """
    try:
        await call
    except BackendRefused as refused:
        if refused.status in (400, 413):
            raise BatchRefused(str(refused)) from refused
        if refused.status == 500:
            raise BatchFailed(str(refused)) from refused
        raise


@attrs.frozen
class CarriedEvent:
    """An event that waits for the backend.

    :ivar octets: the event as it is sent, in JSON: less memory than what it was made from.
    :ivar urgent: whether it is sent at once.
    """

    octets: bytes
    urgent: bool

    @classmethod
    def of(cls, document: Document) -> "CarriedEvent":
        """Write an event."""
        return cls(json.dumps(document, separators=(",", ":")).encode("ascii"), is_urgent(document))

    @property
    def size(self) -> int:
        """Its octets in a call."""
        return len(self.octets) + 1


def carrier_to(backend: Backend, clock: Any, events: Events) -> Carrier[CarriedEvent]:
    """What carries events to the backend, those of *events* and whatever is added.

    :param events: where trouble is told.
    """

    async def store(batch: Sequence[CarriedEvent]) -> int:
        part = fitting(batch, SIZE, API_EVENTS_OCTETS_SENT)
        await brought(backend.events([each.octets for each in part]))
        return len(part)

    def set_aside(carried: CarriedEvent) -> None:
        event: Document = json.loads(carried.octets)
        name = str(event.get("name"))
        if name != _SET_ASIDE:
            cause = Cause.EVENTS_SET_ASIDE
            daemon = str(event.get("source"))
            events.emit(_SET_ASIDE, event=name, cause=cause, message=cause.meaning, daemon=daemon)

    def dropped(count: int) -> None:
        message = "the backend was unreachable for too long"
        events.emit("events.dropped", count=count, cause=Cause.BACKEND_UNAVAILABLE, message=message, daemon="client")

    carrier = Carrier(
        store,
        clock,
        dropped,
        set_aside=set_aside,
        batch=API_EVENTS_SENT,
        urgent=attrgetter("urgent"),
        size=SIZE,
        gather_octets=API_EVENTS_OCTETS_SENT,
    )
    events.forward = lambda document: carrier.add(CarriedEvent.of(document))
    return carrier
