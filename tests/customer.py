"""A store as a customer's site has it after a month: suppliers, their files, and the few things that need an operator.

For pictures that are shown to people; nothing hostile is in it. All companies are invented. Entries are made by the
operations that an operator uses, events are taken in as those that a client carries. Everything is told of the month
before a moment; the same moment gives the same store, but for keys and certificates.
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
from sqlalchemy import update

from smartproxy.backend import authority, journal, licences, loads, proposals, session_rows, sightings
from smartproxy.backend.change import Channel
from smartproxy.backend.generations import changing
from smartproxy.backend.loads import NodeKind, backend_place
from smartproxy.backend.operations import (
    admin_token,
    ca,
    client,
    crl,
    identity,
    ignore,
    licence,
    list_files,
    partner,
    settings,
)
from smartproxy.backend.operations.operation import Caller, Operation
from smartproxy.backend.operations.performing import Terms, perform
from smartproxy.backend.operations.shapes import GivenFile
from smartproxy.backend.schema import ClientRow, EventRow
from smartproxy.backend.session_tables import LiveReportRow
from smartproxy.backend.store import Store
from smartproxy.backend.user_tables import UserRow
from smartproxy.logs.fields import isotime
from smartproxy.logs.record import Record
from smartproxy.policy.causes import Cause
from smartproxy.policy.licence import proxy_id
from smartproxy.policy.loads import ToldLoad
from smartproxy.policy.packed_record import pack
from smartproxy.policy.partners import RevocationMode, SanRule
from smartproxy.policy.permissions import AdminRole, UserEntry
from smartproxy.policy.schema import write_object
from smartproxy.policy.session_record import SessionRecord
from smartproxy.testing.pki import TestCa, TestCredential
from tests.customer_sessions import (
    CA_NAME,
    COMPANIES,
    STATION,
    Company,
    CustomerSession,
    Telling,
    running,
    sentence,
    told_of,
)
from tests.process.page_calls import NO_HASH

SITE: Final = "Muster Antriebe GmbH"
SERVER: Final = "dmz-1.muster.example:4433"
PROXY_ID: Final = proxy_id(b"the server of the pictures")
CLIENTS: Final = ("inside-1", "inside-2")
DAYS: Final = 30
_WEEK: Final = (84, 91, 87, 88, 79, 24, 12)
"""Sessions of each day of a week."""
_HOURS: Final = (2, 2, 2, 2, 3, 6, 9, 9, 8, 7, 6, 5, 5, 6, 7, 7, 6, 5, 4, 3, 3, 4, 5, 4)
"""How much of a day's work falls on each of its hours."""
CA_SUBJECT: Final = "Trust Centre Automotive CA 3"
_SETTINGS: Final = {
    "client.station.host": "oftp.inside.muster.example",
    "server.listeners": [{"address": "0.0.0.0", "port": 6619}],
    "server.limits.sessions": 500,
    "backend.sheet.host": "oftp.muster.example",
    "backend.sheet.codes": [STATION],
    "backend.sheet.file_codes": [STATION],
    "backend.sheet.buffer_octets": 65535,
    "backend.sheet.credit": 64,
    "backend.sheet.compression": "yes",
    "backend.sheet.restart": "yes",
    "backend.sheet.contact": "OFTP desk, oftp@muster.example, +49 711 5550123",
}


