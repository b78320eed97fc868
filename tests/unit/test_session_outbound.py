"""How a session begins that the station asks for."""

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import codec
from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import IdentityMismatch, LegLost, PartnerUnreachable, StationUnreachable, Step
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.events import Arrived, LegOpened, Lost, TimedOut
from smartproxy.relay.intents import Arm, Disarm, Finish, NotReady, Open, Ready, Send
from smartproxy.relay.openings import (
    Opening,
    client_excuse,
    client_inbound,
    client_outbound,
    server_inbound,
    server_outbound,
)
from smartproxy.relay.session import Session
from tests.unit.playbook import (
    CODE,
    DEADLINES,
    FACTS,
    INITIATOR,
    PARTNER_SSID,
    RESPONDER,
    STATION_SSID,
    Finished,
    Playbook,
    Told,
    esid,
    ssid,
)


def accept(asked: SSID) -> None:
    """Find nothing wrong."""


def book(opening: Opening) -> Playbook:
    """A playbook of a session that begins in this way."""
    return Playbook(Session("0123456789abcdef", opening, Monitor(), DEADLINES))


def begun(opening: Opening) -> Playbook:
    """A session whose legs are both there."""
    return book(opening).start(
        Arm(Timer.AUTHENTICATION, 61), Arm(Timer.OPENING, 20), Open(RESPONDER, FACTS)
    ).when(LegOpened(RESPONDER))  # fmt: skip


def greeted(opening: Opening) -> Playbook:
    """A session whose partner has greeted."""
    return begun(opening).when(
        Arrived(RESPONDER, SSRM_BUFFER),
        Disarm(Timer.OPENING),
        Arm(Timer.SSID, 30),
        Told("session.started", direction="outbound", partner="ACME"),
        Ready(),
        Send(INITIATOR, SSRM_BUFFER),
    )


class StationCalls(SynchronousTestCase):
    """Both legs are there when it begins."""

    def test_the_partners_greeting_is_relayed(self) -> None:
        """On both daemons: the station gets the SSRM that the partner sent, and the two negotiate."""
        for opening in (client_outbound(FACTS), server_outbound(accept, FACTS)):
            session = greeted(opening).when(
                Arrived(INITIATOR, STATION_SSID), Disarm(Timer.SSID), Send(RESPONDER, STATION_SSID)
            )
            told = [Told("identity.accepted", code=CODE, release_level=5)] if opening.judge else []
            session.when(
                Arrived(RESPONDER, PARTNER_SSID),
                *told,
                Disarm(Timer.AUTHENTICATION),
                Send(INITIATOR, PARTNER_SSID),
                Arm(Timer.INACTIVITY, 180),
            )

    def test_who_is_who(self) -> None:
        """The partner is the Responder, on both daemons."""
        server, client = server_outbound(accept, FACTS), client_outbound(FACTS)
        for opening in (server, client):
            self.assertEqual((opening.direction, opening.side(RESPONDER)), ("outbound", "partner"))
        self.assertEqual((server.leg(INITIATOR), server.leg(RESPONDER)), ("tunnel", "partner"))
        self.assertEqual((client.leg(INITIATOR), client.leg(RESPONDER)), ("station", "tunnel"))

    def test_each_side_has_its_profile(self) -> None:
        """However a session begins, the facts say how literally the partner is read, and the opening the station."""
        fault, facts = StationUnreachable(rule="a.rule", message=""), attrs.evolve(FACTS, profile=Profile.STRICT)
        for opening in (
            server_inbound(accept, FACTS, None, Profile.STRICT),
            client_inbound(FACTS, Profile.STRICT),
            server_outbound(accept, FACTS, None, Profile.STRICT),
            client_outbound(FACTS, Profile.STRICT),
            client_excuse(fault, FACTS, Profile.STRICT),
        ):
            profiles = {opening.partner: Profile.DEFAULT, opening.partner.other: Profile.STRICT}
            self.assertEqual(opening.profiles, profiles)
            strict = attrs.evolve(opening, facts=facts, station=Profile.DEFAULT)
            self.assertEqual(strict.profiles, {role: profiles[role.other] for role in profiles})

    def test_the_answer_is_judged(self) -> None:
        """The server judges the SSID of the partner; the station never sees a wrong one."""

        def judge(asked: SSID) -> None:
            self.assertEqual(asked.code, "O0013WRONG")
            raise IdentityMismatch(rule="identity.code", message="somebody else's")

        session = greeted(server_outbound(judge, FACTS)).after(Arrived(INITIATOR, STATION_SSID))
        session.when(
            Arrived(RESPONDER, ssid("O0013WRONG")),
            Told("identity.refused", told_partner="ESID 03", told_station="ESID 99", code="O0013WRONG"),
            Finish(INITIATOR),
            Send(RESPONDER, esid(EsidReason.USER_CODE_NOT_KNOWN)),
            Finish(RESPONDER),
            Disarm(Timer.AUTHENTICATION),
            Arm(Timer.CLOSING, 5),
        )

    def test_no_greeting(self) -> None:
        """A partner that does not greet, on either daemon: the end is the partner's; nobody was greeted or is told."""
        message = "SSRM: the partner did not greet in time"
        for opening in (client_outbound(FACTS), server_outbound(accept, FACTS)):
            begun(opening).when(
                TimedOut(Timer.OPENING),
                Told(
                    "session.refused",
                    cause="deadline.opening",
                    message=message,
                    ended_by="partner",
                    told_station="closed",
                ),
                NotReady(Absent(rule=Cause.CALL_SSRM, message="", step=Step.SSRM, cause=Cause.DEADLINE_OPENING)),
                Finish(INITIATOR),
                Finish(RESPONDER),
                Disarm(Timer.AUTHENTICATION),
                Arm(Timer.CLOSING, 5),
            )

    def test_partner_leaves_before_its_greeting(self) -> None:
        """Its connection is lost: the server says that it was the partner's."""
        begun(server_outbound(accept, FACTS)).when(
            Lost(RESPONDER, "closed"),
            Told(
                "session.refused",
                cause="leg.lost",
                message="SSRM: the connection to the partner was lost: closed",
                ended_by="partner",
            ),
            NotReady(Absent(rule=Cause.CALL_SSRM, message="", step=Step.SSRM, cause=Cause.LEG_LOST)),
            Finish(INITIATOR),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.OPENING),
            Arm(Timer.CLOSING, 5),
        )

    def test_tunnel_lost_before_the_greeting(self) -> None:
        """The client does not take a lost tunnel for the partner's or the station's end."""
        begun(client_outbound(FACTS)).when(
            Lost(RESPONDER, "closed"),
            Told(
                "session.abandoned",
                outcome="lost",
                cause="tunnel.lost",
                message="the connection to the tunnel was lost: closed",
                ended_by="nobody",
            ),
            NotReady(Broken(rule="tunnel.lost", message="")),
            Finish(INITIATOR),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.OPENING),
            Arm(Timer.CLOSING, 5),
        )


