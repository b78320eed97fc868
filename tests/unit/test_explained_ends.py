"""Every way in which a session or call can end has its sentence for the partner: the whole table."""

import itertools
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import refusals_explained
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.refusals_explained import ExplainedRefusal
from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, NOTHING_TO_CHANGE, OURS
from smartproxy.policy.explanations import DISAGREEMENTS, EXPLANATIONS, OUR_CALL, HowEnded
from smartproxy.policy.faults import Draining, IdentityMismatch, Killed, QuotaExceeded, Step, Withdrawn
from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.relay import events
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.openings import server_inbound, server_outbound
from tests.unit.playbook import FACTS, PARTNER_SSID, STATION_SSID, esid, ssid
from tests.unit.session_pair import Daemon, Pair
from tests.unit.sites import NOW, SiteCase
from tests.unit.test_one_ending import ENDS, PASSWORD, bug, late, lost, says, stops, tunnel

PARTNER, STATION, SERVER, CLIENT, OPERATOR, NOBODY = Participant
NO_ROOM: Final = esid(EsidReason.RESOURCES_NOT_AVAILABLE)
INCOMING, OUTGOING = False, True

ENDED: Final[Mapping[tuple[Outcome, Participant], str]] = {
    (Outcome.COMPLETED, PARTNER): "The session ended as it should.",
    (Outcome.COMPLETED, STATION): "The session ended as it should.",
    (Outcome.ABORTED, PARTNER): "Your system ended the session with the ESID reason code that is named here.",
    (Outcome.ABORTED, STATION): "Our system ended the session with the ESID reason code that is named here.",
    (Outcome.VIOLATED, PARTNER): "Your system sent something that the OFTP2 protocol (RFC 5024) does not allow at that"
    " point.",
    (Outcome.VIOLATED, STATION): "Our own system sent something that the OFTP2 protocol (RFC 5024) does not allow, and"
    " the session was ended.",
    (Outcome.EXPIRED, PARTNER): "Your system did not respond in time.",
    (Outcome.EXPIRED, STATION): "Our own system did not respond in time, and the session was ended.",
    (Outcome.LOST, PARTNER): "The connection to your system was lost before the session was over.",
    (Outcome.LOST, STATION): "A connection on our side was lost, and the session was ended.",
    (Outcome.LOST, SERVER): "A connection on our side was lost, and the session was ended.",
    (Outcome.LOST, CLIENT): "A connection on our side was lost, and the session was ended.",
    (Outcome.LOST, NOBODY): "A connection on our side was lost, and the session was ended.",
    (Outcome.FAILED, SERVER): "A fault in our software ended the session.",
    (Outcome.FAILED, CLIENT): "A fault in our software ended the session.",
}
"""What the partner is told of a session that ended, whoever called; of one that we stopped, the cause says it."""

_MAINTENANCE: Final = "Our system was stopped or restarted, for example for maintenance, and the session was ended."
STOPPED: Final[Mapping[Cause, str]] = {
    Cause.DAEMON_DRAINING: _MAINTENANCE,
    Cause.DAEMON_STOPPING: _MAINTENANCE,
    Cause.SESSION_CLOSED: "We ended the session.",
    Cause.SESSION_COSTLY: "What your system sent took far more computing time than an ordinary session does, and we"
    " ended the session.",
    Cause.SESSION_KILLED: "One of our operators ended the session.",
}
"""What the partner is told of a session that we stopped."""
NOT_STOPPED: Final = frozenset(
    {Cause.SESSION_COMPLETED, Cause.SESSION_ABORTED, Cause.SESSION_OPEN, Cause.SESSION_FACTS, Cause.DAEMON_SUCCEEDED}
)
"""The other causes of these subjects: an ESID, a session that cannot begin, or the end of a daemon, which has its own
cause for the sessions that it stops."""

NOT_BEGUN: Final = {INCOMING: "We could not accept your session.", OUTGOING: "We could not call your system."}
"""What the partner is told where a session did not begin, and the cause is this site's."""

