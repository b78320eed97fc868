"""The ways in which a session begins.

Seen from a daemon, an opening differs in two things: who greets the Initiator, and who is who. The server greets the
partner itself and takes his SSID before it asks for the other side, so that nobody inside hears of a connection before
its identity is proved; the client takes the station's SSRM before it reports the station as ready. Where the station
calls, both legs are there when the session begins: the partner has proved who he is, his own SSRM is relayed, and his
SSID is judged. Standards: RFC 5024 sections 4.2.2 and 5.3.1 (SSRM), 5.3.2 (SSID).
"""

import enum
from collections.abc import Callable, Mapping

import attrs

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.roles import Level, Profile, Role
from smartproxy.policy.faults import OwnFault


@attrs.frozen(kw_only=True)
class SessionFacts:
    """What a daemon knows of a session before a command is relayed; the server tells it to the client.

    :ivar peer: address and port of who called this site, or of whom it calls.
    :ivar partner: the partner's name; ``None`` where nobody knows it, as in a plain tunnel.
    :ivar profile: how literally the RFC is read for this partner.
    :ivar tls: the version of TLS with the partner, on the daemon that speaks TLS with it and where it says so.
    :ivar certificate_sha256: the SHA-256 of the partner's certificate, in hex.
    :ivar code: the SSIDCODE, once it is judged.
    :ivar level: the release level of the SSID (RFC 5024 section 5.3.2), once it is judged.
    """

    peer: str
    partner: str | None = None
    profile: Profile = Profile.DEFAULT
    tls: str | None = None
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


def _accept(ssid: SSID) -> None:
    """Judge nothing: the other daemon did."""


@attrs.frozen(kw_only=True)
class Opening:
    """How a session begins on one daemon.

    :ivar greets: whether the proxy itself sends SSRM and takes the Initiator's SSID before the Responder's leg is
        opened; otherwise the Responder's leg is opened first, its SSRM is awaited and not relayed.
    :ivar judge: called with the Initiator's SSID where the proxy greets; raises a
        :class:`~smartproxy.policy.faults.PolicyRefusal`.
    :ivar partner: the role of the partner outside.
    :ivar tunnel: the role whose leg runs through the tunnel.
    :ivar facts: what is known of the session, by the names of the tunnel's OpenInbound.
    """

    greets: bool
    relays_greeting: bool = False
    judge: Callable[[SSID], None] = _accept
    judge_answer: Callable[[SSID], None] | None = None
    partner: Role
    tunnel: Role
    facts: Mapping[str, str]

    @property
    def direction(self) -> str:
        """``inbound`` if the partner called, ``outbound`` if the station did."""
        return "inbound" if self.partner is Role.INITIATOR else "outbound"

    def side(self, role: Role) -> str:
        """Who plays a role: ``partner`` or ``station``."""
        return "partner" if role is self.partner else "station"

    def leg(self, role: Role) -> str:
        """What a role's leg leads to: ``partner``, ``station`` or ``tunnel``."""
        return "tunnel" if role is self.tunnel else self.side(role)


def server_inbound(judge: Callable[[SSID], None], facts: Mapping[str, str]) -> Opening:
    """A partner called the server: greet him, judge his SSID, then open the leg through the tunnel."""
    return Opening(greets=True, judge=judge, partner=Role.INITIATOR, tunnel=Role.RESPONDER, facts=facts)


def client_inbound(facts: Mapping[str, str]) -> Opening:
    """The server asks the client for the station: open its leg, take its SSRM, report it ready, then relay."""
    return Opening(greets=False, partner=Role.INITIATOR, tunnel=Role.INITIATOR, facts=facts)


def server_outbound(judge_answer: Callable[[SSID], None], facts: Mapping[str, str]) -> Opening:
    """The station called a partner, who is there: relay his SSRM, and judge the SSID that he answers with."""
    return Opening(
        greets=False,
        relays_greeting=True,
        judge_answer=judge_answer,
        partner=Role.RESPONDER,
        tunnel=Role.INITIATOR,
        facts=facts,
    )


def client_outbound(facts: Mapping[str, str]) -> Opening:
    """The station called a partner, whom the server has reached: relay his SSRM, then everything else."""
    return Opening(greets=False, relays_greeting=True, partner=Role.RESPONDER, tunnel=Role.RESPONDER, facts=facts)


def client_excuse(fault: OwnFault, facts: Mapping[str, str]) -> Opening:
    """The station called a partner who cannot be had: greet it, take its SSID, and tell it why with ESID."""

    def excuse(ssid: SSID) -> None:
        raise fault

    return Opening(greets=True, judge=excuse, partner=Role.RESPONDER, tunnel=Role.RESPONDER, facts=facts)