class Unreachable(StationUnreachable):
    """Equal to every fault of its kind."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StationUnreachable)

    __hash__ = None  # type: ignore[assignment]  # nothing but a pattern


class Broken(LegLost):
    """Equal to every fault of its kind and rule."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LegLost) and self.rule == other.rule

    __hash__ = None  # type: ignore[assignment]  # nothing but a pattern


class Absent(PartnerUnreachable):
    """Equal to every fault of its kind and cause."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartnerUnreachable) and (self.step, self.cause) == (other.step, other.cause)

    __hash__ = None  # type: ignore[assignment]  # nothing but a pattern


class Excuses(SynchronousTestCase):
    """A call that failed, where the port said whom the station wants."""

    def excuse(self, level: Level) -> None:
        """Play it with a station of a release level."""
        fault = PartnerUnreachable.at(Step.CONNECT, "the partner does not answer", Cause.CALL_NO_ANSWER)
        text = "connect: the partner does not answer"
        self.assertEqual((fault.message, fault.rule), (text, "call.connect"))
        session = book(client_excuse(fault, FACTS)).start(
            Arm(Timer.AUTHENTICATION, 61), Send(INITIATOR, SSRM_BUFFER), Arm(Timer.SSID, 30)
        )
        session.when(
            Arrived(INITIATOR, ssid(lev=int(level)) if level is Level.OFTP_2_0 else older(level)),
            Disarm(Timer.SSID),
            Told(
                "session.refused",
                cause="call.no_answer",
                message=text,
                told_station="ESID 08",
                direction="outbound",
            ),
            Send(INITIATOR, codec.esid(EsidReason.RESOURCES_NOT_AVAILABLE, text, level)),
            Finish(INITIATOR),
            Disarm(Timer.AUTHENTICATION),
            Arm(Timer.CLOSING, 5),
        )
        session.when(Lost(INITIATOR, "closed"), Disarm(Timer.CLOSING), Finished(outcome="refused", reason=8))

    def test_excuse(self) -> None:
        """The station is greeted, and told the cause in the layout of the level that it offers."""
        self.excuse(Level.OFTP_2_0)

    def test_excuse_in_a_small_buffer(self) -> None:
        """The ESID is no longer than the Exchange Buffer that the station offers, whatever there is to say."""
        for size in (128, 200):
            fault = PartnerUnreachable.at(Step.CONNECT, "x" * 300, Cause.CALL_NO_ANSWER)
            session = Session("0123456789abcdef", client_excuse(fault, FACTS), Monitor(), DEADLINES)
            session.start()
            sent = session.receive(Arrived(INITIATOR, ssid(sdeb=size)))
            (told,) = [each.octets for each in sent if isinstance(each, Send)]
            self.assertEqual(len(told), 4 + size)

    def test_excuse_of_an_older_station(self) -> None:
        """Levels without a reason text have the code alone."""
        self.excuse(Level.OFTP_1_4)


def older(level: Level) -> bytes:
    """An SSID of a level below 2.0."""
    command = SSID(
        lev=int(level), code=CODE, pswd="", sdeb=1024, sr="B", cmpr="N", rest="N", spec="N", cred=3, user=""
    )  # fmt: skip
    return frame(codec.encode(command, level))