ALWAYS: Final[Mapping[Outcome, str]] = {
    Outcome.COMPLETED: "The session ended as it should.",
    Outcome.LOST: "A connection on our side was lost, and the session was ended.",
    Outcome.FAILED: "A fault in our software ended the session.",
}
"""What the partner is told of an end that nobody who is in :data:`ENDED` with it began, or of which nobody is named; of
any other such end no more than that it is ours."""

STEPS: Final[Mapping[Step, str]] = {
    Step.POLICY: "We could not call your system.",
    Step.SOURCE: "We could not call your system.",
    Step.NAME: "We called your system, and no OFTP2 session could be established.",
    Step.CONNECT: "We called your system, and no OFTP2 session could be established.",
    Step.TLS: "We called your system, and the TLS connection could not be established.",
    Step.SSRM: "We called your system, and no OFTP2 session could be established.",
}
"""What the partner is told of a call that failed, by the step, where no more is known."""

CLOSED: Final = "We called your system, and it closed the connection before the session had begun."
"""What a called partner is told that was lost before it greeted."""

COMPARED: Final = "Please compare this setting with us."
"""What the partner is asked where the settings of both sides differ."""


def opening_is_over(pair: Pair) -> None:
    """The deadline of the opening passes at the server."""
    pair.happens(pair.server, events.TimedOut(Timer.OPENING))


_FULL: Final = "All the sessions or connections that we can hold at the same time were in use."
SAID: Final[Mapping[Cause, str]] = {
    Cause.QUOTA_DISPLACED: _FULL,
    Cause.QUOTA_HASTE: _FULL,
    Cause.QUOTA_CONNECTIONS: _FULL,
    Cause.QUOTA_EARLY: _FULL,
    Cause.QUOTA_ADDRESS: "Too many connections from your address were open at the same time.",
    Cause.QUOTA_UNAUTHENTICATED: "Too many connections from your address had begun TLS, and had not finished it.",
    Cause.QUOTA_SESSIONS: _FULL,
    Cause.QUOTA_PARTNER: "Your system had reached the limit of parallel sessions with us.",
    Cause.HANDSHAKE_TIMEOUT: "Your system began a TLS connection, and did not complete it in time.",
    Cause.HANDSHAKE_SILENT: "Your system connected and sent nothing.",
    Cause.HANDSHAKE_PLAIN_OFTP: "Your system sent OFTP without TLS to our port for OFTP2 over TLS.",
    Cause.HANDSHAKE_PLAIN_HTTP: "Your system sent HTTP to our port for OFTP2 over TLS.",
    Cause.HANDSHAKE_PLAIN_SSH: "Your system sent SSH to our port for OFTP2 over TLS.",
    Cause.HANDSHAKE_BALANCER: "Your system, or a load balancer in front of it, sent a header of the PROXY protocol"
    " before its TLS.",
    Cause.HANDSHAKE_NOT_TLS: "Your system sent something other than TLS to our port for OFTP2 over TLS.",
    Cause.HANDSHAKE_ALERT: "Your system ended the TLS connection with the alert that is named here.",
    Cause.HANDSHAKE_DISTRUSTED: "Your system did not accept our certificate, and ended the TLS connection with the"
    " alert that is named here.",
    Cause.HANDSHAKE_FAILED: "The TLS connection could not be established.",
    Cause.HANDSHAKE_ENDED: "Your system, or a firewall in front of it, closed the connection before TLS was "
    "established.",
    Cause.HANDSHAKE_RENEGOTIATED: "Your system asked for a second TLS handshake within the connection, which we do not "
    "accept.",
    Cause.IDENTITY_CODE: "The identification code (SSIDCODE) that your system sent is not assigned to your "
    "certificate.",
    Cause.IDENTITY_LEVEL: "The OFTP release level that your system offered is lower than agreed.",
    Cause.IDENTITY_STATION_LEVEL: "Our own system proposed an OFTP release level that is lower than agreed.",
    Cause.IDENTITY_AUTHENTICATION: "The secure authentication setting (SSIDAUTH) of your system does not match ours.",
    Cause.IDENTITY_STATION_AUTHENTICATION: "Our own system did not propose secure authentication (SSIDAUTH) as it is "
    "agreed.",
    Cause.IDENTITY_ORIGINATOR: "Your system sent a file whose originator (SFIDORIG) is not agreed with us.",
    Cause.IDENTITY_DESTINATION: "Your system sent a file whose destination (SFIDDEST) is not agreed with us.",
    **dict.fromkeys(
        (each for each in Cause if each.startswith("penalty.")),
        "Your address was blocked for a while after too many failed attempts.",
    ),
}
"""What the partner is told of what did not begin, whoever is named; certificates have a table of their own."""

