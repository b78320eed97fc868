"""What will become of partners' certificates: who would be refused, and when the next one fails.

Duty: answer from what was seen and what is loaded, without a handshake: which certificates ``require`` would refuse
now, by the lists at hand, and when a certificate that is good now will be refused for the first time. Judges by the
same :func:`~smartproxy.policy.revocation.status` as a handshake; knows less than one, since only the leaf was kept, and
says so where that matters. Trusts what it is given.

RFC 5280 sections 5 and 6.3.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.revocation import RevocationSet, RevocationStatus, status

_WORDS: Final = {
    RevocationStatus.REVOKED: "it is revoked by the list of {}",
    RevocationStatus.MISSING: "there is no revocation list of {}",
    RevocationStatus.STALE: "the revocation list of {} is out of date",
    RevocationStatus.FUTURE: "the revocation list of {} is of a time to come",
}


@attrs.frozen(kw_only=True)
class Issuer:
    """A certificate of a configured authority.

    :ivar authority: the name of the authority's entry.
    :ivar subject: its subject's name, as RFC 4514 writes it.
    :ivar issuer: its issuer's name.
    :ivar serial: its serial number.
    :ivar key_sha256: SHA-256 of its SubjectPublicKeyInfo.
    :ivar not_after: the end of its validity.
    """

    authority: str
    subject: str
    issuer: str
    serial: int
    key_sha256: str
    not_after: datetime.datetime


@attrs.frozen
class Outlook:
    """What is configured and loaded.

    :ivar issuers: the certificates of all authorities.
    :ivar lists: the revocation sets, by the SHA-256 of the issuer's key.
    """

    issuers: tuple[Issuer, ...]
    lists: Mapping[str, RevocationSet]

    def refusal(
        self, issuer: str, serial: int, authority: str, now: datetime.datetime, grace: datetime.timedelta
    ) -> str | None:
        """Why ``require`` would refuse a certificate; ``None`` if it would not.

        :param issuer: the name of the certificate's issuer.
        :param authority: the authority of the rule that the partner is known by: the path is judged up to it.
        """
        for _ in range(limits.PATH_DEPTH_MOST):
            signer = self.signer(issuer, authority)
            if signer is None:
                return (
                    f"the certificate of its issuer {issuer} is not in the ca, so that no revocation list of it can be"
                    " loaded"
                )
            found = status(self.lists.get(signer.key_sha256), serial, now, grace)
            if found is not RevocationStatus.GOOD:
                return _WORDS[found].format(signer.subject)
            if signer.authority == authority:
                return None
            issuer, serial = signer.issuer, signer.serial
        return "its path does not come to the ca"

    def unlisted(
        self, authority: str, now: datetime.datetime, grace: datetime.timedelta
    ) -> tuple[list[str], list[str]]:
        """Of an authority's certificates, those with a list that is current and those without, by their subjects."""
        current: list[str] = []
        others: list[str] = []
        for each in self.issuers:
            if each.authority == authority:
                # No certificate has the serial number -1: what counts is the list.
                good = status(self.lists.get(each.key_sha256), -1, now, grace) is RevocationStatus.GOOD
                (current if good else others).append(each.subject)
        return current, others

    def ends(
        self, issuer: str, not_after: datetime.datetime, authority: str | None, grace: datetime.timedelta | None
    ) -> Iterable[tuple[datetime.datetime, str]]:
        """When a certificate that is good now will be refused, and why: all the moments that are known.

        :param authority: the authority that vouches for it; ``None`` for a pinned one.
        :param grace: how long a list is good after its promised end; ``None`` where lists are not required.
        """
        yield not_after, "the certificate ends"
        signer = None if authority is None else self.signer(issuer, authority)
        if signer is None:
            return
        yield signer.not_after, f"the certificate of its issuer {signer.subject} ends"
        loaded = self.lists.get(signer.key_sha256)
        if grace is not None and loaded is not None:
            yield loaded.fresh_until + grace, f"the revocation list of {signer.subject} has to be renewed"

    def signer(self, subject: str, authority: str) -> Issuer | None:
        """The certificate of a name: that of the given authority if it has one, else any other's."""
        named = [each for each in self.issuers if each.subject == subject]
        return next((each for each in named if each.authority == authority), named[0] if named else None)
