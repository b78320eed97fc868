"""A store full of what a site gathers in a month: partners, sessions, files, refusals, one event as real as the next.

Entries are made by the operations that an operator uses; the events are written in bulk, because a million of them one
by one would take an hour. Each kind of event is checked against the catalogue once. The same numbers give the same
store, but for the certificates' keys.
"""

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
from sqlalchemy import insert

from smartproxy.backend import session_rows
from smartproxy.backend.errors import AlreadyThere
from smartproxy.backend.operations import partner
from smartproxy.backend.operations.operation import Caller
from smartproxy.backend.operations.performing import perform
from smartproxy.backend.schema import EventRow
from smartproxy.backend.session_tables import LiveReportRow, SessionRecordRow
from smartproxy.backend.store import Store
from smartproxy.backend.telling import tells
from smartproxy.logs.catalogue import look_up
from smartproxy.logs.fields import FieldKind, isotime
from smartproxy.policy.causes import Cause
from smartproxy.policy.packed_record import pack
from smartproxy.policy.schema import write_object
from smartproxy.policy.session_record import DATA, RecordedStep, SessionRecord
from smartproxy.policy.values import Instant
from smartproxy.testing.pki import self_signed
from tests.unit.portraits import told_file, told_session

NAMES: Final = (
    *("ACME", "BOLT", "CRANE", "DYNAMO", "ELEKTRA", "FALK", "GEAR", "HANSA", "INOX", "JUPITER", "KRAFT", "LAGER"),
    *("MOTOR", "NORD", "OPAL", "PFEIL", "QUARZ", "RADIAL", "STAHL", "TURBO", "UNION", "VEGA", "WERK", "XENON"),
    *("YARD", "ZINK", "ALPHA", "BRISE", "CHROM", "DREHTEIL", "EICHE"),
)
STATION: Final = "O0013000001MUSTER"
DATASETS: Final = ("DELJIT", "DELFOR", "INVOIC", "ENGDAT", "VDA4913", "VDA4938", "DOOR-PANEL.STEP", "DESADV")
BATCH: Final = 20_000
HOSTILE: Final = (
    "x'\"><img src=x onerror=alert(1)><script>alert(2)</script>{{ 7 * 7 }} "
    "\u202egnp.\u2066exe\u2069\u200f \x1b[31m\x07\x9b"
)
"""What a peer may write: markup, templates, and characters that turn text round or act on a terminal."""
ADDED: Final = ("sequence", "client")
"""What a carried event has beside the fields of the catalogue."""
LEGACY: Final = 0.004
"""Which part of all sessions ends with each of the misfortunes."""


@attrs.frozen(kw_only=True)
class Filling:
    """How much.

    :ivar partners: how many partners.
    :ivar sessions: how many sessions, of ten events and more each.
    :ivar days: over how many days until ``now``.
    :ivar hostile: whether the last of all are a refusal and a session whose peer wrote :data:`HOSTILE`.
    """

    now: datetime
    partners: int = len(NAMES)
    sessions: int = 600
    days: int = 30
    hostile: bool = False
    seed: int = 7


def name_of(number: int) -> str:
    """The name of a partner by its number."""
    turn, place = divmod(number, len(NAMES))
    return NAMES[place] + (f"-{turn + 1}" if turn else "")


def code_of(name: str) -> str:
    """The SSIDCODE of a partner by its name."""
    return f"O0013{name.replace('-', ''):0>14}"[:19]


def fill(store: Store, filling: Filling) -> int:
    """Fill a store whose site is made; how many events it has got."""
    add_partners(store, filling)
    written = 0
    rows: list[dict[str, Any]] = []
    for row in _events(filling):
        rows.append(row)
        if len(rows) == BATCH:
            written += _write(store, rows)
    return written + _write(store, rows)


def add_partners(store: Store, filling: Filling) -> None:
    """Add the partners that are not there, each with a certificate of its own that is pinned."""
    caller = Caller(name="alice", scopes=frozenset("*"))
    for number in range(filling.partners):
        name = name_of(number)
        pem = self_signed(f"oftp.{name.lower()}.example").certificate_pem.decode()
        wanted = partner.PartnerAddition(
            partner={"name": name, "codes": (code_of(name),)}, pinned=(partner.GivenCertificate(pem=pem),)
        )
        made = filling.now - timedelta(days=filling.days, minutes=filling.partners - number)
        with suppress(AlreadyThere):
            perform(store, partner.add, wanted, caller, made)


def _write(store: Store, rows: list[dict[str, Any]]) -> int:
    count = len(rows)
    if rows:
        with store.writing() as session:
            told = [{**row, "telling": tells(row["name"], row["source"], row["fields"])} for row in rows]
            session.execute(insert(EventRow), told)
            session_rows.note(session, rows, max(row["received"] for row in rows))
            records = [_record(row) for row in rows if row["name"] == "session.ended" and row["source"] == "client"]
            if records:
                session.execute(insert(SessionRecordRow), records)
        rows.clear()
    return count


