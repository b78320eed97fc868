"""Whether a partner whose session runs would still be let in.

Duty: judge the chain of a session that began under an earlier generation by the rules of a new one. Only what takes the
partner's right away counts: a revoked certificate, a pin, rule, authority or entry that was removed, an entry that was
disabled. What merely keeps new sessions out for now (a list that is missing or out of date, an end of validity that
passed) lets a running one finish. Trusts the facts to be those of the session's own handshake.

RFC 5280 section 6; threat: a stolen key whose session is kept open beyond its revocation.
"""

import datetime
from typing import Final

import attrs

from smartproxy.policy.authorities import RevocationMode
from smartproxy.policy.certificates import CertificateRefusal, RefusalCause, judge_chain
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.policy.refusals import refusal

WITHDRAWALS: Final = frozenset(
    {
        RefusalCause.REVOKED,
        RefusalCause.UNKNOWN_AUTHORITY,
        RefusalCause.NO_PARTNER,
        RefusalCause.PARTNER_DISABLED,
    }
)
"""The causes for which a running session ends."""


@attrs.frozen
class Standing:
    """The rules of a generation for sessions that run already.

    :ivar configuration: the generation, with lists that are missing or out of date overlooked.
    """

    configuration: ServerConfiguration

    @classmethod
    def of(cls, configuration: ServerConfiguration) -> "Standing":
        """The rules of a generation."""
        authorities = tuple(
            attrs.evolve(authority, revocation=RevocationMode.PREFER)
            if authority.revocation is RevocationMode.REQUIRE
            else authority
            for authority in configuration.authorities
        )
        return cls(attrs.evolve(configuration, authorities=authorities))

    def withdrawn(self, verified: VerifiedPartner, now: datetime.datetime) -> CertificateRefusal | None:
        """Why the session of a partner has to end; ``None`` if it need not."""
        try:
            match = judge_chain(verified.chain, self.configuration, now)
        except CertificateRefusal as found:
            return found if found.cause in WITHDRAWALS else None
        if match.partner.name != verified.partner.name:
            return refusal(RefusalCause.NO_PARTNER, match.certificate, partner=verified.partner.name)
        return None
