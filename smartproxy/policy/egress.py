"""Whom callers inside may reach: configured partners and nobody else.

Duty: find the partner that a caller means, by his name, or by the host and port of his entry. Nothing that a caller
says becomes an address that is dialled: what is dialled stands in the partner's entry.
"""

import ipaddress
from collections.abc import Iterable

import attrs

from smartproxy.policy.partners import Partner


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