def _record(ended: dict[str, Any]) -> dict[str, Any]:
    """The record of a session that ended, with a file of one buffer in it."""
    fields, code = ended["fields"], code_of(ended["partner"])
    file: dict[str, str | int] = {"SFIDDSN": "DELJIT", "SFIDORIG": code, "SFIDDEST": STATION, "SFIDOSIZ": 1}
    came: tuple[tuple[int, str, str, dict[str, str | int]], ...] = (
        (12, "station", "SSRM", {}),
        (30, "partner", "SSID", {"SSIDCODE": code, "SSIDLEV": 5}),
        (42, "station", "SSID", {"SSIDCODE": STATION, "SSIDLEV": 5}),
        (60, "partner", "SFID", file),
        (75, "station", "SFPA", {"SFPAACNT": 0}),
        (80, "partner", DATA, {"buffers": 1, "octets": 1024, "credits": 0}),
        (90, "partner", "EFID", {"EFIDRCNT": 0, "EFIDUCNT": 1024}),
        (99, "station", "EFPA", {"EFPACD": "Y"}),
        (105, "partner", "CD", {}),
        (120, "station", "EERP", {"EERPDSN": "DELJIT"}),
        (130, "partner", "RTR", {}),
        (140, "station", "ESID", {"ESIDREAS": 0}),
    )
    record = SessionRecord(
        session=ended["session"],
        partner=ended["partner"],
        peer=fields["peer"],
        began=isotime(ended["time"] - timedelta(milliseconds=150)),
        initiator="partner",
        lasted=150,
        setup=42,
        outcome=fields["outcome"],
        cause=fields["cause"],
        agreed={"level": 5, "buffer_size": 2048, "credit": 64},
        held_partner=0,
        held_station=0,
        steps=tuple(RecordedStep(at=at, by=by, command=name, fields=said) for at, by, name, said in came),
        left_out=0,
    )
    return {
        "session": record.session,
        "received": ended["received"],
        "client": "inner",
        "packed": pack(write_object(record)),
    }


def add_live(store: Store, now: datetime) -> None:
    """Have three sessions run for an hour: a file whose end is foreseen, none, and one whose end is not."""
    running: list[dict[str, object]] = []
    for name, direction, phase, octets, dataset, size in (
        ("ACME", "inbound", "transfer", 1_400_000_000, "DOOR-PANEL.STEP", 2_000_000),
        ("BOLT", "inbound", "idle", 88_000, None, 0),
        ("CRANE", "outbound", "transfer", 230_000, "VDA4938-0077", 0),
    ):
        state = told_session(
            f"{len(running) + 1:016x}",
            partner=name,
            direction=direction,
            since=Instant().write(now - timedelta(minutes=2)),
            phase=phase,
            octets_in=octets,
            octets_out=4096,
            rate_in=38_000_000,
            file=None if dataset is None else told_file(dataset, octets, size),
        )
        running.append(state)
    with store.writing() as session:
        told = LiveReportRow(client="inner-2", received=now + timedelta(hours=1), count=3, sessions=json.dumps(running))
        session.merge(told)


def _events(filling: Filling) -> Iterator[dict[str, Any]]:
    """All events, in the order of their times but for the few that a session's own take."""
    chance = random.Random(filling.seed)
    span = timedelta(days=filling.days)
    seen: set[str] = set()
    for number in range(filling.sessions):
        begun = filling.now - span * (1 - (number + chance.random()) / filling.sessions) - timedelta(minutes=2)
        events = _Told(chance, begun, name_of(int(chance.triangular(0, filling.partners, 0))), number)
        for row in events.told():
            if row["name"] not in seen:
                seen.add(row["name"])
                told = {**row["fields"], "session": row["session"], "partner": row["partner"]}
                look_up(row["name"]).check({key: told[key] for key in told if key not in ADDED})
            yield row
    if filling.hostile:
        last = _Told(chance, filling.now - timedelta(minutes=1), name_of(0), filling.sessions)
        for row in (last.stranger(), *last.session_with_files(lost=False)):
            yield {**row, "fields": _chosen_by_a_peer(row["name"], row["fields"])}


