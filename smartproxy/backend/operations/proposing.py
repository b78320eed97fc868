"""Operations on proposals: new certificates with which partners came."""

import attrs

from smartproxy.backend import proposals
from smartproxy.backend.change import Change
from smartproxy.backend.operations.operation import Transaction
from smartproxy.backend.operations.partner import PARTNER
from smartproxy.backend.proposals import ProposedCertificate
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import NAME, Flag, Line


@attrs.frozen(kw_only=True)
class ProposalList:
    """All proposals."""

    items: tuple[ProposedCertificate, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ProposedCertificate))))


@attrs.frozen(kw_only=True)
class ProposalsWanted:
    """Which proposals are wanted.

    :ivar rejected: whether also those that were rejected.
    """

    rejected: bool = attrs.field(
        default=False, metadata=kind(Flag(), people=ForPeople(help="also those that were rejected"))
    )


@attrs.frozen(kw_only=True)
class Acceptance:
    """Which proposal is accepted, or rejected.

    :ivar name: the partner.
    :ivar sha256: the certificate's SHA-256 or the beginning of it; needed only where several are proposed.
    """

    name: str = attrs.field(metadata=kind(NAME))
    sha256: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Line(most=95, pattern="[0-9A-Fa-f:]+", form="digits of a SHA-256")),
            people=ForPeople(help="the certificate's SHA-256 or the beginning of it, if several are proposed"),
        ),
    )


@PARTNER.reading("proposals", "List new certificates with which partners came that are known by a pinned one.")
def listed(look: Transaction, wanted: ProposalsWanted) -> ProposalList:
    """All proposals."""
    return ProposalList(items=tuple(proposals.listed(look.session, rejected=wanted.rejected)))


@PARTNER.changing("accept", "Recognize a partner by the new certificate that is proposed; the old one stays valid.")
def accept(change: Change, wanted: Acceptance) -> ProposedCertificate:
    """Make a pin of a proposal; the answer says what it was."""
    return proposals.accept(change, wanted.name, wanted.sha256)


@PARTNER.acting("reject", "Decide that a proposed certificate is not the partner's: it is not proposed again.")
def reject(work: Transaction, wanted: Acceptance) -> ProposedCertificate:
    """Reject a proposal; the answer says what it was."""
    return proposals.reject(work.session, wanted.name, wanted.sha256, work.now)
