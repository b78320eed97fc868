"""A playbook: the script of a session, event by event, with every intent that must follow.

Every report must be one that the event catalogue knows.
"""

from collections.abc import Callable
from typing import Any

import attrs

from smartproxy.logs.catalogue import look_up
from smartproxy.oftp2 import codec
from smartproxy.oftp2.commands import CD, CDT, DATA, EERP, EFID, EFPA, SFID, SFPA, SSID, Command
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.monitor import Ceilings, Monitor
from smartproxy.oftp2.roles import Level, Profile, Role
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.policy.settings import Deadlines
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.ending import Summary
from smartproxy.relay.events import Arrived, Event, LegOpened
from smartproxy.relay.intents import Arm, Disarm, Done, Intent, Open, Ready, Send, Tell
from smartproxy.relay.openings import PartnerTls, SessionFacts, client_inbound, server_inbound
from smartproxy.relay.session import Session

INITIATOR, RESPONDER = Role.INITIATOR, Role.RESPONDER

FACTS = SessionFacts(
    partner="ACME",
    profile=Profile.DEFAULT,
    peer="192.0.2.7:40112",
    tls=PartnerTls.TLS_1_3,
    certificate_sha256="ab" * 32,
)
CODE = "O0013000001ACME"
OPENED_FACTS = attrs.evolve(FACTS, code=CODE, level=Level.OFTP_2_0)


def framed(command: Command, level: Level = Level.OFTP_2_0) -> bytes:
    """A command as it goes over the wire."""
    return frame(codec.encode(command, level))


def ssid(code: str = CODE, **changes: object) -> bytes:
    """An SSID on the wire."""
    usual: dict[str, Any] = {
        "lev": 5,
        "code": code,
        "pswd": "SECRET",
        "sdeb": 1024,
        "sr": "B",
        "cmpr": "Y",
        "rest": "Y",
        "spec": "N",
        "cred": 3,
        "auth": "N",
    }
    return framed(SSID(**{**usual, **changes}))


def sfid(name: str = "INVOICES", **changes: object) -> bytes:
    """An SFID on the wire."""
    usual: dict[str, Any] = {
        "dsn": name,
        "date": 20261120,
        "time": 1215300001,
        "dest": "O0013000002ME",
        "orig": CODE,
        "fmt": "U",
        "lrecl": 0,
        "fsiz": 1,
        "osiz": 1,
        "rest": 0,
        "sec": 0,
        "ciph": 0,
        "comp": 0,
        "env": 0,
        "sign": "N",
        "desc": "",
    }
    return framed(SFID(**{**usual, **changes}))


def data(octets: bytes = b"hello") -> bytes:
    """A DATA with one subrecord on the wire."""
    return framed(DATA(buf=bytes([0x80 | len(octets)]) + octets))


def esid(reason: EsidReason, words: str | None = None) -> bytes:
    """The ESID that the proxy makes.

    :param words: its text, if it is not the reason's own.
    """
    return codec.esid(reason, reason.phrase if words is None else words, Level.OFTP_2_0)


def aborted(words: str) -> bytes:
    """ESID 99 with a text."""
    return esid(EsidReason.UNSPECIFIED_ABORT, words)


VIOLATED, LOST, LATE = (
    aborted("Protocol violation by other party"),
    aborted("Connection to other party lost"),
    aborted("Time out of other party"),
)
REFUSED, STOPPED, CUT_OFF = (
    aborted("Refused by policy"),
    aborted("Ended by policy"),
    aborted("Connection between parties lost"),
)


PARTNER_SSID = ssid()
STATION_SSID = ssid("O0013000002ME", pswd="")
SFPA_0 = framed(SFPA(acnt=0))
EFID_5 = framed(EFID(rcnt=0, ucnt=5))
EFPA_N = framed(EFPA(cd="N"))
CD_ = framed(CD())
CDT_ = framed(CDT())
EERP_ = framed(EERP(dsn="INVOICES", date=20261120, time=1215300001, dest=CODE, orig="O0013000002ME", hsh=b"", sig=b""))

DEADLINES = Deadlines(ssid=30, authentication=61, buffer=62, inactivity=180, closing=5, opening=20)


