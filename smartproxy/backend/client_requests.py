"""What the requests of clients do in the store: blocking, each in one transaction, on plain values.

The https side (:mod:`smartproxy.backend.api`) runs these in threads. Nothing here knows http.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import attrs
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Session

from smartproxy.backend import (
    authority,
    clients,
    generations,
    journal,
    licences,
    loads,
    proposals,
    session_rows,
    sightings,
    trials,
)
from smartproxy.backend.certificates import certificates_to_pem
from smartproxy.backend.database import is_own_fault
from smartproxy.backend.generations import Tag
from smartproxy.backend.loads import NodeKind
from smartproxy.backend.requests import LoadsTold
from smartproxy.backend.session_tables import LiveReportRow
from smartproxy.backend.store import Store
from smartproxy.logs.catalogue import CatalogueError
from smartproxy.logs.event_types import Emitter
from smartproxy.logs.fields import isotime, utc_of
from smartproxy.logs.record import Record, read
from smartproxy.policy import limits
from smartproxy.policy.addresses import same_host
from smartproxy.policy.packed_record import unpack
from smartproxy.policy.portraits import ToldSession
from smartproxy.policy.schema import write_object
from smartproxy.policy.session_record import SessionRecord
from smartproxy.policy.strict_json import DocumentRefused

_T = TypeVar("_T")

AHEAD_MOST = timedelta(hours=1)
"""How far the clock of a server or a client may be ahead."""
CARRIED = Emitter.CLIENT | Emitter.SERVER
"""Whose events a client carries: never the backend's own, nor those of the operator's command."""


@attrs.frozen(kw_only=True)
class RequestingClient:
    """A client whose token is known; one that was removed is not enabled.

    :ivar bound: the address that it is bound to, where the call came from another one.
    """

    name: str
    enabled: bool
    bound: str | None = None

    @property
    def may_call(self) -> bool:
        """Whether its calls are answered."""
        return self.enabled and self.bound is None


@attrs.frozen(kw_only=True)
class IssuedCertificate:
    """A tunnel certificate and what goes with it."""

    certificate: str
    not_after: datetime
    serial: int
    proxy_ids: Sequence[str]
    authority: str

    def document(self) -> dict[str, object]:
        """The body of the answer."""
        return {
            "certificate": self.certificate,
            "not_after": isotime(self.not_after),
            "proxy_ids": list(self.proxy_ids),
            "authority": self.authority,
        }


@attrs.frozen
class NotTaken:
    """Why an event or a record was not stored.

    :ivar message: in our own words.
    :ivar detail: what its sender said, where it is about that.
    """

    message: str
    detail: str | None = None


@attrs.frozen(kw_only=True)
class TakenEvents:
    """How many events were stored, and why others were not."""

    stored: int
    refused: Sequence[NotTaken]


@attrs.frozen
class ClientRequests:
    """The requests, on one store."""

    store: Store

    def caller(self, token: str, now: datetime, version: str | None, address: str) -> RequestingClient | None:
        """Whose token this is; the call is noted."""
        with self.store.reading() as session:
            row = clients.authenticate(session, token)
            if row is None:
                removed = clients.was_removed(session, token)
                return None if removed is None else RequestingClient(name=removed, enabled=False)
            bound = row.entry.address
            strayed = bound is not None and not same_host(bound, address)
            caller = RequestingClient(name=row.name, enabled=row.entry.enabled, bound=bound if strayed else None)
            worth = caller.may_call and clients.worth_noting(row, now, version, address)
        if worth:
            self.store.note(now, lambda session: clients.note_call(session, caller.name, now, version, address))
        return caller

    def site(self) -> str:
        """The name of the site."""
        with self.store.reading() as session:
            return authority.site_row(session).name

    def tunnel_certificate(self, client: str, request: str, now: datetime) -> IssuedCertificate:
        """Issue a client's certificate for the tunnel.

        :raises Unusable: when the request is not good.
        """
        with self.store.writing() as session:
            site = authority.load(session)
            after = licences.withdrawn(session, client)
            certificate = authority.tunnel_certificate(site.certificate, site.key, request, client, now, after=after)
            clients.note_certificate(session, client, certificate.not_valid_after_utc)
            return IssuedCertificate(
                certificate=certificates_to_pem([certificate, site.certificate]),
                not_after=certificate.not_valid_after_utc,
                serial=certificate.serial_number,
                proxy_ids=licences.licensed(session, now),
                authority=site.certificate_pem,
            )

    def generation(self) -> Tag:
        """What the newest generation is known by."""
        with self.store.reading() as session:
            return generations.newest_tag(session)

    def compare(self, known: Tag, client: str, now: datetime) -> Tag:
        """The same, for a client that knows one: the store takes another id if it finds that it was set back."""
        generations.set_back(self.store, known, client, now)
        return self.generation()

    def document(self, client: str) -> tuple[Tag, bytes] | None:
        """The newest generation and its document, with the port of the client that asks."""
        with self.store.reading() as session:
            found = generations.newest_document(session)
            entry = clients.entry_of(session, client)
        if found is None or entry is None:
            return found
        tag, document = found
        return tag, generations.for_client(document, entry)

    def newest_trial(self) -> Tag:
        """What the newest trial is known by: its number alone."""
        with self.store.reading() as session:
            return Tag(trials.newest_number(session))

    def trials(self, number: int, now: datetime) -> Sequence[Mapping[str, object]]:
        """The trials after the one of a number."""
        with self.store.reading() as session:
            found = trials.after(session, number, now)
            return [
                {"session": row.session, "partner": row.partner}
                | ({} if row.wish is None else {"wish": row.wish, "level": row.level})
                for row in found
            ]

    def licences(self) -> Mapping[str, str]:
        """The licence that counts, by Proxy ID."""
        with self.store.reading() as session:
            return {proxy_id: row.text for proxy_id, row in licences.newest(session).items()}

    def keep_events(self, client: str, events: Sequence[Any], now: datetime) -> TakenEvents:
        """Store the events that stand in the catalogue; what is wrong with the others is returned.

        :param events: as they came; a refusal in place of one that could not be read.
        """
        records: list[Record] = []
        refused: list[NotTaken] = []
        for each in events:
            if isinstance(each, DocumentRefused):
                refused.append(NotTaken(each.message, each.where))
                continue
            try:
                records.append(read(each, CARRIED))
            except CatalogueError as error:
                refused.append(NotTaken(str(error), error.detail))
        with self.store.writing() as session:

            def keep(some: Sequence[Record]) -> int:
                believed = _believed(some, now)
                sightings.note(session, believed)
                stored = journal.keep(session, some, now, client)
                proposals.note(session, believed, now)
                return stored

            stored, wrong = _kept(session, records, keep)
        refused += [NotTaken(f"{each.name}: the store does not take it") for each in wrong]
        return TakenEvents(stored=stored, refused=refused)

    def keep_records(self, client: str, packed: Sequence[str], now: datetime) -> TakenEvents:
        """Store the records of sessions; what is wrong with the others is returned."""
        refused: list[NotTaken] = []
        good: list[tuple[SessionRecord, bytes]] = []
        for each in packed:
            try:
                octets = b64decode(each, validate=True)
                record = unpack(octets)
                if utc_of(record.began).year not in limits.TOLD_YEARS:
                    raise ValueError("a session did not begin in this time")
                good.append((record, octets))
            except DocumentRefused as error:
                refused.append(NotTaken(error.message, error.where))
            except ValueError as error:
                refused.append(NotTaken(str(error)))
        with self.store.writing() as session:

            def keep(some: Sequence[tuple[SessionRecord, bytes]]) -> int:
                return sum(session_rows.keep_record(session, *each, client, now) for each in some)

            stored, wrong = _kept(session, good, keep)
        refused += [NotTaken("the store does not take it")] * len(wrong)
        return TakenEvents(stored=stored, refused=refused)

    def keep_live(self, client: str, sessions: Sequence[ToldSession], count: int, now: datetime) -> None:
        """Keep which sessions a client runs, in place of what it told before."""
        written = json.dumps([write_object(each) for each in sessions])
        with self.store.writing() as session:
            told = LiveReportRow(client=client, received=now, count=count, sessions=written)
            session.merge(told)

    def keep_loads(self, client: str, told: LoadsTold, now: datetime) -> None:
        """Keep how busy a client is, and the servers that the site has licences for, by what they told it."""
        with self.store.writing() as session:
            known = licences.newest(session)
            servers = {(NodeKind.SERVER, each.proxy_id): each.load for each in told.servers if each.proxy_id in known}
            loads.keep(session, {(NodeKind.CLIENT, client): told.own, **servers}, now)


def _believed(told: Sequence[Record], now: datetime) -> Sequence[Record]:
    """What may change what is known: nothing from the future, which nothing later would correct.

    A clock may be a little ahead: what it told happened now, at the latest.
    """
    near = [each for each in told if each.time <= now + AHEAD_MOST]
    return [
        each if each.time <= now else Record(each.name, now, each.source, each.sequence, each.fields) for each in near
    ]


def _kept(session: Session, told: Sequence[_T], keep: Callable[[Sequence[_T]], int]) -> tuple[int, Sequence[_T]]:
    """Store what was told within the transaction; how many are stored, and those that the store does not take.

    :param keep: stores some of it; how many.
    :raises sqlalchemy.exc.DBAPIError: when the store is the reason: the same may be good, and comes again.
    """
    stored = _all_kept(session, told, keep)
    if stored is not None:
        return stored, ()
    # One of them is to blame: each stands or falls by itself.
    found = [(each, _all_kept(session, [each], keep)) for each in told]
    return sum(count or 0 for _, count in found), [each for each, count in found if count is None]


def _all_kept(session: Session, told: Sequence[_T], keep: Callable[[Sequence[_T]], int]) -> int | None:
    """Store all or none; how many, or ``None`` when one of them cannot be stored."""
    try:
        with session.begin_nested():
            return keep(told)
    except (ArithmeticError, LookupError, TypeError, ValueError, StatementError) as error:
        if isinstance(error, DBAPIError) and is_own_fault(error):
            raise
        return None