@attrs.define
class CustomerSite:
    """The store's site, as it is built up.

    :param now: the moment of the pictures.
    :ivar days: over how many days until then there were sessions.
    """

    store: Store
    now: datetime
    days: int = DAYS
    telling: Telling = attrs.field(factory=Telling)
    authority: TestCa = attrs.field(factory=lambda: TestCa.root(CA_SUBJECT, organization=CA_NAME))

    def build(self) -> str:
        """Build all of it; the certificate of the backend's authority, as PEM."""
        begun = self.now - timedelta(days=DAYS + 1)
        with changing(self.store, by="k.lang", what="authority create", now=begun) as change:
            made = authority.create(change, SITE, ["backend.muster.example", "127.0.0.1"])
        self._users(begun)
        self._entries(begun)
        self._started(begun + timedelta(hours=2))
        for _, events, record in sorted(self._month(), key=lambda each: each[0]):
            self._take(events, record)
        self._later_changes()
        self.refresh()
        return made.certificate_pem

    def refresh(self) -> None:
        """Have all machines seen at the moment, with three sessions running."""
        now = self.now
        live = [
            running(1, "Gessner Werkzeugbau", now, file=("ENG_HOUSING_REV_C", 1_400_000_000, 1_855_470)),
            running(2, "Hanse Automobile", now, file=("VDA4905", 31_744, 86), rate=2_100_000),
            running(3, "Moreau Plastiques", now, direction="outbound"),
        ]
        with self.store.writing() as session:
            alive = {"last_version": "0.1.0", "certificate_until": now + timedelta(days=6)}
            session.execute(update(ClientRow).values(last_seen=now, **alive))
            report = LiveReportRow(client=CLIENTS[0], received=now, count=len(live), sessions=json.dumps(live))
            session.merge(report)
            for number, name in enumerate(CLIENTS):
                busy = ToldLoad(cpu=9 - number, memory=92, sessions=len(live) if number == 0 else 0, sessions_most=2000)
                loads.keep(session, {(NodeKind.CLIENT, name): busy}, now)
            busy = ToldLoad(cpu=14, memory=104, sessions=len(live), sessions_most=2000)
            for proxy_id in licences.newest(session):
                loads.keep(session, {(NodeKind.SERVER, proxy_id): busy}, now)
            place = backend_place(None, "10.20.0.5", 8443)
            loads.keep(session, {(NodeKind.BACKEND, place): ToldLoad(cpu=2, memory=131)}, now)
            # The backend that is looked at listens on loopback.
            started = {
                "version": "0.1.0",
                "address": "10.20.0.5",
                "port": 8443,
                "site": SITE,
                "path": "/var/lib/smartproxy",
            }
            session.execute(update(EventRow).where(EventRow.name == "backend.started").values(fields=started))

    def _do(self, operation: Operation[Any, Any], wanted: Any, by: str, when: datetime, why: str | None = None) -> None:
        caller = Caller(name=by, scopes=frozenset("*"), channel=Channel.PAGE if why else Channel.COMMAND)
        perform(self.store, operation, wanted, caller, when, Terms(comment=why))

    def _users(self, when: datetime) -> None:
        with self.store.writing() as session:
            for name, role, days in (
                ("k.lang", AdminRole.ADMINISTRATOR, 0.1),
                ("m.berger", AdminRole.OPERATOR, 0.3),
                ("revision", AdminRole.AUDITOR, 9),
                ("s.nowak", AdminRole.VIEWER, 2),
            ):
                entry = UserEntry(name=name, role=role, created=when, created_by="k.lang", password_set=when)
                last = self.now - timedelta(days=days)
                session.add(
                    UserRow(name=name, entry=entry, password=NO_HASH, last_login=last, last_address="10.20.1.17")
                )

    def _entries(self, begun: datetime) -> None:
        """What was set up at first."""

        def minutes(count: int) -> datetime:
            return begun + timedelta(minutes=count)

        order = licence.LicenceOrder(
            proxy_id=PROXY_ID, valid_until=self.now + timedelta(days=27, hours=3), sessions=500
        )
        self._do(licence.issue, order, "k.lang", minutes(4))
        for number, name in enumerate(CLIENTS):
            wanted = client.ClientAddition(name=name, client={"address": f"10.20.0.{11 + number}"})
            self._do(client.add, wanted, "k.lang", minutes(6 + number))
        own = self.authority.issue("oftp.muster.example", valid_until=self.now + timedelta(days=54), organization=SITE)
        given = GivenFile(name="main.pem", octets=own.chain_pem + own.key_pem)
        self._do(identity.take_in, identity.IdentityImport(name="main", files=(given,)), "k.lang", minutes(9))
        kept = ca.CaAddition(
            name=CA_NAME,
            certificates=(self.authority.certificate_pem.decode(),),
            ca={"revocation": RevocationMode.PREFER},
        )
        self._do(ca.add, kept, "k.lang", minutes(12))
        self._set("As agreed with the network team", minutes(15), **_SETTINGS)
        rule = {"text": "198.51.100.", "description": "The scanner of our own security team"}
        scanner = ignore.IgnoreAddition(name="own scanner", rule=rule)
        self._do(ignore.add, scanner, "k.lang", minutes(25), "Announced scans, every night")
        for number, each in enumerate(COMPANIES):
            self._partner(each, minutes(30 + 7 * number))

    def _partner(self, company: Company, when: datetime) -> None:
        host, until = company.host, self.now + timedelta(days=company.days)
        begins = min(when, until - timedelta(days=365))
        made = self.authority.issue(
            host, sans=[f"DNS:{host}"], organization=company.name, valid_from=begins, valid_until=until
        )
        self.telling.known[company.name] = made
        entry: dict[str, Any] = {"name": company.name, "codes": (company.code,)}
        pinned = (partner.GivenCertificate(pem=made.certificate_pem.decode()),) if company.pinned else ()
        if not company.pinned:
            entry["certificates"] = (SanRule(ca=CA_NAME, san=f"DNS:{host}"),)
        self._do(partner.add, partner.PartnerAddition(partner=entry, pinned=pinned), "m.berger", when, "New supplier")
        if company.called:
            calling = partner.CallingAlteration(name=company.name, outbound={"host": host})
            self._do(partner.outbound, calling, "m.berger", when + timedelta(minutes=2), "We call it, too")

    def _later_changes(self) -> None:
        """What was done in the month."""
        week = self.now - timedelta(days=7)
        octets = self.authority.crl(this_update=self.now - timedelta(days=2), next_update=self.now + timedelta(days=5))
        listed = list_files.ListFile(name="automotive-ca-3.crl", octets=octets)
        self._do(
            crl.load, list_files.ListsGiven(files=(listed,)), "m.berger", self.now - timedelta(days=2), "Weekly list"
        )
        for name, role in (("erp-export", AdminRole.VIEWER), ("monitoring", AdminRole.VIEWER)):
            token = admin_token.TokenAddition(name=name, role=role, until=self.now + timedelta(days=330))
            self._do(admin_token.create, token, "k.lang", week, "For the monitoring of the data centre")
        limit = {"server.limits.sessions_per_partner": 8}
        self._set("Hanse Automobile sends more at once", self.now - timedelta(days=1), **limit)

    def _set(self, why: str, when: datetime, **values: object) -> None:
        items = tuple(settings.SettingValue(name=name, value=value) for name, value in values.items())
        self._do(settings.put, settings.SettingValues(items=items), "k.lang", when, why)

    def _take(self, events: list[Record], record: SessionRecord | None = None, client_name: str = "") -> None:
        """Take in events, and the record of their session, as a client brings them."""
        received = max(each.time for each in events) + timedelta(milliseconds=180)
        by = client_name or CLIENTS[self.telling.sequence % 5 < 2]
        with self.store.writing() as session:
            sightings.note(session, events)
            journal.keep(session, events, received, by)
            proposals.note(session, events, received)
            if record is not None:
                session_rows.keep_record(session, record, pack(write_object(record)), by, received)

    def _started(self, when: datetime) -> None:
        about = {"version": "0.1.0", "site": SITE}
        until = isotime(self.now + timedelta(days=27, hours=3))
        for name in CLIENTS:
            up = {"peer": SERVER, "proxy_id": PROXY_ID, "version": "0.1.0", "theirs": "0.1.0", "tls": "TLSv1.3"}
            self._take([self.telling.event("tunnel.up", "client", when, **up)], client_name=name)
        self._take(
            [
                self.telling.event("server.started", "server", when - timedelta(minutes=1), proxy_id=PROXY_ID, **about),
                self.telling.event("licence.accepted", "server", when, site=SITE, valid_until=until, proxy_id=PROXY_ID),
            ]
        )

    def _calls(self) -> Iterator[tuple[datetime, Company]]:
        """When sessions begin, and with whom."""
        weights = [each.weight for each in COMPANIES]
        for days in range(self.days, -1, -1):
            midnight = (self.now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
            for _ in range(_WEEK[midnight.weekday()] + self.telling.chance.randrange(-3, 4)):
                hour = self.telling.chance.choices(range(24), _HOURS)[0]
                moment = midnight + timedelta(hours=hour, seconds=self.telling.chance.random() * 3600)
                if moment < self.now - timedelta(minutes=6):
                    yield moment, self.telling.chance.choices(COMPANIES, weights)[0]

    def _month(self) -> Iterator[tuple[datetime, list[Record], SessionRecord | None]]:
        """What was told of each connection: its first moment, the events, and the record if there is one."""
        for begun, company in sorted(self._calls(), key=lambda each: each[0]):
            told = CustomerSession(
                self.telling, company, begun, outbound=company.called and self.telling.chance.random() < 0.45
            )
            yield begun, told.events(), told.record()
        for events in self._misfortunes():
            yield events[0].time, events, None

    def _misfortunes(self) -> Iterator[list[Record]]:
        """Refusals of ordinary kinds."""
        by_name = {each.name: each for each in COMPANIES}

        def ago(**span: float) -> datetime:
            return self.now - timedelta(**span)

        for _ in range(60):
            yield [self._scanned(ago(days=self.telling.chance.random() * 20))]
        novak, ended = by_name["Novak Odlitky"], ago(days=4)
        old = self.authority.issue(
            novak.host, organization=novak.name, valid_from=ended - timedelta(days=365), valid_until=ended
        )
        for hours in (75, 74, 73):
            yield [self._refused(ago(hours=hours), old, Cause.CERTIFICATE_EXPIRED, "192.0.2.88")]
        for minutes, name in enumerate(("Albrecht Guss", "Hanse Automobile", "Elbe Kabelsatz", "Hanse Automobile")):
            when = ago(days=6, hours=3) + timedelta(minutes=minutes)
            yield CustomerSession(self.telling, by_name[name], when, outbound=False).refused_by_station()
        brandner = by_name["Brandner Pressteile"]
        renewed = self.authority.issue(brandner.host, sans=[f"DNS:{brandner.host}"], organization=brandner.name)
        for minutes in (164, 121, 88, 41, 13):
            when = ago(minutes=minutes)
            yield [self._refused(when, renewed, Cause.CERTIFICATE_NO_PARTNER, "203.0.113.24", belongs=True)]
        corvin = CustomerSession(self.telling, by_name["Corvin Dichtungen"], ago(hours=6, minutes=12), outbound=False)
        yield corvin.refused_code("O0013007414CORVlN")

    def _scanned(self, when: datetime) -> Record:
        """What comes of somebody who tries all ports."""
        chance = self.telling.chance
        causes = (Cause.HANDSHAKE_NOT_TLS, Cause.HANDSHAKE_PLAIN_HTTP, Cause.CERTIFICATE_MISSING, Cause.HANDSHAKE_ENDED)
        cause = chance.choice(causes)
        return self.telling.event(
            *("certificate.refused" if cause is Cause.CERTIFICATE_MISSING else "handshake.failed", "server", when),
            session=f"{chance.getrandbits(64):016x}",
            peer=f"198.51.100.{chance.choice((14, 77, 201))}:{chance.randrange(30_000, 60_000)}",
            direction="inbound",
            cause=cause,
            message=sentence(cause),
        )

    def _refused(
        self, when: datetime, shown: TestCredential, cause: Cause, address: str, *, belongs: bool = False
    ) -> Record:
        return self.telling.event(
            *("certificate.refused", "server", when),
            session=f"{self.telling.chance.getrandbits(64):016x}",
            peer=f"{address}:{self.telling.chance.randrange(30_000, 60_000)}",
            direction="inbound",
            cause=cause,
            message=sentence(cause),
            depth=0,
            not_before=isotime(shown.certificate.not_valid_before_utc),
            alert="certificate_unknown",
            **{**told_of(shown), **({"facts": {"cas": CA_NAME}} if belongs else {})},
        )
