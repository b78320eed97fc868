"""Judge a peer's certificate: from the facts of its chain to a partner, or to a refusal with the exact cause.

Duty: judge the chain that a peer presented, in both directions of a call. OpenSSL builds the path and checks its
signatures; its findings are input. This site's policy is judged here: dates, key strength, hashes, purpose, revocation,
pins, and which partner's entry the certificate matches. For a called partner, the entry says how the certificate is
recognized: it is pinned, or it comes from a CA and contains the partner's Odette ID, or it comes from a CA and contains
the host's name; the calling code, which holds the certificate, checks the name. Trusts that the facts are those of the
handshake at hand, and that OpenSSL built the path from the anchors of the same configuration.

A pinned certificate or key needs no CA and no revocation list: to revoke it, remove the pin. Pins take precedence over
other rules. RFC 5280 section 6; RFC 5024 section 11.
"""

import contextlib
import datetime
import itertools
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Final, TypeVar

import attrs

from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import (
    CertificateRefusal,
    Detail,
    VerifyError,
    cause_of,
    refusal,
)
from smartproxy.policy.certificates.facts import CertificateFacts, ChainFacts, PathError
from smartproxy.policy.certificates.revocation import RevocationStatus, judge_revocation
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.outbound import rules_of
from smartproxy.policy.partners import (
    CertificatePin,
    KeyPin,
    Outbound,
    Partner,
    Purpose,
    RevocationMode,
    Rule,
    SanRule,
    SubjectRule,
    TrustedCa,
    Verify,
    normalize_san,
)
from smartproxy.policy.values import Instant

CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
ANY_USAGE: Final = "2.5.29.37.0"
"""The extended key usage that stands for all of them (RFC 5280 section 4.2.1.12)."""
EXTENDED_KEY_USAGE: Final = "extendedKeyUsage"
"""What the extension is called among those that cannot be read."""

_WEAK_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})
_REVOCATION_CAUSES: Final = {
    RevocationStatus.REVOKED: Cause.CERTIFICATE_REVOKED,
    RevocationStatus.MISSING: Cause.CERTIFICATE_REVOCATION_MISSING,
    RevocationStatus.STALE: Cause.CERTIFICATE_REVOCATION_STALE,
    RevocationStatus.FUTURE: Cause.CERTIFICATE_REVOCATION_STALE,
}
_GENUINE: Final = frozenset({Cause.CERTIFICATE_EXPIRED, Cause.CERTIFICATE_NOT_YET_VALID, *_REVOCATION_CAUSES.values()})
"""Causes for which a certificate is refused although its content is authentic."""
_BITS_LEAST: Final = {
    "RSA": limits.RSA_BITS_LEAST,
    "EC": limits.EC_BITS_LEAST,
    "Ed25519": 0,
    "Ed448": 0,
}
_KINDS: Final = tuple(_BITS_LEAST)
KEY_KINDS: Final = f"{', '.join(_KINDS[:-1])} or {_KINDS[-1]}"
"""The kinds of keys that are accepted, in words."""


@attrs.frozen(kw_only=True)
class Match:
    """A valid certificate that identifies one enabled partner.

    :ivar partner: the partner.
    :ivar certificate: the peer's certificate.
    :ivar by: the kind of rule that matched: ``certificate``, ``key``, ``subject`` or ``san``, or ``name`` (the called
        host's name).
    :ivar ca: the CA of that rule; ``None`` for a pin.
    """

    partner: Partner
    certificate: CertificateFacts
    by: str
    ca: str | None


def judge_chain(chain: ChainFacts, configuration: ServerConfiguration, now: datetime.datetime) -> Match:
    """Identify the partner that presented *chain*.

    :raises CertificateRefusal: if the chain identifies no partner.
    """
    if not chain.presented:
        raise CertificateRefusal(cause=Cause.CERTIFICATE_MISSING)
    leaf = chain.presented[0]
    pins = [rule for rule in _pins(leaf) if rule in configuration.partners_of]
    if pins:
        fitting = _named(pins, configuration)
        try:
            judge_dates(leaf, 0, now)
            judge_key(leaf, 0)
        except CertificateRefusal as found:
            raise _whose(found, fitting) from None
        rule, partner = _only(fitting, leaf)
        judge_purpose(leaf, partner, CLIENT_AUTH)
        return Match(partner=partner, certificate=leaf, by=rule.by, ca=None)
    return _judge_path(leaf, chain, configuration, now)


def _pins(leaf: CertificateFacts) -> tuple[CertificatePin, KeyPin]:
    return CertificatePin(sha256=leaf.sha256), KeyPin(sha256=leaf.key_sha256)


