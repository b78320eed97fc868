"""Withdrawal: whether the partner of a running session would still be accepted, or still be called.

Duty: judge the chain of a session that started under an earlier generation by the rules of a new one. For a session
that the partner started, the chain has to identify the same partner; for one that the station started, it has to be
what the partner's outbound entry requires. A session ends only if the partner lost its access: its certificate was
revoked, or its pin, rule, CA or entry was removed, changed or disabled, or its entry does not allow calls any more. A
CA certificate that was replaced by another one of the same name and key is the same CA.
Causes that only prevent new sessions for now (a missing or outdated list, an expired certificate, another purpose) let
a running session finish. Trusts that the facts are those of the session's own handshake.

RFC 5280 section 6; threat: a stolen key whose session is kept open beyond its revocation.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal, refusal
from smartproxy.policy.certificates.facts import CertificateFacts, ChainFacts
from smartproxy.policy.certificates.judge import judge_called, judge_chain
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.policy.partners import Purpose, RevocationMode

WITHDRAWALS: Final = frozenset(
    {
        Cause.CERTIFICATE_REVOKED,
        Cause.CERTIFICATE_UNKNOWN_CA,
        Cause.CERTIFICATE_NO_PARTNER,
        Cause.CERTIFICATE_PARTNER_DISABLED,
    }
)
"""The causes for which a session that the partner started ends."""


@attrs.frozen
class Standing:
    """The rules of a generation for running sessions.

    :ivar configuration: the generation, changed so that missing and outdated lists are ignored.
    :ivar known: SHA-256 of each certificate of its CAs.
    :ivar by_key: the same by their names and the SHA-256 of their keys.
    """

    configuration: ServerConfiguration
    known: frozenset[str] = frozenset()
    by_key: Mapping[tuple[str, str], tuple[str, ...]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, configuration: ServerConfiguration, anchors: Iterable[CertificateFacts] = ()) -> "Standing":
        """Make the rules from a generation.

        :param anchors: the certificates of its CAs.
        """
        cas = tuple(
            attrs.evolve(ca, revocation=RevocationMode.PREFER) if ca.revocation is RevocationMode.REQUIRE else ca
            for ca in configuration.cas
        )
        known = frozenset[str]().union(*(ca.anchors for ca in cas))
        by_key: dict[tuple[str, str], tuple[str, ...]] = {}
        for each in anchors:
            key = each.subject, each.key_sha256
            by_key[key] = (*by_key.get(key, ()), each.sha256)
        return cls(attrs.evolve(configuration, cas=cas), known, by_key)

    def withdrawn(self, verified: VerifiedPartner, now: datetime.datetime) -> CertificateRefusal | None:
        """The reason to end a session that the partner started; ``None`` if it may go on."""
        try:
            match = judge_chain(self._renewed(_unended(verified.chain, now)), self.configuration, now)
        except CertificateRefusal as found:
            return found if found.cause in WITHDRAWALS else None
        if match.partner.name != verified.partner.name:
            return refusal(Cause.CERTIFICATE_NO_PARTNER, match.certificate, partner=verified.partner.name)
        return None

    def withdrawn_called(
        self, verified: VerifiedPartner, now: datetime.datetime, bears: Callable[[str], bool]
    ) -> CertificateRefusal | None:
        """The reason to end a session that the station started; ``None`` if it may go on.

        :param bears: tells whether the partner's certificate contains a host's name or address.
        """
        name, certificate = verified.partner.name, verified.certificate
        entry = next((partner for partner in self.configuration.partners if partner.name == name), None)
        if entry is None:
            return refusal(Cause.CERTIFICATE_NO_PARTNER, certificate, partner=name)
        if not entry.enabled:
            return refusal(Cause.CERTIFICATE_PARTNER_DISABLED, certificate, partner=name)
        if entry.outbound is None:
            return refusal(Cause.CERTIFICATE_NOT_CALLED, certificate, partner=name)
        chain = self._renewed(_unended(verified.chain, now))
        partner = attrs.evolve(entry, purpose=Purpose.ANY)
        try:
            judge_called(chain, partner, entry.outbound, self.configuration, now, bears)
        except CertificateRefusal as found:
            return found
        return None

    def _renewed(self, chain: ChainFacts) -> ChainFacts:
        """The chain with the CAs' certificates of this generation in the place of their predecessors, and beside."""
        if not chain.path:
            return chain
        above: list[CertificateFacts] = []
        twins: dict[str, tuple[CertificateFacts, ...]] = {}
        for facts in chain.path[1:]:
            others = self.by_key.get((facts.subject, facts.key_sha256), ())
            present = facts if facts.sha256 in self.known or not others else attrs.evolve(facts, sha256=others[0])
            above.append(present)
            twins[present.sha256] = tuple(attrs.evolve(facts, sha256=each) for each in others if each != present.sha256)
        return attrs.evolve(chain, path=(chain.path[0], *above), twins=twins)


def _unended(chain: ChainFacts, now: datetime.datetime) -> ChainFacts:
    """The chain with all certificates valid at *now*: an expired certificate must not hide a withdrawal."""

    def unended(certificates: tuple[CertificateFacts, ...]) -> tuple[CertificateFacts, ...]:
        return tuple(
            attrs.evolve(facts, not_before=min(facts.not_before, now), not_after=max(facts.not_after, now))
            for facts in certificates
        )

    return attrs.evolve(chain, presented=unended(chain.presented), path=unended(chain.path))
