"""What a customer's partners do: invented companies, their sessions with files, and what goes wrong now and then.

Made by chance with a fixed beginning, as events that daemons tell and records that clients bring.
"""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from smartproxy.logs.catalogue import look_up
from smartproxy.logs.fields import isotime
from smartproxy.logs.record import Record
from smartproxy.policy.causes import Cause
from smartproxy.policy.session_record import DATA, RecordedStep, SessionRecord
from smartproxy.policy.values import Instant
from smartproxy.testing.pki import TestCredential
from tests.unit.portraits import told_file, told_session

STATION: Final = "O0013004711MUSTER"
CA_NAME: Final = "Trust Centre"
_RATE: Final = 14_000_000


@attrs.frozen(kw_only=True)
class Company:
    """A partner.

    :ivar days: how many days its certificate is still good.
    :ivar pinned: whether its certificate is pinned; else its name in the certificate counts.
    :ivar called: whether the station calls it, too.
    :ivar sends: the datasets that come from it.
    :ivar gets: those that go to it.
    :ivar weight: how much of all sessions is its.
    """

    name: str
    code: str
    host: str
    days: int = 300
    pinned: bool = True
    called: bool = False
    sends: tuple[str, ...] = ("DESADV", "INVOIC")
    gets: tuple[str, ...] = ("DELFOR", "DELJIT")
    weight: int = 4
    address: str = ""


_CAD: Final = ("DESADV", "CAD", "CAD")
COMPANIES: Final = (
    Company(name="Albrecht Guss", code="O0013007412ALBRECHT", host="oftp.albrecht-guss.example", called=True, weight=8),
    Company(name="Brandner Pressteile", code="O0013007413BRANDNER", host="edi.brandner.example", days=20, weight=6),
    Company(name="Corvin Dichtungen", code="O0013007414CORVIN", host="oftp2.corvin.example", pinned=False),
    Company(name="Dahlmann Federn", code="O0013007415DAHLMANN", host="oftp.dahlmann.example", days=12, called=True),
    Company(name="Elbe Kabelsatz", code="O0013007416ELBE", host="edi.elbe-kabel.example", pinned=False, weight=7),
    Company(name="Fjord Aluminium", code="O0013007417FJORD", host="oftp.fjord-alu.example", called=True, sends=_CAD),
    Company(name="Gessner Werkzeugbau", code="O0013007418GESSNER", host="cad.gessner.example", sends=_CAD, weight=9),
    Company(
        name="Hanse Automobile",
        code="O0013000815HANSE",
        host="oftp.hanse-automobile.example",
        called=True,
        pinned=False,
        sends=("VDA4905", "VDA4915", "DELJIT"),
        gets=("VDA4913", "INVOIC", "ENGDAT"),
        weight=14,
    ),
    Company(name="Isar Elektronik", code="O0013007419ISAR", host="oftp.isar-elektronik.example", weight=6),
    Company(name="Jura Feinmechanik", code="O0013007420JURA", host="edi.jura-fein.example", pinned=False, weight=2),
    Company(name="Kessler Antriebe", code="O0013007421KESSLER", host="oftp.kessler.example", days=47, called=True),
    Company(name="Lindqvist Steel", code="O0013007422LINDQVIST", host="oftp.lindqvist.example", weight=5),
    Company(
        name="Moreau Plastiques", code="O0013007423MOREAU", host="odette.moreau.example", pinned=False, called=True
    ),
    Company(name="Novak Odlitky", code="O0013007424NOVAK", host="oftp.novak.example", weight=3),
)
_SIZES: Final[Mapping[str, tuple[int, int]]] = {
    "CAD": (60_000_000, 900_000_000),
    "ENGDAT": (2_000, 9_000),
    "VDA4905": (6_000, 90_000),
    "VDA4913": (3_000, 60_000),
}


@attrs.define
class Telling:
    """Who tells of events.

    :ivar known: the certificate of each partner, by its name.
    :ivar sequence: how many events were told.
    """

    chance: random.Random = attrs.field(factory=lambda: random.Random(4711))
    known: dict[str, TestCredential] = attrs.field(factory=dict)
    sequence: int = 0

    def event(self, name: str, source: str, when: datetime, **fields: Any) -> Record:
        """An event that a daemon tells."""
        self.sequence += 1
        return Record(name, when, source, self.sequence, look_up(name).check(fields))


def sentence(cause: Cause) -> str:
    """What a daemon says of a cause: it begins in the lower case, and ends without a full stop."""
    return cause.meaning[0].lower() + cause.meaning[1:].rstrip(".")