_Rule = TypeVar("_Rule", bound=Rule)


def _named(rules: Iterable[_Rule], configuration: ServerConfiguration) -> list[tuple[_Rule, Partner]]:
    """Each of *rules* with each partner that has it in its entry."""
    return [(rule, partner) for rule in rules for partner in configuration.partners_of.get(rule, ())]


def _only(fitting: list[tuple[_Rule, Partner]], leaf: CertificateFacts) -> tuple[_Rule, Partner]:
    """The one enabled partner among those with matching rules.

    :raises CertificateRefusal: if there is none, or more than one.
    """
    enabled = [(rule, partner) for rule, partner in fitting if partner.enabled]
    names = sorted({partner.name for _, partner in enabled or fitting})
    if not enabled:
        raise refusal(Cause.CERTIFICATE_PARTNER_DISABLED, leaf, partner=", ".join(names))
    if len(names) > 1:
        raise refusal(Cause.CERTIFICATE_AMBIGUOUS, leaf, partners=", ".join(names))
    return enabled[0]


def _whose(found: CertificateRefusal, fitting: Iterable[tuple[Rule, Partner]]) -> CertificateRefusal:
    """Add the name of the partner to a refusal, if the certificate is authentic and matches one partner's entry.

    The name says which entry the certificate matches, not which peer presented it: certificates are public.
    """
    names = {partner.name for _, partner in fitting}
    if len(names) == 1 and found.cause in _GENUINE:
        found.detail = {**found.detail, "partner": names.pop()}
    return found


def _judge_path(
    leaf: CertificateFacts, chain: ChainFacts, configuration: ServerConfiguration, now: datetime.datetime
) -> Match:
    """Identify the partner by a CA: the path has to be valid up to an anchor of the rule's CA."""
    refused: dict[str, CertificateRefusal] = {}
    reached: list[str] = []
    for ca in configuration.cas:
        reaching = chain.reaching(ca)
        if reaching is None:
            continue
        try:
            judge_below(*reaching, ca, configuration, now)
        except CertificateRefusal as found:
            refused[ca.name] = found
        else:
            reached.append(ca.name)
    fitting = _named(_rules(leaf, reached), configuration)
    if fitting:
        rule, partner = _only(fitting, leaf)
        judge_purpose(leaf, partner, CLIENT_AUTH, chain.path_errors)
        return Match(partner=partner, certificate=leaf, by=rule.by, ca=rule.ca)
    for name, refused_by in refused.items():
        # The path may be valid up to another CA that has no rule: report the CA that would identify a partner.
        would_fit = _named(_rules(leaf, [name]), configuration)
        if not reached or would_fit:
            forged = any(cause_of(error.code) is Cause.CERTIFICATE_BAD_SIGNATURE for error in chain.path_errors)
            raise refused_by if forged else _whose(refused_by, would_fit)
    if not reached:
        raise unreached(leaf, chain.path_errors)
    raise refusal(
        Cause.CERTIFICATE_NO_PARTNER,
        leaf,
        cas=", ".join(reached),
        key_sha256=leaf.key_sha256,
        subject_serial_number=leaf.subject_serial_number or "",
        sans=leaf.sans,
        **_dates(leaf),
    )


def _rules(leaf: CertificateFacts, cas: Iterable[str]) -> Iterator[SubjectRule | SanRule]:
    """The rules that *leaf* matches if it comes from one of *cas*."""
    for ca in cas:
        if leaf.subject_serial_number is not None:
            yield SubjectRule(ca=ca, serial_number=leaf.subject_serial_number)
        for san in leaf.sans:
            yield SanRule(ca=ca, san=normalize_san(san))


def unreached(leaf: CertificateFacts, errors: tuple[PathError, ...]) -> CertificateRefusal:
    """The refusal where no path ends at an anchor: the issuer is unknown, or the path is broken below an anchor."""
    for error in errors:
        if cause_of(error.code) in (Cause.CERTIFICATE_BAD_SIGNATURE, Cause.CERTIFICATE_PATH_TOO_LONG):
            return refusal(cause_of(error.code), leaf, openssl=error.text)
    return refusal(
        Cause.CERTIFICATE_UNKNOWN_CA,
        leaf,
        key_sha256=leaf.key_sha256,
        openssl="; ".join(dict.fromkeys(error.text for error in errors)),
    )


