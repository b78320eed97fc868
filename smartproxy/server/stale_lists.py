"""The warning of revocation lists that are out of date, within their grace too: at once, and every hour.

A list that no CA uses, because its issuer's CAs do not use lists, is no reason to warn.
"""

import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

import attrs
from cryptography import x509
from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.net.tls.context import CertificateUnusable, anchors_above, load_anchors
from smartproxy.net.tls.facts import key_sha256
from smartproxy.net.tls.names import subject_text
from smartproxy.policy.certificates.revocation import RevocationSet, compared
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.partners import RevocationMode, TrustedCa

STALE_LIST_SECONDS: Final = 3600.0
"""After that long it is told again."""


@attrs.frozen
class _Issuer:
    """A certificate of a CA.

    :ivar modes: how the lists of this issuer are used: by the CAs that it is in, and by those above it.
    """

    key_sha256: str
    subject: str
    modes: frozenset[RevocationMode]

    def issued(self, revocation: RevocationSet) -> bool:
        """Whether it is the issuer of a list."""
        name = revocation.issuer_name
        return self.key_sha256 == revocation.issuer_key_sha256 and (
            name is None or compared(name) == compared(self.subject)
        )


@lru_cache(maxsize=1)
def _issuers(cas: tuple[TrustedCa, ...]) -> tuple[_Issuer, ...]:
    """The certificates of all CAs of a generation."""
    modes: dict[x509.Certificate, set[RevocationMode]] = {}
    for ca in cas:
        with contextlib.suppress(CertificateUnusable):
            for anchor in load_anchors((ca,)):
                modes.setdefault(anchor, set()).add(ca.revocation)
    above = anchors_above(modes)
    return tuple(
        _Issuer(
            key_sha256(anchor),
            subject_text(anchor),
            frozenset(found).union(*(modes[each] for each in above.get(anchor, ()))),
        )
        for anchor, found in modes.items()
    )


def _advice(revocation: RevocationSet, issuers: Iterable[_Issuer]) -> str | None:
    """What to do about a list that is out of date; ``None`` if nothing is."""
    found = [each.modes for each in issuers if each.issued(revocation)]
    if not found:
        return (
            "its issuer is in no CA: add the issuer's certificate to a CA if partners have certificates of it, else "
            "remove the list: smartproxy crl remove"
        )
    if all(modes == {RevocationMode.OFF} for modes in found):
        return None
    return "load a newer list: smartproxy crl load FILE"


class StaleLists:
    """The lists of the generation in force.

    :param now: tells the wall clock's time, aware, in UTC.
    """

    def __init__(self, clock: IReactorTime, events: Events, now: Callable[[], datetime]) -> None:
        self._events = events
        self._now = now
        self._server = ServerConfiguration()
        self._next = Deadline(clock, self._tell)

    def watch(self, server: ServerConfiguration) -> None:
        """Warn of the lists of this generation from now on."""
        self._server = server
        self._tell()

    def stop(self) -> None:
        """Stop warning."""
        self._server = ServerConfiguration()
        self._next.stop()

    def _tell(self) -> None:
        self._next.start(STALE_LIST_SECONDS)
        now = self._now()
        for revocation in self._server.revocation:
            if revocation.fresh_until < now:
                advice = _advice(revocation, _issuers(self._server.cas))
                if advice is None:
                    continue
                self._events.emit(
                    "crl.stale",
                    issuer=revocation.issuer_name or revocation.issuer_key_sha256,
                    list_part=revocation.scope.part,
                    next_update=revocation.next_update,
                    age=(now - revocation.this_update).total_seconds(),
                    advice=advice,
                )