OF_THE_PARTNER: Final = frozenset({"call", "certificate", "handshake", "identity", "penalty", "quota"})
"""The subjects of causes for which something does not begin, and of which the partner has to know more."""
OF_AN_END: Final = frozenset({"daemon", "deadline", "internal", "leg", "session", "tunnel", "worker"})
"""The subjects of causes for which a session ends: its outcome, and who ended it, choose the sentence."""
# fmt: off
OURS_ALONE: Final = frozenset(
    {
        "answer", "api", "audit", "backend", "balancer", "box", "chunk", "command", "configuration", "copy", "crl",
        "ctl", "data", "destination", "document", "ending", "events", "hello", "licence",
        "licence_file", "log", "mail", "mark", "opening", "operator", "page", "port", "question", "request",
        "script", "source", "station", "store", "strangers", "stream", "target", "ticket", "trust_list",
        "value",
    }
)
# fmt: on
"""The subjects of causes that are this site's alone: the partner is told no more than that."""
NOBODYS: Final = frozenset({"connection"})
"""The subjects of causes that are told of nobody: a check of the port."""


def awaits_station() -> Pair:
    """A partner called, and the client awaits the station's greeting."""
    pair = Pair()
    pair.says(pair.server, PARTNER_SSID)
    return pair


def awaits_partner() -> Pair:
    """A partner is called, and the server awaits its greeting."""
    return Pair(outbound=True)


def awaits_answer() -> Pair:
    """A called partner has greeted, the station has said who it is, and the partner's SSID is awaited."""
    pair = Pair(outbound=True)
    pair.says(pair.server, SSRM_BUFFER)
    pair.says(pair.client, STATION_SSID)
    return pair


MOMENTS: Final = (awaits_station, awaits_partner, awaits_answer)
_ESID_LEFT: Final = ENDED[Outcome.ABORTED, PARTNER], 8
_BROKEN: Final = ENDED[Outcome.VIOLATED, PARTNER], None
_LATE: Final = ENDED[Outcome.EXPIRED, PARTNER], None
_LEFT: Final = ENDED[Outcome.LOST, PARTNER], None
_TUNNEL: Final = ENDED[Outcome.LOST, NOBODY], None
_BUG: Final = ENDED[Outcome.FAILED, SERVER], None
_KILLED: Final = STOPPED[Cause.SESSION_KILLED], None
_DRAINED: Final = _MAINTENANCE, None
_REVOKED: Final = "Your certificate, or the certificate of one of its issuing CAs, has been revoked.", None
_NOT_ACCEPTED: Final = "We could not accept your session.", None
_NO_GREETING: Final = STEPS[Step.SSRM], None

