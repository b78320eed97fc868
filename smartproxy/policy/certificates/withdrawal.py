"""Whether a partner whose session runs would still be let in, or called.

Duty: judge the chain of a session that began under an earlier generation by the rules of a new one, each direction by
its own: of a partner who called, whose certificate it is; of one who was called, whether it is still the one that his
entry wants. Only what takes the partner's right away counts: a revoked certificate, a pin, rule, CA or entry
that was removed or does not fit any more, an entry that was disabled or does not allow calls. What merely keeps new
sessions out for now (a list that is missing or out of date, an end of validity that passed, another purpose) lets a
running one finish. Trusts the facts to be those of the session's own handshake.

RFC 5280 section 6; threat: a stolen key whose session is kept open beyond its revocation.
"""

import datetime
from collections.abc import Callable
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
"""The causes for which the session of a partner who called ends."""


@attrs.frozen
class Standing:
    """The rules of a generation for sessions that run already.

    :ivar configuration: the generation, with lists that are missing or out of date overlooked.
    """

    configuration: ServerConfiguration

    @classmethod
    def of(cls, configuration: ServerConfiguration) -> "Standing":
        """The rules of a generation."""
        cas = tuple(
            attrs.evolve(ca, revocation=RevocationMode.PREFER) if ca.revocation is RevocationMode.REQUIRE else ca
            for ca in configuration.cas
        )
        return cls(attrs.evolve(configuration, cas=cas))

    def withdrawn(self, verified: VerifiedPartner, now: datetime.datetime) -> CertificateRefusal | None:
        """Why the session of a partner who called has to end; ``None`` if it need not."""
        try:
            match = judge_chain(_unended(verified.chain, now), self.configuration, now)
        except CertificateRefusal as found:
            return found if found.cause in WITHDRAWALS else None
        if match.partner.name != verified.partner.name:
            return refusal(Cause.CERTIFICATE_NO_PARTNER, match.certificate, partner=verified.partner.name)
        return None

    def withdrawn_called(
        self, verified: VerifiedPartner, now: datetime.datetime, bears: Callable[[str], bool]
    ) -> CertificateRefusal | None:
        """Why the session of a partner who was called has to end; ``None`` if it need not.

        :param bears: tells whether the certificate that he showed bears a host's name or address.
        """
        name, certificate = verified.partner.name, verified.certificate
        entry = next((partner for partner in self.configuration.partners if partner.name == name), None)
        if entry is None:
            return refusal(Cause.CERTIFICATE_NO_PARTNER, certificate, partner=name)
        if not entry.enabled:
            return refusal(Cause.CERTIFICATE_PARTNER_DISABLED, certificate, partner=name)
        if entry.outbound is None:
            return refusal(Cause.CERTIFICATE_NOT_CALLED, certificate, partner=name)
        chain, partner = _unended(verified.chain, now), attrs.evolve(entry, purpose=Purpose.ANY)
        try:
            judge_called(chain, partner, entry.outbound, self.configuration, now, bears)
        except CertificateRefusal as found:
            return found
        return None


def _unended(chain: ChainFacts, now: datetime.datetime) -> ChainFacts:
    """A chain as if none of its certificates had ended since: an end of validity must not hide a withdrawal."""

    def unended(certificates: tuple[CertificateFacts, ...]) -> tuple[CertificateFacts, ...]:
        return tuple(
            attrs.evolve(facts, not_before=min(facts.not_before, now), not_after=max(facts.not_after, now))
            for facts in certificates
        )

    return attrs.evolve(chain, presented=unended(chain.presented), path=unended(chain.path))
