"""Whether whoever answers a call is the partner that was called, and his certificate good enough.

Duty: judge the chain that a called partner showed, by what his entry says: it is pinned, or it comes from an authority
and carries his Odette ID, or it comes from an authority and bears the name of the host. Whether it does bear a name is
asked of the caller, who holds the certificate. Dates, keys, hashes and revocation are judged as for partners that
call. Trusts the facts to be those of the handshake at hand.

RFC 5280 section 6; RFC 5024 section 11.
"""

import datetime
from collections.abc import Callable, Container

from smartproxy.policy.certificates.causes import RefusalCause
from smartproxy.policy.certificates.judge import (
    SERVER_AUTH,
    CertificateFacts,
    ChainFacts,
    Match,
    judge_below,
    judge_dates,
    judge_key,
    judge_purpose,
    unreached,
)
from smartproxy.policy.certificates.refusals import CertificateRefusal, refusal
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.outbound import Outbound, Verify
from smartproxy.policy.outbound_checks import rules_of
from smartproxy.policy.partners import Partner
from smartproxy.policy.rules import CertificatePin, KeyPin, SubjectRule


def judge_called(
    chain: ChainFacts,
    partner: Partner,
    outbound: Outbound,
    configuration: ServerConfiguration,
    now: datetime.datetime,
    bears: Callable[[str], bool],
) -> Match:
    """The proof that *chain* is the partner's.

    :param bears: tells whether his own certificate bears a host's name or address.
    :raises CertificateRefusal: if it is not.
    """
    if not chain.presented:
        raise CertificateRefusal(cause=RefusalCause.NO_CERTIFICATE)
    leaf = chain.presented[0]
    rules = rules_of(partner, outbound)
    if outbound.verify is Verify.PIN:
        return _judge_pinned(leaf, partner, rules, now)
    if outbound.verify is Verify.NAME:
        wanted = [each.name for each in configuration.authorities if outbound.authority in (None, each.name)]
        authority = _judge_path(leaf, chain, wanted, configuration, now)[0]
        by = Verify.NAME.value
    else:
        fitting = [rule for rule in rules if isinstance(rule, SubjectRule)]
        reached = _judge_path(leaf, chain, {rule.authority for rule in fitting}, configuration, now)
        found = [
            rule for rule in fitting if rule.authority in reached and rule.serial_number == leaf.subject_serial_number
        ]
        if not found:
            raise refusal(
                RefusalCause.NOT_EXPECTED,
                leaf,
                partner=partner.name,
                subject_serial_number=leaf.subject_serial_number or "",
                key_sha256=leaf.key_sha256,
            )
        authority, by = found[0].authority, SubjectRule.by
    judge_purpose(leaf, partner, SERVER_AUTH, chain.path_errors)
    if outbound.verify is Verify.NAME and not bears(outbound.name):
        raise refusal(RefusalCause.WRONG_NAME, leaf, partner=partner.name, wanted=outbound.name, sans=leaf.sans)
    return Match(partner=partner, certificate=leaf, by=by, authority=authority)


def _judge_pinned(
    leaf: CertificateFacts,
    partner: Partner,
    rules: tuple[CertificatePin | KeyPin | SubjectRule, ...],
    now: datetime.datetime,
) -> Match:
    for pin in (CertificatePin(sha256=leaf.sha256), KeyPin(sha256=leaf.key_sha256)):
        if pin in rules:
            judge_dates(leaf, 0, now)
            judge_key(leaf, 0)
            judge_purpose(leaf, partner, SERVER_AUTH)
            return Match(partner=partner, certificate=leaf, by=pin.by, authority=None)
    raise refusal(RefusalCause.NOT_EXPECTED, leaf, partner=partner.name, key_sha256=leaf.key_sha256)


def _judge_path(
    leaf: CertificateFacts,
    chain: ChainFacts,
    wanted: Container[str],
    configuration: ServerConfiguration,
    now: datetime.datetime,
) -> list[str]:
    """Those of the wanted authorities that the path is good up to; at least one."""
    refused: list[CertificateRefusal] = []
    reached: list[str] = []
    for authority in configuration.authorities:
        below = chain.below(authority) if authority.name in wanted else None
        if below is None:
            continue
        try:
            judge_below(chain, len(below), authority, configuration, now)
        except CertificateRefusal as found:
            refused.append(found)
        else:
            reached.append(authority.name)
    if not reached:
        raise refused[0] if refused else unreached(leaf, chain.path_errors)
    return reached