OPENING: Final[tuple[tuple[Callable[[Pair], None], str, *tuple[tuple[Any, ...] | None, ...]], ...]] = (
    # what happens, the code, and at each of MOMENTS the sentence, the ESID reason, and the code where it is another
    (says("partner", NO_ROOM), "session.aborted", _ESID_LEFT, (*_BROKEN, "state.command"), _ESID_LEFT),
    (says("partner", b"\x20"), "header.version", _BROKEN, _BROKEN, _BROKEN),
    (lost("partner"), "leg.lost", _LEFT, (CLOSED, None), _LEFT),
    (late("partner", "server"), "deadline.buffer", _LATE, _NO_GREETING, _LATE),
    (opening_is_over, "deadline.opening", _NOT_ACCEPTED, _NO_GREETING, _LATE),
    (stops("server", Killed, Cause.SESSION_KILLED), "session.killed", _KILLED, _KILLED, _KILLED),
    (stops("server", Draining, Cause.DAEMON_DRAINING), "daemon.draining", _DRAINED, _DRAINED, _DRAINED),
    (stops("server", Withdrawn, Cause.CERTIFICATE_REVOKED), "certificate.revoked", _REVOKED, _REVOKED, _REVOKED),
    (bug("server"), "internal.error", _BUG, _BUG, _BUG),
    (tunnel, "tunnel.lost", _TUNNEL, _TUNNEL, _TUNNEL),
    (
        says("station", NO_ROOM),
        "session.aborted",
        (*_NOT_ACCEPTED, "state.command"),
        None,
        (ENDED[Outcome.ABORTED, STATION], 8),
    ),
    (says("station", b"\x20"), "header.version", _NOT_ACCEPTED, None, (ENDED[Outcome.VIOLATED, STATION], None)),
    (lost("station"), "leg.lost", _NOT_ACCEPTED, None, (ENDED[Outcome.LOST, STATION], None)),
    (late("station", "client"), "deadline.buffer", _NOT_ACCEPTED, None, (ENDED[Outcome.EXPIRED, STATION], None)),
    (stops("client", Killed, Cause.SESSION_KILLED), "session.killed", _NOT_ACCEPTED, None, _KILLED),
    (stops("client", Draining, Cause.DAEMON_DRAINING), "daemon.draining", _NOT_ACCEPTED, None, _DRAINED),
    (bug("client"), "internal.error", _NOT_ACCEPTED, None, _BUG),
)
"""How a session ends while it opens."""