def judge_below(
    chain: ChainFacts,
    anchor: int,
    ca: TrustedCa,
    configuration: ServerConfiguration,
    now: datetime.datetime,
) -> None:
    """Judge the path from the leaf to the anchor of *ca* at depth *anchor*; certificates above it do not count.

    :raises CertificateRefusal: for the first fault.
    """
    path = chain.path[: anchor + 1]
    if anchor > limits.PATH_DEPTH_MOST:
        raise refusal(
            Cause.CERTIFICATE_PATH_TOO_LONG, path[0], depth_most=str(limits.PATH_DEPTH_MOST), depth=str(anchor)
        )
    for error in chain.path_errors:
        # The partner's entry decides about the leaf's purpose; the partner is not known yet.
        if error.depth <= anchor and (error.code, error.depth) != (VerifyError.INVALID_PURPOSE, 0):
            facts = path[error.depth]
            raise refusal(cause_of(error.code), facts, error.depth, **_dates(facts), openssl=error.text)
    for depth, facts in enumerate(path):
        judge_dates(facts, depth, now)
        judge_key(facts, depth)
        if depth < anchor and facts.signature_hash in _WEAK_HASHES:
            raise refusal(Cause.CERTIFICATE_WEAK_SIGNATURE, facts, depth, hash=str(facts.signature_hash))
    if ca.refuse_direct and anchor == 1 and path[1].subject == path[1].issuer:
        raise refusal(Cause.CERTIFICATE_FROM_ROOT, path[0], ca=ca.name, **_dates(path[0]))
    for depth, (facts, issuer) in enumerate(itertools.pairwise(path)):
        _judge_revocation(facts, depth, issuer, ca, configuration, now)


def _dates(facts: CertificateFacts) -> dict[str, str]:
    return {"not_before": Instant().write(facts.not_before), "not_after": Instant().write(facts.not_after)}


def judge_dates(facts: CertificateFacts, depth: int, now: datetime.datetime) -> None:
    """Refuse a certificate outside its validity period.

    :raises CertificateRefusal: if *now* is not in it.
    """
    if now < facts.not_before:
        raise refusal(Cause.CERTIFICATE_NOT_YET_VALID, facts, depth, **_dates(facts))
    if now > facts.not_after:
        raise refusal(Cause.CERTIFICATE_EXPIRED, facts, depth, **_dates(facts))


def judge_key(facts: CertificateFacts, depth: int) -> None:
    """Refuse a key that is too weak, or of a kind that is not accepted.

    :raises CertificateRefusal: if it is.
    """
    least = _BITS_LEAST.get(facts.key_type)
    about: dict[str, Detail] = {"key_type": facts.key_type, "key_bits": facts.key_bits}
    if least is None:
        raise refusal(Cause.CERTIFICATE_EXPENSIVE_KEY, facts, depth, **about, needed=KEY_KINDS)
    if facts.key_bits < least:
        raise refusal(Cause.CERTIFICATE_WEAK_KEY, facts, depth, **about, needed=f"{least} bits")


def judge_purpose(leaf: CertificateFacts, partner: Partner, part: str, errors: tuple[PathError, ...] = ()) -> None:
    """Check the extended key usage against the purpose in the partner's entry.

    OpenSSL checks the key usage, too; its finding about the leaf counts if the entry's purpose is strict.

    :param part: the usage for the partner's role in TLS: :data:`CLIENT_AUTH` or :data:`SERVER_AUTH`.
    :raises CertificateRefusal: if the usage does not allow the role.
    """
    if partner.purpose is Purpose.ANY:
        return
    allowed = {part} if partner.purpose is Purpose.STRICT else {CLIENT_AUTH, SERVER_AUTH}
    usage = leaf.extended_key_usage
    if usage is not None and not usage and EXTENDED_KEY_USAGE in leaf.unreadable:
        raise refusal(Cause.CERTIFICATE_UNREADABLE, leaf, partner=partner.name, purpose=partner.purpose.value)
    said = [error.text for error in errors if (error.code, error.depth) == (VerifyError.INVALID_PURPOSE, 0)]
    if (usage is not None and not usage & allowed) or (said and partner.purpose is Purpose.STRICT):
        raise refusal(
            Cause.CERTIFICATE_WRONG_PURPOSE,
            leaf,
            partner=partner.name,
            purpose=partner.purpose.value,
            extended_key_usage=", ".join(sorted(usage or ())),
            openssl="; ".join(said),
        )


