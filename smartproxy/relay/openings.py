"""The ways in which a session begins.

Seen from a daemon, an opening differs in two things: who greets the Initiator, and who is who. The server greets the
partner itself and takes its SSID before it asks for the other side, so that nobody inside hears of a connection before
its identity is proved; the client takes the station's SSRM before it reports the station as ready. Where the station
calls, both legs are there when the session begins: the partner has proved who it is, its own SSRM is relayed, and its
SSID is judged. Standards: RFC 5024 sections 4.2.2 and 5.3.1 (SSRM), 5.3.2 (SSID).
"""

import enum
from collections.abc import Callable, Mapping
from functools import lru_cache

import attrs

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.roles import Level, Profile, Role
from smartproxy.policy.faults import OwnFault
from smartproxy.policy.outcomes import Participant
from smartproxy.policy.partners import Partner


class PartnerTls(enum.StrEnum):
    """A version of TLS that partners are served with; the value is its name in events, and OpenSSL's."""

    TLS_1_2 = "TLSv1.2"
    TLS_1_3 = "TLSv1.3"


class Direction(enum.StrEnum):
    """Who called; the value is its name in events."""

    INBOUND = "inbound"
    """The partner."""
    OUTBOUND = "outbound"
    """The station."""


@attrs.frozen(kw_only=True)
class SessionFacts:
    """What a daemon knows of a session before a command is relayed; the server tells it to the client.

    :ivar peer: address and port of who called this site, or of whom it calls.
    :ivar partner: the partner's name; ``None`` where nobody knows it, as in a plain tunnel.
    :ivar profile: how literally the RFC is read for what this partner sends.
    :ivar tls: the version of TLS with the partner, on the daemon that speaks TLS with it and where it says so.
    :ivar certificate_sha256: the SHA-256 of the partner's certificate, in hex.
    :ivar code: the SSIDCODE, once it is judged.
    :ivar level: the release level of the SSID (RFC 5024 section 5.3.2), once it is judged.
    """

    peer: str
    partner: str | None = None
    profile: Profile = Profile.DEFAULT
    tls: PartnerTls | None = None
    certificate_sha256: str | None = None
    code: str | None = None
    level: Level | None = None

    def identified(self, ssid: SSID) -> "SessionFacts":
        """The same facts with what a judged SSID says."""
        return attrs.evolve(self, code=ssid.code, level=Level(ssid.lev))


class Way(enum.StrEnum):
    """How somebody inside says which partner is to be called; the value is its name in events."""

    PORT = "port"
    """The port that the caller connects to stands for the partner."""
    CONNECT = "http-connect"
    """The caller asks with HTTP CONNECT."""
    SOCKS = "socks5"
    """The caller asks with SOCKS5."""
    TRIAL = "trial"
    """An operator wants to know how far a call gets: it ends with the partner's SSRM."""


@attrs.frozen(kw_only=True)
class CallWish:
    """What the client tells the server about a call that it asks for, beside the partner's name.

    :ivar way: how the caller said whom it wants.
    :ivar caller: address and port of the caller inside; ``None`` for a trial.
    :ivar host: the destination's host, in a plain tunnel only.
    :ivar port: the destination's port, in a plain tunnel only.
    """

    way: Way
    caller: str | None = None
    host: str | None = None
    port: int | None = None


class Mode(enum.Enum):
    """Who greets the Initiator."""

    GREET = enum.auto()
    """The proxy: it sends SSRM and takes the Initiator's SSID before it opens the Responder's leg."""
    AWAIT = enum.auto()
    """The other daemon did: the Responder's leg is opened first, its SSRM is awaited and kept."""
    RELAY = enum.auto()
    """The Responder: its leg is opened first, its SSRM is awaited and relayed."""