class Table(SynchronousTestCase):
    """Causes, outcomes, directions, and who began the end."""

    def test_ours(self) -> None:
        """The cause is on this side exactly where the partner is told that it need not change anything."""
        for key, each in EXPLANATIONS.items():
            self.assertEqual(each.ours, NOTHING_TO_CHANGE in each.remedy, key)

    def test_every_outcome_both_directions(self) -> None:
        """Each outcome has its sentence for each who can have begun it, and the remedy fits who called."""
        begun = set(Outcome) - {Outcome.REFUSED, Outcome.UNREACHABLE, Outcome.STOPPED}
        self.assertEqual({outcome for outcome, _ in ENDED}, begun)
        self.assertEqual({by for _, by in ENDED}, set(Participant) - {OPERATOR})
        for (outcome, by), sentence in ENDED.items():
            for outgoing, other in ((INCOMING, OUR_CALL), (OUTGOING, OURS)):
                end = HowEnded(cause="leg.lost", outcome=outcome, ended_by=by, outgoing=outgoing)
                self.assertEqual(end.explanation.happened, sentence)
                self.assertNotEqual(end.explanation.remedy, other)

    def test_whoever_else_began_it(self) -> None:
        """An end that is told of somebody who cannot have begun it, or of nobody, is never laid on the partner."""
        for outcome in set(Outcome) - {Outcome.REFUSED, Outcome.UNREACHABLE, Outcome.STOPPED}:
            for by in (None, *Participant):
                for outgoing in (INCOMING, OUTGOING):
                    end = HowEnded(cause="leg.lost", outcome=outcome, ended_by=by, outgoing=outgoing)
                    expected = None if by is None else ENDED.get((outcome, by))
                    if expected is None:
                        self.assertEqual(end.explanation.happened, ALWAYS.get(outcome, NOT_BEGUN[outgoing]), (end,))
                        self.assertEqual(end.explanation.ours, outcome is not Outcome.COMPLETED)
                    else:
                        self.assertEqual(end.explanation.happened, expected)

    def test_every_session_that_we_stop(self) -> None:
        """Each cause for which we stop sessions has its sentence; who is to connect again depends on who called."""
        subjects = {cause for cause in Cause if cause.partition(".")[0] in ("daemon", "session")}
        self.assertEqual(subjects, set(STOPPED) | NOT_STOPPED)
        for cause, sentence in STOPPED.items():
            for by in (None, *Participant):
                for outgoing in (INCOMING, OUTGOING):
                    end = HowEnded(cause=cause, outcome=Outcome.STOPPED, ended_by=by, outgoing=outgoing)
                    self.assertEqual(end.explanation.happened, sentence)
                    self.assertFalse(outgoing and "again later" in end.explanation.remedy)
                    self.assertFalse(not outgoing and end.explanation.remedy == OUR_CALL)

    def test_every_cause(self) -> None:
        """Each cause is of a subject that is explained, or of one of which the partner is told no more."""
        parts = (OF_THE_PARTNER, OF_AN_END, OURS_ALONE, NOBODYS)
        self.assertEqual(sum(map(len, parts)), len(frozenset().union(*parts)))
        self.assertEqual({cause.partition(".")[0] for cause in Cause}, frozenset().union(*parts))
        for cause in Cause:
            subject = cause.partition(".")[0]
            if subject == "call":
                continue
            for outcome in (None, Outcome.REFUSED, Outcome.UNREACHABLE):
                for outgoing, by in itertools.product((INCOMING, OUTGOING), (None, *Participant)):
                    end = HowEnded(cause=cause, outcome=outcome, ended_by=by, outgoing=outgoing)
                    said = end.explanation.happened
                    ours = subject not in OF_THE_PARTNER or (subject == "quota" and outgoing)
                    if outgoing and by is PARTNER and subject in ("leg", "deadline"):
                        # It was called and did not greet.
                        self.assertEqual(said, CLOSED if cause == Cause.LEG_LOST else STEPS[Step.SSRM], end)
                    elif ours:
                        self.assertEqual((said, end.explanation.ours), (NOT_BEGUN[outgoing], True), end)
                    else:
                        certificate = CERTIFICATE_CAUSES.get(cause)
                        if certificate is None:
                            self.assertEqual(said, SAID[cause], end)
                        elif not outgoing:
                            self.assertEqual(end.explanation, certificate.explanation, end)
                        self.assertNotIn(said, NOT_BEGUN.values(), end)

    def test_called_partner_that_did_not_greet(self) -> None:
        """A partner that we called, and that was lost or late before it greeted, hears what it did, and not of us."""
        for cause, told in (
            (Cause.LEG_LOST, CLOSED),
            (Cause.DEADLINE_OPENING, STEPS[Step.SSRM]),
            (Cause.DEADLINE_BUFFER, STEPS[Step.SSRM]),
            (Cause.DEADLINE_AUTHENTICATION, STEPS[Step.SSRM]),
        ):
            for outcome in (Outcome.UNREACHABLE, Outcome.REFUSED):
                end = HowEnded(cause=cause, outcome=outcome, ended_by=PARTNER, outgoing=OUTGOING)
                self.assertEqual(end.explanation.happened, told)
                self.assertFalse(end.explanation.ours)
                for by in (STATION, SERVER, None):
                    end = HowEnded(cause=cause, outcome=outcome, ended_by=by, outgoing=OUTGOING)
                    self.assertEqual(end.explanation.happened, NOT_BEGUN[OUTGOING])

    def test_certificates_in_both_directions(self) -> None:
        """What is wrong with a certificate is told, whatever it ended; of a server it is said that it is one."""
        for cause, row in CERTIFICATE_CAUSES.items():
            for outcome in (None, Outcome.STOPPED, Outcome.REFUSED):
                said = HowEnded(cause=cause, outcome=outcome, ended_by=SERVER).explanation
                self.assertEqual(said, row.explanation)
                called = HowEnded(cause=cause, outcome=outcome, ended_by=SERVER, outgoing=True).explanation
                self.assertNotEqual(called.remedy, OURS)
                self.assertNotIn("TLS client", called.happened if cause != Cause.CERTIFICATE_MISSING else "")

    def test_every_step_of_a_call(self) -> None:
        """A call that failed is told by its step; a cause that says more has a sentence of its own."""
        self.assertEqual(set(STEPS), set(Step))
        for step, sentence in STEPS.items():
            self.assertEqual(HowEnded(cause=step.cause, step=step, outgoing=True).explanation.happened, sentence)
        for cause, step, words in (
            (Cause.CALL_ALERT, Step.TLS, "it ended the TLS connection with the alert"),
            (Cause.CALL_DISTRUSTED, Step.TLS, "it did not accept our certificate"),
            (Cause.CALL_NO_ANSWER, Step.CONNECT, "no OFTP2 session could be established"),
            (Cause.CALL_CLOSED, Step.TLS, "it closed the connection before the session had begun"),
            (Cause.CALL_GREETING, Step.SSRM, "its answer was not that of an OFTP2 program"),
            (Cause.CALL_RENEGOTIATED, Step.TLS, "it asked for a second TLS handshake"),
            (Cause.CALL_UNUSED, Step.SSRM, "ended the call before the session had begun"),
            (Cause.CALL_NOT_ALLOWED, Step.POLICY, "Our settings do not allow calls"),
            (Cause.CALL_BANNED, Step.POLICY, "We do not call your system for a while"),
            (Cause.QUOTA_SESSIONS, Step.CONNECT, "We could not call your system."),
            (Cause.INTERNAL_ERROR, Step.CONNECT, "We could not call your system."),
        ):
            self.assertIn(words, HowEnded(cause=cause, step=step, outgoing=True).explanation.happened)

    def test_every_sentence_can_be_said(self) -> None:
        """No entry of the table is left that no end leads to."""
        keys = {"certificate", "certificate.self_signed", "identity", "ours", "ours.outgoing"}
        keyed = (key for key in EXPLANATIONS if key.startswith(("identity.", "quota.")))
        for cause in [*Cause, *DISAGREEMENTS, *keyed]:
            for outcome in (None, *Outcome):
                for by in Participant:
                    keys.add(HowEnded(cause=cause, outcome=outcome, ended_by=by).key)
        said = {each for key in keys for each in (key, key.partition(".")[0])}
        said |= {f"{each}.outgoing" for each in said}
        self.assertEqual(set(EXPLANATIONS) - said, set())