def _judge_revocation(
    facts: CertificateFacts,
    depth: int,
    issuer: CertificateFacts,
    ca: TrustedCa,
    configuration: ServerConfiguration,
    now: datetime.datetime,
) -> None:
    if ca.revocation is RevocationMode.OFF:
        return
    found, revocation = judge_revocation(
        configuration.lists.of_issuer(issuer.key_sha256, issuer.subject),
        facts.serial,
        facts.crl_points,
        now,
        datetime.timedelta(hours=ca.grace_hours),
        is_ca=facts.is_ca,
    )
    if found is RevocationStatus.GOOD:
        return
    if found is not RevocationStatus.REVOKED and ca.revocation is RevocationMode.PREFER:
        return
    detail: dict[str, Detail] = {
        "ca": ca.name,
        "list": issuer.subject,
        "list_key_sha256": issuer.key_sha256,
    }
    part = ", ".join(facts.crl_points) if revocation is None else revocation.scope.part
    if part:
        detail["list_part"] = part
    if revocation is not None:
        detail["this_update"] = Instant().write(revocation.this_update)
        detail["age"] = round((now - revocation.this_update).total_seconds())
        if revocation.next_update is not None:
            detail["next_update"] = Instant().write(revocation.next_update)
    raise refusal(_REVOCATION_CAUSES[found], facts, depth, **detail)


def judge_called(
    chain: ChainFacts,
    partner: Partner,
    outbound: Outbound,
    configuration: ServerConfiguration,
    now: datetime.datetime,
    bears: Callable[[str], bool],
) -> Match:
    """Check that *chain* belongs to the called partner.

    :param bears: tells whether the partner's certificate contains a host's name or address.
    :raises CertificateRefusal: if the chain does not prove it.
    """
    if not chain.presented:
        raise CertificateRefusal(cause=Cause.CERTIFICATE_MISSING)
    leaf = chain.presented[0]
    rules = rules_of(partner, outbound)
    if outbound.verify is Verify.PIN:
        return _judge_pinned(leaf, chain, partner, rules, configuration, now)
    if outbound.verify is Verify.NAME:
        wanted = [each.name for each in configuration.cas if outbound.ca in (None, each.name)]
        ca = _judge_called_path(leaf, chain, wanted, configuration, now)[0]
        by = Verify.NAME.value
    else:
        fitting = [rule for rule in rules if isinstance(rule, SubjectRule)]
        reached = _judge_called_path(leaf, chain, {rule.ca for rule in fitting}, configuration, now)
        found = [rule for rule in fitting if rule.ca in reached and rule.serial_number == leaf.subject_serial_number]
        if not found:
            raise refusal(
                Cause.CERTIFICATE_NOT_EXPECTED,
                leaf,
                partner=partner.name,
                subject_serial_number=leaf.subject_serial_number or "",
                key_sha256=leaf.key_sha256,
            )
        ca, by = found[0].ca, SubjectRule.by
    judge_purpose(leaf, partner, SERVER_AUTH, chain.path_errors)
    if outbound.verify is Verify.NAME and not bears(outbound.name):
        raise refusal(Cause.CERTIFICATE_WRONG_NAME, leaf, partner=partner.name, wanted=outbound.name, sans=leaf.sans)
    return Match(partner=partner, certificate=leaf, by=by, ca=ca)


def _judge_pinned(
    leaf: CertificateFacts,
    chain: ChainFacts,
    partner: Partner,
    rules: tuple[CertificatePin | KeyPin | SubjectRule, ...],
    configuration: ServerConfiguration,
    now: datetime.datetime,
) -> Match:
    for pin in (CertificatePin(sha256=leaf.sha256), KeyPin(sha256=leaf.key_sha256)):
        if pin in rules:
            judge_dates(leaf, 0, now)
            judge_key(leaf, 0)
            judge_purpose(leaf, partner, SERVER_AUTH)
            return Match(partner=partner, certificate=leaf, by=pin.by, ca=None)
    # A path that is good up to a CA makes it a proposal, and trusts nothing.
    reached: list[str] = []
    with contextlib.suppress(CertificateRefusal):
        names = {each.name for each in configuration.cas}
        reached = _judge_called_path(leaf, chain, names, configuration, now)
    about = {"cas": ", ".join(reached), **_dates(leaf)} if reached else {}
    raise refusal(Cause.CERTIFICATE_NOT_EXPECTED, leaf, partner=partner.name, key_sha256=leaf.key_sha256, **about)


def _judge_called_path(
    leaf: CertificateFacts,
    chain: ChainFacts,
    wanted: Container[str],
    configuration: ServerConfiguration,
    now: datetime.datetime,
) -> list[str]:
    """Those of the wanted CAs that the path is good up to; at least one."""
    refused: list[CertificateRefusal] = []
    reached: list[str] = []
    for ca in configuration.cas:
        reaching = chain.reaching(ca) if ca.name in wanted else None
        if reaching is None:
            continue
        try:
            judge_below(*reaching, ca, configuration, now)
        except CertificateRefusal as found:
            refused.append(found)
        else:
            reached.append(ca.name)
    if not reached:
        raise refused[0] if refused else unreached(leaf, chain.path_errors)
    return reached
