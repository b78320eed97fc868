"""What runs out, and when its end is to be told: some days before, once for each of these days.

Duty: collect the ends of everything that sessions need (licences, certificates of ours, of CAs and of partners,
revocation lists, tunnel certificates, administrators' tokens), each with what to do about it, and keep in the store
what was told, so that neither a restart nor another backend on the same store tells it again. Days before the end that
are more than half of the whole life do not count: a list of a week would be warned of from its first day.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from shlex import quote

import attrs
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from smartproxy.backend import (
    administrators,
    authority,
    cas,
    clients,
    forecasts,
    identities,
    licences,
    page_certificate,
)
from smartproxy.backend.alert_tables import ToldEndingRow
from smartproxy.backend.alerts.intake import backend_settings
from smartproxy.backend.certificates import certificate_pin, known_key_pin, subject_text
from smartproxy.backend.errors import Unusable
from smartproxy.backend.page_certificate import CertificateSource
from smartproxy.backend.schema import RevocationRow
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.revocation import compared, fresh_until
from smartproxy.policy.limits import LICENCE_WARNING_DAYS
from smartproxy.policy.partners import RevocationMode
from smartproxy.policy.values import minute

KEPT_AFTER = timedelta(days=30)
"""How long after an end it is kept that it was told: a clock may be put back."""


@attrs.frozen(kw_only=True)
class WatchedEnd:
    """Something that ends.

    :ivar cause: what kind of thing it is; ``None`` for a licence, which has an event of its own.
    :ivar what: which one, in words; they stay the same for a thing that is renewed.
    :ivar name: what it is called, without saying what it is: the partner's name of what is a partner's.
    :ivar apart: what tells it from others with the same words; it stays the same, too.
    :ivar begins: the beginning of its validity, if that matters.
    :ivar advice: what to do about it.
    """

    cause: Cause | None
    what: str
    name: str = ""
    until: datetime
    begins: datetime | None = None
    advice: str
    partner: str | None = None
    ca: str | None = None
    client: str | None = None
    apart: str = ""

    def mark(self, now: datetime) -> int | None:
        """The last number of days before the end at which it was to be told; ``None`` if none was reached yet."""
        left = self.until - now
        if left < timedelta():
            return None
        due = [
            days
            for days in LICENCE_WARNING_DAYS
            if left <= timedelta(days=days)
            and (self.begins is None or timedelta(days=2 * days) <= self.until - self.begins)
        ]
        return min(due, default=None)

    @property
    def sentence(self) -> str:
        """That it ends, for people."""
        return f"{self.what} ends on {minute(self.until)}"

    @property
    def key(self) -> str:
        """What stands for it in the store, however long its words are."""
        return hashlib.sha256(f"{self.cause}\n{self.what}\n{self.apart}".encode()).hexdigest()


def take(session: Session, now: datetime) -> list[WatchedEnd]:
    """What is to be told now; it counts as told from then on."""
    session.execute(delete(ToldEndingRow).where(ToldEndingRow.valid_until < now - KEPT_AFTER))
    latest: dict[str, WatchedEnd] = {}
    for ending in known(session):
        # The old and the new certificate of a CA's key, for example: what counts is the end of the new one.
        if ending.key not in latest or ending.until > latest[ending.key].until:
            latest[ending.key] = ending
    found = []
    for key, ending in latest.items():
        mark = ending.mark(now)
        if mark is None:
            continue
        told = session.get(ToldEndingRow, key)
        if told is not None and told.valid_until == ending.until and told.mark <= mark:
            continue
        session.merge(ToldEndingRow(key=key, valid_until=ending.until, mark=mark))
        found.append(ending)
    session.flush()
    return found


def known(session: Session) -> Iterator[WatchedEnd]:
    """Everything with an end."""
    yield from _licences(session)
    yield from _ours(session)
    yield from _page(session)
    yield from _cas(session)
    yield from _lists(session)
    yield from _partners(session)
    yield from _clients(session)
    yield from _tokens(session)


def _licences(session: Session) -> Iterator[WatchedEnd]:
    for row in licences.newest(session).values():
        yield WatchedEnd(
            cause=None,
            what=row.proxy_id,
            name=row.proxy_id,
            until=row.valid_until,
            advice=f"extend it: smartproxy licence extend {quote(row.proxy_id)} --until DATE",
        )


def _ours(session: Session) -> Iterator[WatchedEnd]:
    for row in identities.listed(session):
        leaves = identities.chain_of(row)[:1]
        if row.planned_since is not None:
            yield WatchedEnd(
                cause=Cause.ENDING_CHANGE_OVER,
                what=f"the use of the present certificate of our identity {row.name}",
                name=row.name,
                until=row.planned_since,
                advice="see that all partners have its successor: smartproxy identity show "
                f"{quote(row.name)} --planned -o FILE",
            )
            # A successor in time is an end of its own, and the present one's matters to nobody.
            if leaves and leaves[0].not_valid_after_utc >= row.planned_since:
                leaves = identities.planned_chain_of(row)[:1]
        for leaf in leaves:
            yield WatchedEnd(
                cause=Cause.ENDING_IDENTITY,
                what=f"the certificate of our identity {row.name}",
                name=row.name,
                begins=leaf.not_valid_before_utc,
                until=leaf.not_valid_after_utc,
                advice="have it renewed, and give it to the partners in time: "
                f"smartproxy identity request {quote(row.name)}, or smartproxy identity import {quote(row.name)} FILE",
            )
    site = authority.load(session).certificate
    yield WatchedEnd(
        cause=Cause.ENDING_AUTHORITY,
        what="the certificate of the site's authority, and with it those of the backend and of all tunnels",
        begins=site.not_valid_before_utc,
        until=site.not_valid_after_utc,
        advice="set up a store with a new authority, import the configuration there (smartproxy export, smartproxy "
        "import), and issue all licences anew",
    )


def _page(session: Session) -> Iterator[WatchedEnd]:
    """The page's own certificate; the one of the authority ends with the authority."""
    access = backend_settings(session).page
    if access.address is None:
        return
    # A file that cannot be used is told where it is looked at: page.certificate_failed.
    with contextlib.suppress(Unusable):
        found = page_certificate.in_force(session, access)
        if found.source is not CertificateSource.AUTHORITY:
            leaf = found.shown.certificate
            yield WatchedEnd(
                cause=Cause.ENDING_PAGE,
                what="the certificate of the page's own address",
                begins=leaf.not_valid_before_utc,
                until=leaf.not_valid_after_utc,
                advice="put another one in the place of the file"
                if found.source is CertificateSource.FILE
                else "upload another one on the page, or: smartproxy authority page-import FILE",
            )


