"""Events on their way from a client to its backend.

Duty: bring them in batches that the backend takes, tell which one it never takes, and how many were lost while it was
away. What waits, and for how long, is the carrier's matter (:mod:`smartproxy.logs.carrier`).
"""

from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from smartproxy.client.backend import Backend, BackendRefused
from smartproxy.logs.carrier import BatchFailed, BatchRefused, Carrier, Document, is_urgent
from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from smartproxy.policy.limits import API_EVENTS_SENT

_SET_ASIDE = "events.set_aside"
_T = TypeVar("_T")


async def brought(call: Awaitable[_T]) -> _T:
    """Wait for a call that brings a batch; what it gives.

    :raises BatchRefused: if the backend will never take it; a wrong token or version can be corrected.
    :raises BatchFailed: if it met a fault of the backend.
    """
    try:
        return await call
    except BackendRefused as refused:
        if refused.status in (400, 413):
            raise BatchRefused(str(refused)) from refused
        if refused.status == 500:
            raise BatchFailed(str(refused)) from refused
        raise


def carrier_to(backend: Backend, clock: Any, events: Events) -> Carrier[Document]:
    """What carries events to the backend, those of *events* and whatever is added.

    :param events: where trouble is told.
    """

    async def store(batch: Sequence[Document]) -> int:
        return await brought(backend.events(batch))

    def set_aside(event: Document) -> None:
        name = str(event.get("name"))
        if name != _SET_ASIDE:
            cause = Cause.EVENTS_SET_ASIDE
            daemon = str(event.get("source"))
            events.emit(_SET_ASIDE, event=name, cause=cause, message=cause.meaning, daemon=daemon)

    def dropped(count: int) -> None:
        message = "the backend was unreachable for too long"
        events.emit("events.dropped", count=count, cause=Cause.BACKEND_UNAVAILABLE, message=message, daemon="client")

    carrier = Carrier(store, clock, dropped, set_aside=set_aside, urgent=is_urgent, batch=API_EVENTS_SENT)
    events.forward = carrier.add
    return carrier
