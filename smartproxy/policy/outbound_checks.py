"""What the outbound parts of a configuration must not contradict.

Duty: refuse, with its place, what no single value shows: names that are not there, ways of recognizing a partner that
nothing belongs to, and ports that stand for two things. Part of :mod:`~smartproxy.policy.configuration`.
"""

from collections.abc import Iterator, Set
from typing import Final

from smartproxy.policy.outbound import Outbound, OutboundListener, Verify
from smartproxy.policy.partners import Partner
from smartproxy.policy.rules import CertificatePin, KeyPin, SubjectRule
from smartproxy.policy.schema import unique
from smartproxy.policy.strict_json import DocumentRefused

_FITTING: Final[dict[Verify, tuple[type, ...]]] = {
    Verify.NAME: (),
    Verify.PIN: (CertificatePin, KeyPin),
    Verify.ODETTE: (SubjectRule,),
}
"""The kinds of rules that belong to each way of recognizing a partner."""


def rules_of(partner: Partner, outbound: Outbound) -> tuple[CertificatePin | KeyPin | SubjectRule, ...]:
    """The rules that the certificate of a partner that is called is known by."""
    return outbound.certificates or tuple(
        rule
        for rule in partner.certificates
        if isinstance(rule, CertificatePin | KeyPin | SubjectRule) and isinstance(rule, _FITTING[outbound.verify])
    )


def check_outbound(partners: tuple[Partner, ...], authorities: Set[str], identities: Set[str]) -> None:
    """Refuse names that are not there, and rules that do not belong to their ``verify``.

    :param authorities: the names of the authorities.
    :param identities: the names of the identities.
    :raises DocumentRefused: with the place.
    """
    for where, partner, outbound in _outbounds(partners):
        if outbound.identity is not None and outbound.identity not in identities:
            raise DocumentRefused(where=f"{where}.identity", cause="no entry of server.identities has this name")
        if outbound.authority is not None:
            if outbound.authority not in authorities:
                raise DocumentRefused(where=f"{where}.authority", cause="no entry of server.authorities has this name")
            if outbound.verify is not Verify.NAME:
                raise DocumentRefused(where=f"{where}.authority", cause="goes with `verify` name only")
        for j, rule in enumerate(outbound.certificates):
            at = f"{where}.certificates[{j}]"
            if not isinstance(rule, _FITTING[outbound.verify]):
                raise DocumentRefused(where=f"{at}.by", cause=f"does not go with `verify` {outbound.verify.value}")
            if isinstance(rule, SubjectRule) and rule.authority not in authorities:
                raise DocumentRefused(where=f"{at}.authority", cause="no entry of server.authorities has this name")
        if outbound.verify is not Verify.NAME and not rules_of(partner, outbound):
            raise DocumentRefused(
                where=f"{where}.verify",
                cause=f"is {outbound.verify.value}, but nothing of that kind is in `certificates` here or in his entry",
            )


def check_listeners(partners: tuple[Partner, ...], listener: OutboundListener) -> None:
    """Refuse ports of the client that stand for two things.

    :raises DocumentRefused: with the place.
    """
    ports = [
        (f"{where}.listener", outbound.listener)
        for where, partner, outbound in _outbounds(partners)
        if partner.enabled and outbound.listener is not None
    ]
    if listener.enabled:
        ports.insert(0, ("client.outbound.port", listener.port))
    unique(ports, "this port")


def _outbounds(partners: tuple[Partner, ...]) -> Iterator[tuple[str, Partner, Outbound]]:
    for i, partner in enumerate(partners):
        if partner.outbound is not None:
            yield f"server.partners[{i}].outbound", partner, partner.outbound
