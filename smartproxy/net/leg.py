"""A leg: one connection as a session sees it.

The partner's TLS connection, the station's TCP connection and the tunnel's data connection offer the same few calls, so
that the session driver does not know which of them it holds. Trusts its implementers to deliver ``leg_lost`` exactly
once and as the last call.
"""

from zope.interface import Attribute, Interface


class ILeg(Interface):
    """What a session asks of a connection."""

    receiver = Attribute("The :class:`ILegReceiver` that is told what happens; set before any octet is delivered.")
    peer = Attribute("The far end, as text for logs, such as ``192.0.2.7:40112``.")

    def send(octets: bytes) -> None:
        """Queue octets for delivery, in order. After ``finish`` or ``abort``, or on a lost leg, nothing happens."""

    def finish() -> None:
        """Deliver what was sent, then end the leg by its own rules: close_notify, FIN, or the tunnel's end mark.

        The leg arms its own abort timer; ``leg_lost`` (or, for a data connection, ``leg_ended``) follows in any case.
        """

    def abort() -> None:
        """End the leg now, throwing away what was not delivered."""

    def pause() -> None:
        """Deliver no more octets until ``resume``; the far end is held back by its transport's flow control."""

    def resume() -> None:
        """Go on delivering octets."""


class ILegReceiver(Interface):
    """What a connection tells its session."""

    def octets_received(leg: ILeg, octets: bytes) -> None:
        """Octets arrived, cut anywhere."""

    def leg_ended(leg: ILeg) -> None:
        """The far daemon ended its direction with the tunnel's end mark; TCP and TLS legs never say so."""

    def leg_lost(leg: ILeg, cause: str) -> None:
        """The leg is gone, or handed back to its pool; nothing more is said about it."""

    def leg_full(leg: ILeg) -> None:
        """More octets wait to be sent than the leg's high-water mark: hold the other leg back."""

    def leg_drained(leg: ILeg) -> None:
        """The waiting octets are delivered: let the other leg go on."""
