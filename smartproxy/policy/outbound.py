"""Calls to partners: what the configuration must not contradict about them, and whom callers inside may reach.

Duty: refuse, with its place, what no single value of the document shows: names that are not there, ways of recognizing
a partner that nothing belongs to, and ports that stand for two things. Find the partner that a caller means, by its
name or by the host and port of its entry: configured partners and nobody else. Nothing that a caller says becomes an
address that is dialled: what is dialled stands in the partner's entry. Decides nothing about a certificate that a
partner shows: :mod:`~smartproxy.policy.certificates.judge` does.
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
"""The kinds of rules that belong to each way of recognizing a partner."""


def rules_of(partner: Partner, outbound: Outbound) -> tuple[CertificatePin | KeyPin | SubjectRule, ...]:
    """The rules that the certificate of a partner that is called is known by."""
    return outbound.certificates or tuple(
        rule
        for rule in partner.certificates
        if isinstance(rule, CertificatePin | KeyPin | SubjectRule) and isinstance(rule, _FITTING[outbound.verify])
    )


def check_outbound(partners: tuple[Partner, ...], cas: Set[str], identities: Set[str]) -> None:
    """Refuse names that are not there, and rules that do not belong to their ``verify``.

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
                    where=f"{where}.authority",
                    cause=Cause.DOCUMENT_NAME_UNKNOWN,
                    message="no entry of server.authorities has this name",
                )
            if outbound.verify is not Verify.NAME:
                raise DocumentRefused(
                    where=f"{where}.authority",
                    cause=Cause.DOCUMENT_CONTRADICTION,
                    message="goes with `verify` name only",
                )
        for j, rule in enumerate(outbound.certificates):
            at = f"{where}.certificates[{j}]"
            if not isinstance(rule, _FITTING[outbound.verify]):
                raise DocumentRefused(
                    where=f"{at}.by",
                    cause=Cause.DOCUMENT_CONTRADICTION,
                    message=f"does not go with `verify` {outbound.verify.value}",
                )
            if isinstance(rule, SubjectRule) and rule.ca not in cas:
                raise DocumentRefused(
                    where=f"{at}.authority",
                    cause=Cause.DOCUMENT_NAME_UNKNOWN,
                    message="no entry of server.authorities has this name",
                )
        if outbound.verify is not Verify.NAME and not rules_of(partner, outbound):
            raise DocumentRefused(
                where=f"{where}.verify",
                cause=Cause.DOCUMENT_CONTRADICTION,
                message=f"is {outbound.verify.value}, but nothing of that kind is in its `certificates` or the entry's",
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


@attrs.define(auto_exc=True, eq=False, str=False)
class EgressRefused(Exception):
    """A caller asked for somebody whom it may not reach.

    :ivar cause: one sentence; holds no octet of the caller.
    """

    cause: str

    def __str__(self) -> str:
        return self.cause


def reachable(partners: Iterable[Partner]) -> tuple[Partner, ...]:
    """The partners that can be called."""
    return tuple(partner for partner in partners if partner.enabled and partner.outbound is not None)


def choose(partners: Iterable[Partner], host: str, port: int | None) -> Partner:
    """The one partner that a caller means.

    :param host: a host's name or address, or a partner's name.
    :param port: the port, if the caller said one.
    :raises EgressRefused: if it is none, or more than one.
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
        raise EgressRefused("it is no partner that may be called from here")
    if len(found) > 1:
        names = ", ".join(partner.name for partner in found)
        raise EgressRefused(f"several partners are there ({names}): ask for one of them by name, or by his port")
    return found[0]


def normalize_host(host: str) -> str:
    """The form in which hosts are compared: names without case and final dot, addresses written in one way."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")
