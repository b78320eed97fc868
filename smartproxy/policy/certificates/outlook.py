"""The outlook: which partners ``require`` would refuse now, and when a certificate will first be refused.

Duty: judge certificates without a handshake, by the certificates that partners have presented and the lists that are
loaded. It uses the same :func:`~smartproxy.policy.certificates.revocation.judge_revocation` as a handshake. It knows
less than a handshake, because only the leaf was kept, and says so where that matters.

RFC 5280 sections 4.2.1.13, 5 and 6.3.3.
"""

import datetime
from collections.abc import Iterable
from typing import Final

import attrs

from smartproxy.policy import limits
from smartproxy.policy.certificates.revocation import (
    Covered,
    RevocationLists,
    RevocationSet,
    RevocationStatus,
    judge_revocation,
    status,
)
from smartproxy.policy.values import shifted

_WORDS: Final = {
    RevocationStatus.REVOKED: "it is revoked by the list of {}",
    RevocationStatus.MISSING: "there is no revocation list of {}",
    RevocationStatus.STALE: "the revocation list of {} is out of date",
    RevocationStatus.FUTURE: "the revocation list of {} is dated in the future",
}


@attrs.frozen(kw_only=True)
class Issuer:
    """A certificate of a configured CA.

    :ivar ca: the name of the CA's entry.
    :ivar subject: its subject's name, as RFC 4514 writes it.
    :ivar issuer: its issuer's name.
    :ivar serial: its serial number.
    :ivar key_sha256: SHA-256 of its SubjectPublicKeyInfo.
    :ivar not_after: the end of its validity.
    :ivar crl_points: the names of the distribution points in it.
    """

    ca: str
    subject: str
    issuer: str
    serial: int
    key_sha256: str
    not_after: datetime.datetime
    crl_points: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Listed:
    """The subjects of a CA's certificates, by the revocation lists that they issued.

    :ivar current: those with a current list that covers all certificates of partners.
    :ivar in_parts: the others with a current list.
    :ivar without: those without a current list.
    """

    current: tuple[str, ...]
    in_parts: tuple[str, ...]
    without: tuple[str, ...]


@attrs.frozen
class Outlook:
    """The configured CAs and the loaded revocation lists.

    :ivar issuers: the certificates of all CAs.
    :ivar lists: the revocation sets.
    """

    issuers: tuple[Issuer, ...]
    lists: RevocationLists

    def refusal(
        self,
        issuer: str,
        serial: int,
        ca: str,
        now: datetime.datetime,
        grace: datetime.timedelta,
        points: tuple[str, ...] = (),
    ) -> str | None:
        """The reason for which ``require`` would refuse a certificate; ``None`` if it would not.

        :param issuer: the name of the certificate's issuer.
        :param ca: the CA of the partner's certificate rule; the path is judged up to it.
        :param points: the names of the distribution points in the certificate.
        """
        return self._refusal(issuer, serial, ca, points, now, grace, depth=0)

    def _refusal(
        self,
        issuer: str,
        serial: int,
        ca: str,
        points: tuple[str, ...],
        now: datetime.datetime,
        grace: datetime.timedelta,
        depth: int,
    ) -> str | None:
        """The same for the certificate at a depth of the path: it counts if it is good by one of its possible issuers.

        Which of them signed it is not known: a CA that got another key, or a later certificate, has the name twice.
        """
        if depth == limits.PATH_DEPTH_MOST:
            return "its path does not reach the CA"
        found: list[str] = []
        for signer in self.signers(issuer, ca):
            refused = self._refused_by(signer, serial, points, now, grace, is_ca=depth > 0)
            if refused is None and signer.ca != ca:
                refused = self._refusal(signer.issuer, signer.serial, ca, signer.crl_points, now, grace, depth + 1)
            if refused is None:
                return None
            found.append(refused)
        if found:
            return found[0]
        return (
            f"the certificate of its issuer {issuer} is not in the CA; therefore the issuer's revocation list"
            " cannot be loaded"
        )

    def _refused_by(
        self,
        signer: Issuer,
        serial: int,
        points: tuple[str, ...],
        now: datetime.datetime,
        grace: datetime.timedelta,
        *,
        is_ca: bool,
    ) -> str | None:
        """The reason in the lists of a signer."""
        lists = self._of(signer)
        found, by = judge_revocation(lists, serial, points, now, grace, is_ca=is_ca)
        if found is RevocationStatus.GOOD:
            return None
        part = (", ".join(points) or "certificates without a distribution point") if lists else None
        return _WORDS[found].format(_list_of(signer, part if by is None else by.scope.part))

    def listed(self, ca: str, now: datetime.datetime, grace: datetime.timedelta) -> Listed:
        """Sort the subjects of a CA's certificates by their revocation lists."""
        current: list[str] = []
        in_parts: list[str] = []
        without: list[str] = []
        for each in self.issuers:
            if each.ca == ca:
                # No certificate has the serial number -1: only the list's dates decide.
                good = [
                    loaded.scope
                    for loaded in self._of(each)
                    if loaded.scope.covered is not Covered.CAS
                    and status(loaded, -1, now, grace) is RevocationStatus.GOOD
                ]
                whole = any(not scope.points for scope in good)
                (current if whole else in_parts if good else without).append(each.subject)
        return Listed(current=tuple(current), in_parts=tuple(in_parts), without=tuple(without))

    def ends(
        self,
        issuer: str,
        not_after: datetime.datetime,
        ca: str | None,
        grace: datetime.timedelta | None,
        points: tuple[str, ...] = (),
    ) -> Iterable[tuple[datetime.datetime, str]]:
        """The known times from which a valid certificate will be refused, each with the reason.

        :param ca: the CA that the certificate comes from; ``None`` for a pinned one.
        :param grace: how long a list stays valid after its nextUpdate; ``None`` where lists are not required.
        :param points: the names of the distribution points in the certificate.
        """
        yield not_after, "the certificate expires"
        signers = () if ca is None else self.signers(issuer, ca)
        if not signers:
            return
        signer = max(signers, key=lambda each: each.not_after)
        yield signer.not_after, f"the certificate of its issuer {signer.subject} expires"
        loaded = [each for by in signers for each in self._of(by) if each.scope.covers(points, is_ca=False)]
        if grace is not None and loaded:
            last = max(loaded, key=lambda each: each.fresh_until)
            words = f"the revocation list of {_list_of(signer, last.scope.part)} has to be renewed"
            yield shifted(last.fresh_until, grace), words

    def _of(self, issuer: Issuer) -> tuple[RevocationSet, ...]:
        return self.lists.of_issuer(issuer.key_sha256, issuer.subject)

    def signers(self, subject: str, ca: str) -> tuple[Issuer, ...]:
        """The CA certificates with this subject, those of the given CA first."""
        return tuple(sorted((each for each in self.issuers if each.subject == subject), key=lambda each: each.ca != ca))


def _list_of(issuer: Issuer, part: str | None) -> str:
    return issuer.subject if part is None else f"{issuer.subject} for {part}"