class Relayed(SiteCase):
    """What both daemons really tell of a session goes into the store, and ``explain`` finds its sentence."""

    def setUp(self) -> None:
        """No event yet."""
        super().setUp()
        self.seconds = 0

    def keep(self, pair: Pair, number: int) -> str:
        """Store what the daemons of a pair told, under a session's id of its own."""
        session = f"{number:016x}"
        sources: list[tuple[str, Daemon]] = [("server", pair.server)]
        if pair.client is not None:
            sources.append(("client", pair.client))
        told: list[dict[str, Any]] = []
        for source, daemon in sources:
            for report in daemon.reports:
                self.seconds += 1
                time = (NOW + timedelta(seconds=self.seconds)).isoformat()
                fields = {**report.fields, "session": session}
                told.append({"name": report.name, "source": source, "sequence": self.seconds, "time": time, **fields})
        self.assertEqual(ClientRequests(self.store).keep_events("inner", told, NOW).refused, [])
        return session

    def explained(self, what: str) -> ExplainedRefusal:
        """The record of a session."""
        with self.store.reading() as session:
            return refusals_explained.find(session, what)

    def test_every_end_in_both_directions(self) -> None:
        """The table of ends: each leads to the sentence of its outcome and of who began it, of either daemon's word."""
        ends = [*((happen, told) for happen, told, _, _ in ENDS)]
        ends += [(says(side, PASSWORD), ("aborted", "session.aborted", side)) for side in ("partner", "station")]
        number = 0
        for outbound in (INCOMING, OUTGOING):
            for happen, (outcome, cause, by) in ends:
                number += 1
                pair = Pair.relaying(outbound=outbound)
                happen(pair)
                for daemon in pair.daemons:
                    pair.lose(daemon, daemon.outside)
                found = self.explained(self.keep(pair, number))
                if cause in CERTIFICATE_CAUSES:
                    expected = CERTIFICATE_CAUSES[Cause(cause)].explanation.happened
                else:
                    stopped = {code.value: sentence for code, sentence in STOPPED.items()}
                    expected = stopped.get(cause) or ENDED[Outcome(outcome), Participant(by)]
                self.assertEqual((found.explanation.happened, found.outgoing), (expected, outbound), (outcome, cause))
                self.assertEqual(bool(found.protocol), (outcome, by) == ("violated", "partner"))
                self.assertEqual(self.explained("ACME").event.fields["session"], f"{number:016x}")

    def test_every_end_while_a_session_opens(self) -> None:
        """Sentence, code and reason of each end at each moment of an opening, of incoming and of outgoing sessions.

        Where we called and await the partner's greeting, the station's side has its ends in the next moments only.
        """
        number = 0
        for moment, begin in enumerate(MOMENTS):
            for happen, code, *told in OPENING:
                if (expected := told[moment]) is None:
                    continue
                number += 1
                pair = begin()
                happen(pair)
                for daemon in pair.daemons:
                    if not daemon.done:
                        pair.lose(daemon, daemon.outside)
                found = self.explained(self.keep(pair, number))
                fields = found.event.fields
                sentence, reason, *other = expected
                self.assertEqual(
                    (found.explanation.happened, fields.get("cause", fields.get("rule")), found.reason),
                    (sentence, *(other or [code]), reason),
                    f"moment {moment}",
                )
                self.assertEqual(found.outgoing, moment > 0)
                self.assertEqual(found.event.source, "server")

    def test_settings_that_differ(self) -> None:
        """Two SSIDs that differ in SSIDAUTH, or let nobody receive, are no fault of who answers: neither is blamed."""
        number = 0
        for outbound in (INCOMING, OUTGOING):
            for offer, answer, words in (
                ({}, {"auth": "Y"}, "about secure authentication (SSIDAUTH)"),
                ({"sr": "S"}, {"sr": "S"}, "about who may send files (SSIDSR)"),
            ):
                number += 1
                pair = Pair(outbound=outbound)
                if outbound:
                    pair.says(pair.server, SSRM_BUFFER)
                    pair.says(pair.client, ssid("O0013000002ME", **offer))
                    pair.says(pair.server, ssid(**answer))
                else:
                    pair.says(pair.server, ssid(**offer))
                    pair.says(pair.client, SSRM_BUFFER)
                    pair.says(pair.client, ssid("O0013000002ME", **answer))
                for daemon in pair.daemons:
                    pair.lose(daemon, daemon.outside)
                found = self.explained(self.keep(pair, number))
                self.assertEqual(found.explanation.happened, f"The two systems do not agree {words}.")
                self.assertEqual((found.explanation.remedy, found.explanation.ours), (COMPARED, False))
                self.assertEqual((found.outgoing, dict(found.protocol)), (outbound, {}))

    def test_sessions_that_do_not_begin(self) -> None:
        """A refused SSID, a limit, a partner that leaves or is late, a bug, a stop: before anything was relayed."""

        def refuse(ssid: SSID) -> None:
            raise IdentityMismatch(rule="identity.code", message="another partner's code")

        def crowded(ssid: SSID) -> None:
            raise QuotaExceeded(rule=Cause.QUOTA_PARTNER, message="too many")

        for number, (judge, words) in enumerate(
            ((refuse, "(SSIDCODE)"), (crowded, "limit of parallel sessions with us"))
        ):
            pair = Pair(server=server_inbound(judge, FACTS))
            pair.says(pair.server, PARTNER_SSID)
            self.assertIn(words, self.explained(self.keep(pair, number)).explanation.happened)
        pair = Pair(outbound=True, server=server_outbound(refuse, FACTS))
        pair.says(pair.server, SSRM_BUFFER)
        pair.says(pair.client, STATION_SSID)
        pair.says(pair.server, PARTNER_SSID)
        found = self.explained(self.keep(pair, 10))
        self.assertIn("(SSIDCODE)", found.explanation.happened)
        self.assertTrue(found.outgoing)
        pair = Pair()
        pair.says(pair.server, PARTNER_SSID)
        assert pair.client is not None
        pair.lose(pair.client, Role.RESPONDER)
        found = self.explained(self.keep(pair, 11))
        self.assertEqual(found.explanation.happened, NOT_BEGUN[INCOMING])
        for step, (happen, by, outcome) in enumerate(
            (
                (lambda pair: pair.lose(pair.server, Role.INITIATOR), PARTNER, Outcome.LOST),
                (lambda pair: pair.happens(pair.server, events.Bug()), SERVER, Outcome.FAILED),
            )
        ):
            pair = Pair()
            happen(pair)
            found = self.explained(self.keep(pair, 20 + step))
            self.assertEqual(found.explanation.happened, ENDED[outcome, by])
