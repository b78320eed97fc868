"""Every event that SmartProxy writes: its stable name, level, fields, meaning and readers.

The one place for event names; they are declared in :mod:`smartproxy.logs.session_events`,
:mod:`smartproxy.logs.site_events` and :mod:`smartproxy.logs.backend_events`. Parts of the program emit by name
(:mod:`smartproxy.logs.emit`); what does not stand here is not an event. Names are ``subject.what``, never change their
meaning, and are what detection rules and scripts rely on; fields may be added. The page of events in the documents is
generated from them.

Standards: the event types that Commission Implementing Regulation (EU) 2024/2690, annex 3.2, asks for.
"""

from collections.abc import Mapping

from smartproxy.logs.backend_events import BACKEND_EVENTS
from smartproxy.logs.event_types import ALWAYS, Audience, CatalogueError, EventType
from smartproxy.logs.fields import joined
from smartproxy.logs.session_events import SESSION_EVENTS
from smartproxy.logs.site_events import SITE_EVENTS

__all__ = ["ALWAYS", "EVENTS", "STRANGERS", "UNPROVED", "Audience", "CatalogueError", "EventType", "look_up"]


def look_up(name: str) -> EventType:
    """Find an event by its name.

    :raises CatalogueError: when there is none.
    """
    try:
        return EVENTS[name]
    except KeyError:
        raise CatalogueError("no event has this name", name) from None


STRANGERS = frozenset(
    {
        "backend.call_refused",
        "backend.guessing",
        "certificate.refused",
        "connection.accepted",
        "connection.closed",
        "connection.refused",
        "crl.url_seen",
        "ctl.refused",
        "handshake.failed",
        "outbound.refused",
        "page.login_refused",
        "page.refused",
        "penalty.banned",
        "penalty.lifted",
        "tunnel.refused",
        "tunnel.violation",
    }
)
"""The events that a caller can cause before anybody knows who it is, or a far daemon at will.

Only so many of them are written in a second. An event that names a client, a partner or a session is of somebody who
proved it, and is always written, except for those of :data:`UNPROVED`. The name of a user proves nothing: whoever is
refused at the login has typed it.
"""

UNPROVED = frozenset({"certificate.refused"})
"""Those of :data:`STRANGERS` that may name a partner although nobody proved to be it.

A certificate is public, and it is refused before its holder has to show that it has the key.
"""

EVENTS: Mapping[str, EventType] = joined(SITE_EVENTS, BACKEND_EVENTS, SESSION_EVENTS)
"""Every event, by name."""