def _cas(session: Session) -> Iterator[WatchedEnd]:
    for row in cas.listed(session):
        for certificate in cas.certificates_of(row):
            yield WatchedEnd(
                cause=Cause.ENDING_CA,
                what=f"the certificate {subject_text(certificate)} of the CA {row.name}",
                name=row.name,
                begins=certificate.not_valid_before_utc,
                until=certificate.not_valid_after_utc,
                advice="get the CA's new certificates, and load them with the old: "
                f"smartproxy ca change {quote(row.name)}",
                ca=row.name,
                apart=known_key_pin(certificate) or certificate_pin(certificate),
            )


def _lists(session: Session) -> Iterator[WatchedEnd]:
    names = {
        (key, name): row.name
        for row, key, name in cas.signers(session)
        if row.entry.revocation is not RevocationMode.OFF
    }
    # Without the serial numbers, of which there may be a million.
    columns = (
        RevocationRow.issuer_key_sha256,
        RevocationRow.issuer,
        RevocationRow.scope,
        RevocationRow.this_update,
        RevocationRow.next_update,
    )
    for key, issuer, scope, this_update, next_update in session.execute(select(*columns)):
        ca = names.get((key, compared(issuer)))
        if ca is not None:
            part = f", {scope.part}" if scope.part else ""
            yield WatchedEnd(
                cause=Cause.ENDING_LIST,
                what=f"the revocation list of {issuer}{part} (CA {ca})",
                name=ca,
                begins=this_update,
                until=fresh_until(this_update, next_update),
                advice="load the newest list: smartproxy crl load FILE",
                ca=ca,
                apart=f"{key} {scope}",
            )


def _partners(session: Session) -> Iterator[WatchedEnd]:
    """A partner's certificate ends when the last one that is known of it does."""
    for partner, called, ends in forecasts.certificate_ends(session):
        if ends:
            yield WatchedEnd(
                cause=Cause.ENDING_PARTNER,
                what=f"the certificate by which we recognize the partner {partner} when we call it"
                if called
                else f"the certificate of the partner {partner}",
                name=partner,
                until=max(ends),
                advice=advice(partner, called=called),
                partner=partner,
            )


def advice(partner: str, *, called: bool) -> str:
    """What an operator does about the end of a partner's certificate.

    :param called: whether it is recognized by it when it is called.
    """
    if called:
        # This command sets them all; there is none that adds one.
        return (
            "ask the partner for its new certificate; if it is pinned, give it together with the old one: "
            f"smartproxy partner outbound {quote(partner)} --certificate FILE --certificate FILE"
        )
    return (
        "ask the partner for its new certificate; if it is pinned, add it beside the old one on the partner's page, "
        f"or: smartproxy partner certificate add {quote(partner)} --certificate FILE"
    )


def _clients(session: Session) -> Iterator[WatchedEnd]:
    for row in clients.listed(session):
        if row.entry.enabled and row.certificate_until is not None:
            yield WatchedEnd(
                cause=Cause.ENDING_TUNNEL,
                what=f"the tunnel certificate of the client {row.name}",
                name=row.name,
                begins=row.certificate_until - authority.TUNNEL_LIFE,
                until=row.certificate_until,
                advice="the client renews it by itself as long as it reaches the backend: see whether it runs, or "
                f"disable it (smartproxy client disable {quote(row.name)})",
                client=row.name,
            )


def _tokens(session: Session) -> Iterator[WatchedEnd]:
    for row in administrators.listed(session):
        yield WatchedEnd(
            cause=Cause.ENDING_TOKEN,
            what=f"the administrator's token {row.name}",
            name=row.name,
            begins=row.entry.created,
            until=row.entry.until,
            advice="make another one, give it to whoever uses this one, and revoke this one: smartproxy admin-token "
            f"create NAME, smartproxy admin-token revoke {quote(row.name)}",
        )
