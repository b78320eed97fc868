"""A call to a partner, as whoever carries it and whoever has it made speak of it.

Holds values only, so that the two can be in different processes.
"""

from collections.abc import Mapping
from typing import Self

import attrs

from smartproxy.oftp2.roles import Profile
from smartproxy.policy.faults import PartnerUnreachable
from smartproxy.relay.openings import Way
from smartproxy.tunnel.faults import OpeningFailed
from smartproxy.workers.words import NAME


@attrs.frozen(kw_only=True)
class WantedCall:
    """What somebody inside asks for.

    :ivar way: how.
    :ivar caller: address and port of the caller inside; ``None`` for a trial.
    :ivar name: the partner's, where the caller's port or an operator names it; else it is the one of host and port.
    :ivar host: host, or name of a partner, that the caller asks for.
    :ivar port: the port that it asks for, if any.
    """

    way: Way
    caller: str | None = None
    name: str = ""
    host: str | None = None
    port: int | None = None


@attrs.frozen(kw_only=True)
class GrantedCall:
    """A partner that is ready.

    :ivar partner: its name.
    :ivar profile: how literally the RFC is read for what it sends.
    :ivar server: the number of the server that has called it.
    :ivar ticket: what the session's data connection shows to that server.
    """

    partner: str
    profile: Profile
    server: int
    ticket: bytes = attrs.field(repr=False)


class CallDenied(OpeningFailed):
    """A partner is not called, or not reached; travels as a failed opening does, with what is known of the partner.

    :ivar unreached: why.
    :ivar partner: its name, where it is known which one is meant.
    :ivar profile: its profile.
    """

    def __init__(
        self, fault: PartnerUnreachable, partner: str | None = None, profile: Profile = Profile.DEFAULT
    ) -> None:
        super().__init__(fault)
        self.unreached = fault
        self.partner = partner
        self.profile = profile

    def fields(self) -> dict[bytes, bytes]:
        """The fault, and the partner."""
        told = {**super().fields(), b"profile": self.profile.value.encode("ascii")}
        return told if self.partner is None else {**told, b"partner": self.partner.encode("utf-8")}

    @classmethod
    def read(cls, message: str, fields: Mapping[bytes, bytes]) -> Self:
        """The same from what travelled.

        :raises ValueError: when a field is missing or is not what it has to be.
        """
        fault, partner = super().read(message, fields).fault, fields.get(b"partner")
        if not isinstance(fault, PartnerUnreachable):
            raise ValueError("no fault of a call")
        profile = Profile(fields.get(b"profile", b"").decode("ascii"))
        return cls(fault, None if partner is None else NAME.fromString(partner), profile)