def _chosen_by_a_peer(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event with the worst that a peer may choose in each that it chooses."""
    kinds = look_up(name).fields
    free = {key for key in fields if key in kinds and kinds[key].kind is FieldKind.PEER and key != "peer"}
    return {key: HOSTILE if key in free else value for key, value in fields.items()}


class _Told:
    """What the daemons told of one connection."""

    def __init__(self, chance: random.Random, begun: datetime, partner_name: str, number: int) -> None:
        self._chance = chance
        self._time = begun
        self._partner = partner_name
        self._number = number
        self._session = f"{chance.getrandbits(64):016x}"
        self._peer = f"192.0.2.{chance.randrange(1, 255)}:{chance.randrange(20_000, 60_000)}"
        self._sha256 = f"{chance.getrandbits(256):064x}"

    def told(self) -> Iterator[dict[str, Any]]:
        """The events of a session that goes well, or of one that does not."""
        lot = self._chance.random()
        if lot < 2 * LEGACY:
            yield self.stranger()
        elif lot < 3 * LEGACY:
            yield from self._refused_identity()
        elif lot < 4 * LEGACY:
            yield from self._no_station()
        else:
            yield from self.session_with_files(lost=lot < 7 * LEGACY)

    def _event(
        self, name: str, source: str, seconds: float, *, level: str = "info", known: bool = True, **fields: Any
    ) -> dict[str, Any]:
        self._time += timedelta(seconds=seconds)
        told = {"sequence": self._number, "peer": self._peer, **fields, "direction": "inbound", "client": "inner"}
        return {
            "time": self._time,
            "received": self._time + timedelta(milliseconds=400),
            "source": source,
            "name": name,
            "level": level,
            "session": self._session,
            "partner": self._partner if known else None,
            "fields": told,
            "key": f"{self._chance.getrandbits(128):032x}",
        }

    def stranger(self) -> dict[str, Any]:
        """A certificate that is nobody's."""
        stranger = f"CN=oftp.{self._partner.lower()}.example"
        return self._event(
            *("certificate.refused", "server", 0.1),
            level="warning",
            known=False,
            cause=Cause.CERTIFICATE_NO_PARTNER.value,
            message="the certificate belongs to no partner",
            depth=0,
            subject=stranger,
            issuer=stranger,
            serial=f"{self._chance.getrandbits(80):x}",
            certificate_sha256=self._sha256,
            not_before="2026-01-01T00:00:00.000Z",
            not_after="2028-01-01T00:00:00.000Z",
            tls="TLSv1.3",
            alert="certificate_unknown",
        )

    def _greeted(self) -> Iterator[dict[str, Any]]:
        yield self._event(
            *("certificate.accepted", "server", 0.1),
            by="certificate",
            subject=f"CN=oftp.{self._partner.lower()}.example",
            certificate_sha256=self._sha256,
            not_after="2028-01-01T00:00:00.000Z",
            tls="TLSv1.3",
        )

    def _refused_identity(self) -> Iterator[dict[str, Any]]:
        yield from self._greeted()
        yield self._event(
            *("identity.refused", "server", 0.05),
            level="error",
            cause="identity.code",
            message="the SSIDCODE is none of the partner's",
            code="O0013000000OTHER",
            codes=[code_of(self._partner)],
            reason=3,
            told_partner="ESID 03",
            certificate_sha256=self._sha256,
            ended_by="server",
            outcome="refused",
        )

    def _no_station(self) -> Iterator[dict[str, Any]]:
        yield from self._greeted()
        yield self._event(
            *("session.refused", "server", 1.0),
            level="warning",
            cause=Cause.STATION_REFUSED.value,
            message="the station refuses the connection",
            reason=8,
            told_partner="ESID 08",
            ended_by="client",
            outcome="unreachable",
            code=code_of(self._partner),
        )

    def session_with_files(self, *, lost: bool) -> Iterator[dict[str, Any]]:
        """A session with one file, or a few."""
        yield from self._greeted()
        about: dict[str, Any] = {"code": code_of(self._partner), "release_level": 5, "certificate_sha256": self._sha256}
        yield self._event("identity.accepted", "server", 0.05, **about)
        for source in ("server", "client"):
            yield self._event("session.started", source, 0.01, **about, profile="default", tls="TLSv1.3")
        octets, files = 0, 1 if self._chance.random() < 0.96 else 3
        for each in range(files):
            size = int(self._chance.lognormvariate(6, 3)) + 1
            dataset = f"{self._chance.choice(DATASETS)}.{self._number % 9973:04}"
            file: dict[str, Any] = {
                "link": "in",
                "dataset": dataset,
                "stamp": f"{self._time:%Y%m%d %H%M%S}{each:04}",
                "originator": code_of(self._partner),
                "destination": STATION,
                "format": "U",
                "size": size,
                "sender": "initiator",
            }
            for source in ("server", "client"):
                yield self._event("file.started", source, 0.02, **file, position=0, restart=False)
            octets += size * 1024
            seconds = 0.1 + size / 40_000
            outcome = "lost" if lost and each == files - 1 else "completed"
            for source in ("server", "client"):
                ended: dict[str, Any] = {**file, "outcome": outcome, "octets": size * 1024, "records": 0}
                yield self._event("file.ended", source, seconds if source == "server" else 0.01, **ended)
        for source in ("server", "client"):
            yield self._event(
                *("session.ended", source, 0.05),
                outcome="lost" if lost else "completed",
                reason=0,
                side="partner",
                cause=Cause.LEG_LOST.value if lost else Cause.SESSION_COMPLETED.value,
                message="the connection was lost" if lost else "the partner ended the session with ESID 00",
                octets_in=octets + 305,
                octets_out=116,
                buffers_in=5 + octets // 2048,
                buffers_out=4,
                files_in=files,
                files_out=0,
                unconfirmed=0,
                anomalies=0,
                discarded=0,
                ended_by="partner",
                agreed={"level": 5, "buffer_size": 2048, "credit": 64, "compression": True, "restart": True},
            )