def told_of(shown: TestCredential) -> dict[str, Any]:
    """What events tell of a certificate."""
    certificate = shown.certificate
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "certificate_sha256": shown.sha256,
        "not_after": isotime(certificate.not_valid_after_utc),
        "tls": "TLSv1.3",
    }


def running(
    number: int,
    name: str,
    now: datetime,
    *,
    direction: str = "inbound",
    file: tuple[str, int, int] | None = None,
    rate: int = 38_000_000,
) -> dict[str, object]:
    """A session that runs, as a client tells of it."""
    octets = 0 if file is None else file[1]
    return told_session(
        f"{number:016x}",
        partner=name,
        direction=direction,
        since=Instant().write(now - timedelta(seconds=40 // number)),
        phase="transfer" if file else "idle",
        octets_in=octets,
        octets_out=4096,
        rate_in=rate if file else 0,
        file=None if file is None else told_file(*file),
    )


class CustomerSession:
    """What the daemons told of one session, and its record."""

    def __init__(self, telling: Telling, company: Company, begun: datetime, *, outbound: bool) -> None:
        self._telling, self._company, self._outbound = telling, company, outbound
        self._begun = self.time = begun
        chance = telling.chance
        self._id = f"{chance.getrandbits(64):016x}"
        octet = 20 + COMPANIES.index(company)
        port = 6619 if outbound else chance.randrange(30_000, 60_000)
        self._shared = {
            "session": self._id,
            "partner": company.name,
            "peer": f"203.0.113.{octet}:{port}",
            "direction": "outbound" if outbound else "inbound",
        }
        self._certificate = told_of(telling.known[company.name])
        self._steps: list[RecordedStep] = []
        self._setup = min(int(chance.lognormvariate(4.4, 0.5)), 1_500)
        lot = chance.random()
        self._outcome = "lost" if lot < 0.012 else "completed"

    def _tell(self, name: str, source: str, milliseconds: float, **fields: Any) -> Record:
        self.time += timedelta(milliseconds=milliseconds)
        return self._telling.event(name, source, self.time, **{**self._shared, **fields})

    def _step(self, by: str, command: str, **fields: str | int) -> None:
        at = int((self.time - self._begun) / timedelta(milliseconds=1))
        self._steps.append(RecordedStep(at=at, by=by, command=command, fields=fields))

    def _greeted(self) -> list[Record]:
        company, sha256 = self._company, self._certificate["certificate_sha256"]
        if self._outbound:
            where = {"host": company.host, "port": 6619}
            return [self._tell("outbound.answered", "server", 45, by="ca", ca=CA_NAME, **where, **self._certificate)]
        by = "certificate" if company.pinned else "san"
        seen = {**self._certificate, **({} if company.pinned else {"ca": CA_NAME})}
        return [
            self._tell("certificate.accepted", "server", 30, by=by, **seen),
            self._tell(
                "identity.accepted", "server", 25, code=company.code, release_level=5, certificate_sha256=sha256
            ),
        ]

    def refused_code(self, code: str) -> list[Record]:
        """A session that ended because of its SSIDCODE."""
        return [
            *self._greeted()[:1],
            self._tell(
                *("identity.refused", "server", 30),
                cause="identity.code",
                message=f"SSIDCODE not assigned to partner {self._company.name} or to any other partner",
                code=code,
                codes=[self._company.code],
                reason=3,
                told_partner="ESID 03",
                certificate_sha256=self._certificate["certificate_sha256"],
                ended_by="server",
                outcome="refused",
            ),
        ]

    def refused_by_station(self) -> list[Record]:
        """A session that did not begin, because the station was not there."""
        return [
            *self._greeted(),
            self._tell(
                *("session.refused", "server", 400),
                cause=Cause.STATION_REFUSED,
                message=sentence(Cause.STATION_REFUSED),
                reason=8,
                told_partner="ESID 08",
                ended_by="client",
                outcome="unreachable",
                code=self._company.code,
            ),
        ]

    def events(self) -> list[Record]:
        """All events."""
        company, chance, told = self._company, self._telling.chance, self._greeted()
        first, second = ("station", "partner") if self._outbound else ("partner", "station")
        self._step(second, "SSRM")
        self.time = self._begun + timedelta(milliseconds=self._setup)
        codes = {"partner": company.code, "station": STATION}
        for each in (first, second):
            self._step(each, "SSID", SSIDLEV=5, SSIDCODE=codes[each], SSIDSDEB=65535, SSIDCRED=64)
        about = {
            "code": company.code,
            "release_level": 5,
            "certificate_sha256": self._certificate["certificate_sha256"],
        }
        told += [self._tell("session.started", each, 3, **about, profile="default") for each in ("server", "client")]
        octets = {"in": 0, "out": 0}
        files = {"in": 0, "out": 0}
        kinds = company.gets if self._outbound else company.sends
        count = chance.choice((1, 1, 1, 2, 2, 4))
        for number in range(count):
            kind = "ENGDAT" if "CAD" in kinds and number else chance.choice(kinds)
            sender = first if number == 0 or chance.random() < 0.7 else second
            self._file(told, kind, sender, octets, files, lost=self._outcome == "lost" and number == count - 1)
        self._step(first, "ESID", ESIDREAS=0)
        for source in ("server", "client"):
            told.append(self._ended(source, octets, files))
        return told

    def _file(
        self, told: list[Record], kind: str, sender: str, octets: dict[str, int], files: dict[str, int], *, lost: bool
    ) -> None:
        chance, link = self._telling.chance, "in" if sender == "partner" else "out"
        least, most = _SIZES.get(kind, (3_000, 240_000))
        size = int(least * (most / least) ** chance.random())
        dataset = f"ENG{self._begun:%y%m%d}_PART_{chance.randrange(1000, 9999)}" if kind == "CAD" else kind
        ends = (self._company.code, STATION) if sender == "partner" else (STATION, self._company.code)
        stamp = f"{self.time:%Y%m%d %H%M%S}0001"
        kilo = -(-size // 1024)
        file: dict[str, Any] = {
            "link": link,
            "dataset": dataset,
            "stamp": stamp,
            "originator": ends[0],
            "destination": ends[1],
        }
        file |= {"format": "U", "size": kilo, "sender": "initiator" if sender == "partner" else "responder"}
        other = "station" if sender == "partner" else "partner"
        self._step(sender, "SFID", SFIDDSN=dataset, SFIDORIG=ends[0], SFIDDEST=ends[1], SFIDFMT="U", SFIDFSIZ=kilo)
        told += [
            self._tell("file.started", each, 8, **file, position=0, restart=False) for each in ("server", "client")
        ]
        self._step(other, "SFPA", SFPAACNT=0)
        self.time += timedelta(seconds=size / _RATE)
        self._step(sender, DATA, buffers=-(-size // 65_000), octets=size, credits=size // 4_000_000)
        if not lost:
            self._step(sender, "EFID", EFIDRCNT=0, EFIDUCNT=size)
            self._step(other, "EFPA", EFPACD="N")
            self._step(sender, "CD")
            self.time += timedelta(milliseconds=60)
            self._step(other, "EERP", EERPDSN=dataset, EERPORIG=ends[0])
            self._step(sender, "RTR")
        ended = {**file, "outcome": "lost" if lost else "completed", "octets": size, "records": 0}
        told += [self._tell("file.ended", each, 9, **ended) for each in ("server", "client")]
        octets[link] += size
        files[link] += 1

    def _ended(self, source: str, octets: dict[str, int], files: dict[str, int]) -> Record:
        lost = self._outcome == "lost"
        return self._tell(
            *("session.ended", source, 6),
            outcome=self._outcome,
            reason=0,
            side="partner",
            cause=Cause.LEG_LOST if lost else Cause.SESSION_COMPLETED,
            message="the connection was lost" if lost else "the partner ended the session with ESID 00",
            octets_in=octets["in"] + 305,
            octets_out=octets["out"] + 280,
            buffers_in=5 + octets["in"] // 65_000,
            buffers_out=5 + octets["out"] // 65_000,
            files_in=files["in"],
            files_out=files["out"],
            unconfirmed=0,
            anomalies=0,
            discarded=0,
            ended_by="partner",
            agreed={"level": 5, "buffer_size": 65535, "credit": 64, "compression": True, "restart": True},
        )

    def record(self) -> SessionRecord:
        """The record, once all events were told."""
        return SessionRecord(
            session=self._id,
            partner=self._company.name,
            peer=self._shared["peer"],
            began=isotime(self._begun),
            initiator="station" if self._outbound else "partner",
            lasted=int((self.time - self._begun) / timedelta(milliseconds=1)),
            setup=self._setup,
            outcome=self._outcome,
            cause=Cause.LEG_LOST if self._outcome == "lost" else Cause.SESSION_COMPLETED,
            agreed={"level": 5, "buffer_size": 65535, "credit": 64},
            held_partner=0,
            held_station=0,
            steps=tuple(self._steps),
            left_out=0,
        )
