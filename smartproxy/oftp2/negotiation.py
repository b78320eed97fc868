"""What two SSIDs agree on, and what the Initiator's leaves of the Responder's.

The Responder's answer is judged field by field against the offer while it arrives (:func:`answer_limits`);
:func:`agree` is the result.

Standards: RFC 5024 sections 3.2.1, 4.2.4, 5.3.2 and predicates P2, P8, P10 of section 9.8.3.
"""

from collections.abc import Mapping

import attrs

from smartproxy.oftp2 import codec, grammars
from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import AuthenticationMismatch, CreditExceeded, Incompatible
from smartproxy.oftp2.fields import Rule
from smartproxy.oftp2.roles import Level, Profile, Role


@attrs.frozen(kw_only=True)
class Agreed:
    """The outcome of a negotiation.

    :ivar level: the lower of the two release levels.
    :ivar buffer_size: the lower of the two SSIDSDEB: the most octets of a Data Exchange Buffer, command octet included.
    :ivar credit: SSIDCRED of the Responder: the window.
    :ivar compression: whether subrecords may be compressed.
    :ivar restart: whether a file may start elsewhere than at its beginning.
    :ivar authentication: whether secure authentication follows.
    :ivar senders: who may send files.
    """

    level: Level
    buffer_size: int
    credit: int
    compression: bool
    restart: bool
    authentication: bool
    senders: frozenset[Role]


def answer_limits(offer: SSID) -> Mapping[str, Rule]:
    """Return what the Responder's SSID must keep to, by attribute, beyond its own format."""
    authentication = offer.auth or "N"
    limits = {
        "sr": _rule(Incompatible, "direction", *{"S": "RB", "R": "SB", "B": "SRB"}[offer.sr]),
        "cred": Rule(grammar=grammars.Decimal(((1, offer.cred),)), error=CreditExceeded, name="negotiation.credit"),
        "auth": _rule(AuthenticationMismatch, "authentication", authentication),
    }
    if offer.spec == "Y":
        limits["spec"] = _rule(Incompatible, "special_logic", "N")
    if authentication == "Y":
        limits["lev"] = _rule(AuthenticationMismatch, "authentication", str(Level.OFTP_2_0.value))
    return limits


def _rule(error: type[Incompatible] | type[AuthenticationMismatch], name: str, *allowed: str) -> Rule:
    return Rule(grammar=grammars.Values(value.encode() for value in allowed), error=error, name=f"negotiation.{name}")


def agree(offer: SSID, answer: SSID, profile: Profile = Profile.DEFAULT) -> Agreed:
    """Bring the two SSIDs together.

    :param offer: the Initiator's.
    :param answer: the Responder's.
    :raise Incompatible: if directions or special logic exclude each other.
    :raise AuthenticationMismatch: if only one wants secure authentication.
    :raise CreditExceeded: if the answer gives more credit than was offered.
    """
    _check(offer, {}, profile)
    _check(answer, answer_limits(offer), profile)
    both = {name: getattr(offer, name) == getattr(answer, name) == "Y" for name in ("cmpr", "rest", "auth")}
    sending = {Role.INITIATOR: offer.sr + answer.sr, Role.RESPONDER: answer.sr + offer.sr}
    return Agreed(
        level=Level(min(offer.lev, answer.lev)),
        buffer_size=min(offer.sdeb, answer.sdeb),
        credit=answer.cred,
        compression=both["cmpr"],
        restart=both["rest"],
        authentication=both["auth"],
        senders=frozenset(role for role, sr in sending.items() if sr[0] in "SB" and sr[1] in "RB"),
    )


def _check(command: SSID, limits: Mapping[str, Rule], profile: Profile) -> None:
    """Judge a whole SSID by what is more than a field's format."""
    for field in SSID.LAYOUTS[Level(command.lev)].fields[1:]:
        rules = [limits[field.attribute]] if field.attribute in limits else []
        if field.depends is not None and (further := field.depends({})) is not None:
            rules.append(further)
        octets = field.encode(getattr(command, field.attribute))
        for rule in rules:
            grammar = rule.applied(profile)
            if grammar.fault(octets, len(octets)) is not None:
                raise codec.refusal(SSID, field, rule, grammar.rule)
