"""How far a session is, and how far each of its legs."""

import enum


class Stage(enum.Enum):
    """How far a session is; the value is the phase that its events name."""

    IDENTIFYING = "identifying"
    """The proxy greeted the Initiator and awaits his SSID."""
    OPENING = "opening"
    """The Responder's leg is asked for."""
    GREETING = "greeting"
    """The Responder's leg is there, its SSRM is awaited."""
    RELAYING = "relaying"
    """Initiator and Responder talk to each other."""
    ENDING = "ending"
    """Nothing is relayed any more; the legs close."""