@attrs.frozen(kw_only=True)
class Opening:
    """How a session begins on one daemon.

    :ivar mode: who greets the Initiator.
    :ivar partner: the role of the partner outside.
    :ivar tunnel: the role whose leg runs through the tunnel.
    :ivar facts: what is known of the session.
    :ivar judge: called with the partner's SSID; raises a :class:`~smartproxy.policy.faults.PolicyRefusal`. ``None``
        where the other daemon judges it.
    :ivar entry: the partner's entry, by which the rest is judged: the station's SSID; ``None`` as for ``judge``.
    :ivar station: how literally the RFC is read for the station; for the partner, the facts say it.
    :ivar excuse: what the Initiator is told as soon as its SSID is in, where there is no Responder for it.
    """

    mode: Mode
    partner: Role
    tunnel: Role
    facts: SessionFacts
    judge: Callable[[SSID], None] | None = None
    entry: Partner | None = None
    station: Profile = Profile.DEFAULT
    excuse: OwnFault | None = None

    @property
    def profiles(self) -> Mapping[Role, Profile]:
        """How literally the RFC is read for what each of the two sends."""
        return _profiles(self.partner, self.facts.profile, self.station)

    @property
    def direction(self) -> Direction:
        """Who called: the partner or the station."""
        return Direction.INBOUND if self.partner is Role.INITIATOR else Direction.OUTBOUND

    @property
    def daemon(self) -> Participant:
        """Which daemon this is."""
        return Participant.CLIENT if self.tunnel is self.partner else Participant.SERVER

    def side(self, role: Role) -> Participant:
        """Who plays a role: the partner or the station."""
        return Participant.PARTNER if role is self.partner else Participant.STATION

    def leg(self, role: Role) -> str:
        """What a role's leg leads to: ``partner``, ``station`` or ``tunnel``."""
        return "tunnel" if role is self.tunnel else self.side(role)


@lru_cache(maxsize=8)
def _profiles(partner: Role, its: Profile, station: Profile) -> Mapping[Role, Profile]:
    """How literally the RFC is read: one table for all sessions alike."""
    return {partner: its, partner.other: station}


def server_inbound(
    judge: Callable[[SSID], None], facts: SessionFacts, entry: Partner | None = None, station: Profile = Profile.DEFAULT
) -> Opening:
    """A partner called the server: greet it, judge its SSID, then open the leg through the tunnel."""
    return Opening(
        mode=Mode.GREET,
        partner=Role.INITIATOR,
        tunnel=Role.RESPONDER,
        facts=facts,
        judge=judge,
        entry=entry,
        station=station,
    )


def client_inbound(facts: SessionFacts, station: Profile = Profile.DEFAULT) -> Opening:
    """The server asks the client for the station: open its leg, take its SSRM, report it ready, then relay."""
    return Opening(mode=Mode.AWAIT, partner=Role.INITIATOR, tunnel=Role.INITIATOR, facts=facts, station=station)


def server_outbound(
    judge: Callable[[SSID], None], facts: SessionFacts, entry: Partner | None = None, station: Profile = Profile.DEFAULT
) -> Opening:
    """The server has reached the partner that the station called: relay its SSRM, and judge its SSID."""
    return Opening(
        mode=Mode.RELAY,
        partner=Role.RESPONDER,
        tunnel=Role.INITIATOR,
        facts=facts,
        judge=judge,
        entry=entry,
        station=station,
    )


def client_outbound(facts: SessionFacts, station: Profile = Profile.DEFAULT) -> Opening:
    """The server has reached the partner that the station called: relay its SSRM, then everything else."""
    return Opening(mode=Mode.RELAY, partner=Role.RESPONDER, tunnel=Role.RESPONDER, facts=facts, station=station)


def client_excuse(fault: OwnFault, facts: SessionFacts, station: Profile = Profile.DEFAULT) -> Opening:
    """The called partner cannot be reached: greet the station, take its SSID, and tell it why with ESID."""
    return Opening(
        mode=Mode.GREET, partner=Role.RESPONDER, tunnel=Role.RESPONDER, facts=facts, station=station, excuse=fault
    )