class Told:
    """Equal to a report of that name that has, among others, these fields."""

    def __init__(self, name: str, **fields: object) -> None:
        self.name, self.fields = name, fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tell) and other.name == self.name and self.fields.items() <= dict(other.fields).items()

    def __repr__(self) -> str:
        return f"Told({self.name!r}, {self.fields})"

    __hash__ = None  # type: ignore[assignment]  # nothing but a pattern


class Finished:
    """Equal to ``Done`` with a summary whose ending has these values."""

    def __init__(self, **ending: object) -> None:
        self.ending = ending
        self.summary: Summary | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Done):
            return False
        self.summary = other.summary
        return all(getattr(other.summary.ending, name) == value for name, value in self.ending.items())

    def __repr__(self) -> str:
        return f"Finished({self.ending})"

    __hash__ = None  # type: ignore[assignment]  # nothing but a pattern


Expected = Intent | Told | Finished


class Playbook:
    """Runs a session through its script."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def start(self, *expected: Expected) -> "Playbook":
        """The session starts; these intents follow, and no other."""
        self._compare("start", self.session.start(), expected)
        return self

    def when(self, event: Event, *expected: Expected) -> "Playbook":
        """An event happens; these intents follow, and no other."""
        self._compare(repr(event), self.session.receive(event), expected)
        return self

    def after(self, *events: Event) -> "Playbook":
        """Events happen; what follows them is another test's matter."""
        for event in events:
            self.session.receive(event)
        return self

    def _compare(self, cause: str, found: list[Intent], expected: tuple[Expected, ...]) -> None:
        for intent in found:
            if isinstance(intent, Tell):
                look_up(intent.name).check(intent.fields)
        lines = [f"{'  ' if a == b else '! '}{a!r}\n    {b!r}" for a, b in zip(found, expected, strict=False)]
        if len(found) != len(expected) or any(line.startswith("!") for line in lines):
            surplus = [f"! unexpected {intent!r}" for intent in found[len(expected) :]]
            missing = [f"! missing {intent!r}" for intent in expected[len(found) :]]
            raise AssertionError("\n".join([f"after {cause}:", *lines, *surplus, *missing]))


def accept(ssid: SSID) -> None:
    """Policy that has no objection."""


class Played(Session):
    """A session whose methods can be replaced."""


def server(judge: Callable[[SSID], None] = accept, profile: Profile = Profile.DEFAULT) -> Session:
    """A session of the server."""
    return Played("0123456789abcdef", server_inbound(judge, FACTS), Monitor(profile), DEADLINES)


def client(profile: Profile = Profile.DEFAULT) -> Session:
    """A session of the client."""
    return Played("0123456789abcdef", client_inbound(OPENED_FACTS), Monitor(profile, ceilings=Ceilings()), DEADLINES)


STARTED = (
    Arm(Timer.AUTHENTICATION, 61),
    Send(INITIATOR, SSRM_BUFFER),
    Arm(Timer.SSID, 30),
)
IDENTIFIED = (
    Disarm(Timer.SSID),
    Told("identity.accepted", code=CODE, release_level=5, partner="ACME"),
    Arm(Timer.OPENING, 20),
    Open(RESPONDER, OPENED_FACTS),
)
INSIDE = (
    Disarm(Timer.OPENING),
    Told("session.started", code=CODE, release_level=5, tls="TLSv1.3"),
    Send(RESPONDER, PARTNER_SSID),
)


def relaying_server(profile: Profile = Profile.DEFAULT) -> Playbook:
    """A server's session in which both SSIDs are exchanged."""
    book = Playbook(server(profile=profile)).start(*STARTED)
    return book.after(Arrived(INITIATOR, PARTNER_SSID), LegOpened(RESPONDER), Arrived(RESPONDER, STATION_SSID))


def relaying_client() -> Playbook:
    """A client's session in which both SSIDs are exchanged."""
    book = Playbook(client())
    book.session.start()
    book.when(LegOpened(RESPONDER)).when(
        Arrived(RESPONDER, SSRM_BUFFER),
        Disarm(Timer.OPENING),
        Arm(Timer.SSID, 30),
        Told("session.started"),
        Ready(),
    )
    return book.after(Arrived(INITIATOR, PARTNER_SSID), Arrived(RESPONDER, STATION_SSID))
