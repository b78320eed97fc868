"""Calls to partners: contradictions in their configuration, and which partners local programs may reach.

Duty: refuse, with its place, what no single value of the document shows: names that do not exist, a `verify` without
matching certificate rules, and ports that are used twice. Find the partner that a local program asks for, by its name
or by the host and port of its entry: only configured partners. The address that is dialled always comes from the
partner's entry, never from the request. Does not judge certificates:
:mod:`~smartproxy.policy.certificates.judge` does.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Set
from typing import Final

import attrs

from smartproxy.policy.causes import Cause
from smartproxy.policy.partners import CertificatePin, KeyPin, Outbound, Partner, SubjectRule, Verify
from smartproxy.policy.schema import unique
from smartproxy.policy.settings import OutboundListener
from smartproxy.policy.strict_json import DocumentRefused

_FITTING: Final[dict[Verify, tuple[type, ...]]] = {
    Verify.NAME: (),
    Verify.PIN: (CertificatePin, KeyPin),
    Verify.ODETTE: (SubjectRule,),
}
"""The kinds of certificate rules that each `verify` uses."""


def rules_of(partner: Partner, outbound: Outbound) -> tuple[CertificatePin | KeyPin | SubjectRule, ...]:
    """The rules by which the certificate of a called partner is recognized."""
    return outbound.certificates or tuple(
        rule
        for rule in partner.certificates
        if isinstance(rule, CertificatePin | KeyPin | SubjectRule) and isinstance(rule, _FITTING[outbound.verify])
    )


def check_outbound(partners: tuple[Partner, ...], cas: Set[str], identities: Set[str]) -> None:
    """Refuse names that do not exist, and rules that their ``verify`` does not use.

    :param cas: the names of the CAs.
    :param identities: the names of the identities.
    :raises DocumentRefused: with the place.
    """
    for where, partner, outbound in _outbounds(partners):
        if outbound.identity is not None and outbound.identity not in identities:
            raise DocumentRefused(
                where=f"{where}.identity",
                cause=Cause.DOCUMENT_NAME_UNKNOWN,
                message="no entry of server.identities has this name",
            )
        if outbound.ca is not None:
            if outbound.ca not in cas:
                raise DocumentRefused(
                    where=f"{where}.ca",
                    cause=Cause.DOCUMENT_NAME_UNKNOWN,
                    message="no entry of server.cas has this name",
                )
            if outbound.verify is not Verify.NAME:
                raise DocumentRefused(
                    where=f"{where}.ca",
                    cause=Cause.DOCUMENT_CONTRADICTION,
                    message="is allowed only if `verify` is name",
                )
        for j, rule in enumerate(outbound.certificates):
            at = f"{where}.certificates[{j}]"
            if not isinstance(rule, _FITTING[outbound.verify]):
                right = next(each.value for each, kinds in _FITTING.items() if isinstance(rule, kinds))
                raise DocumentRefused(
                    where=f"{at}.by",
                    cause=Cause.DOCUMENT_CONTRADICTION,
                    message=f"is not allowed if `verify` is {outbound.verify.value}; give --verify {right}",
                )
            if isinstance(rule, SubjectRule) and rule.ca not in cas:
                raise DocumentRefused(
                    where=f"{at}.ca",
                    cause=Cause.DOCUMENT_NAME_UNKNOWN,
                    message="no entry of server.cas has this name",
                )
        if outbound.verify is not Verify.NAME and not rules_of(partner, outbound):
            raise DocumentRefused(
                where=f"{where}.verify",
                cause=Cause.DOCUMENT_CONTRADICTION,
                message=f"is {outbound.verify.value}, but neither its `certificates` nor the entry's have such a rule",
            )


def check_listeners(partners: tuple[Partner, ...], listener: OutboundListener) -> None:
    """Refuse ports of the client that are used twice.

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


@attrs.define(auto_exc=True, eq=False, str=False)
class EgressRefused(Exception):
    """A local program asked for a partner that it may not reach.

    :ivar cause: one sentence, without any octet of the request.
    """

    cause: str

    def __str__(self) -> str:
        return self.cause


def reachable(partners: Iterable[Partner]) -> tuple[Partner, ...]:
    """The partners that can be called."""
    return tuple(partner for partner in partners if partner.enabled and partner.outbound is not None)


def choose(partners: Iterable[Partner], host: str, port: int | None) -> Partner:
    """Find the one partner that a local program asks for.

    :param host: a host's name or address, or a partner's name.
    :param port: the port, if the request has one.
    :raises EgressRefused: if no partner matches, or more than one.
    """
    able = reachable(partners)
    wanted = normalize_host(host)
    found = [
        partner
        for partner in able
        if partner.outbound is not None
        and partner.outbound.port == port
        and normalize_host(partner.outbound.host) == wanted
    ]
    if not found:
        found = [partner for partner in able if partner.name.casefold() == host.casefold()]
    if not found:
        raise EgressRefused("no partner that may be called has this name or address")
    if len(found) > 1:
        names = ", ".join(partner.name for partner in found)
        raise EgressRefused(
            f"several partners have this address ({names}): ask for one of them by name, or by its port"
        )
    return found[0]


def normalize_host(host: str) -> str:
    """The form in which hosts are compared: names in lower case without the final dot, addresses in one notation."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")
