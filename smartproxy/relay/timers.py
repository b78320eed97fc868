"""The deadlines of a session, by name.

A session asks for them with the intents ``Arm`` and ``Disarm`` and is told with the event ``Expired``; how long each
lasts is the configuration's affair. All are absolute but the inactivity time. RFC 5024: none; ESID reason 09 (section
5.3.11) is what a peer that lets one pass is told.
"""

import enum

from smartproxy.oftp2.roles import Role


class Timer(enum.Enum):
    """A deadline; the value is its name in events."""

    SSID = "ssid"
    """The Initiator's SSID must be complete."""
    OPENING = "opening"
    """The other side must be there: the tunnel and the station, or the station's SSRM."""
    AUTHENTICATION = "authentication"
    """The Responder's SSID, and secure authentication if agreed, must be done."""
    INITIATOR_BUFFER = "initiator_buffer"
    """An Exchange Buffer that the Initiator started must be complete."""
    RESPONDER_BUFFER = "responder_buffer"
    """An Exchange Buffer that the Responder started must be complete."""
    INACTIVITY = "inactivity"
    """Octets must arrive from either side."""
    CLOSING = "closing"
    """Both connections must be gone."""

    @property
    def setting(self) -> str:
        """The name of the deadline in the configuration."""
        return "buffer" if self in BUFFER_TIMERS.values() else self.value


BUFFER_TIMERS = {Role.INITIATOR: Timer.INITIATOR_BUFFER, Role.RESPONDER: Timer.RESPONDER_BUFFER}
"""The deadline of a started Exchange Buffer, by who sends it."""
