"""Refusals and early ends, each as one record that can be read alone, put together from the events that tell of it.

Knows which events tell of one, and joins what was told of the same connection before: whose certificate it was. What
is said to the partner comes from :mod:`smartproxy.policy.explanations`; what is meant for this site only is kept apart.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import journal, proposals
from smartproxy.backend.errors import NotFound
from smartproxy.backend.journal import Filter, StoredEvent
from smartproxy.backend.telling import REFUSALS, member, outcome_of, tells
from smartproxy.logs.fields import Value
from smartproxy.policy.addresses import as_shown, host_in
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import Explanation
from smartproxy.policy.explanations import HowEnded, explanation
from smartproxy.policy.faults import Step
from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.policy.session_record import SESSION_PATTERN

_ALERTS: Final = frozenset({Cause.HANDSHAKE_ALERT, Cause.HANDSHAKE_DISTRUSTED, Cause.CALL_ALERT, Cause.CALL_DISTRUSTED})
"""The causes whose alert the partner sent."""
_SELF_SIGNED_ADVICE: Final = (
    "To accept this certificate, pin it: smartproxy partner certificate add NAME --certificate FILE."
)
_CALLS: Final = ("outbound.failed", "outbound.refused")
_THERE: Final = frozenset({Step.TLS, Step.SSRM})
"""The steps of a call at which there is a connection to the partner."""
_SESSION: Final = re.compile(SESSION_PATTERN)
_NUMBER: Final = re.compile("[0-9]{1,15}")
_LOOKED_BACK: Final = timedelta(days=3)
"""A session's certificate was accepted when it began."""

_ACCEPTED_READ: Final = 1000

_CERTIFICATE: Final = {
    "subject": "subject",
    "issuer": "issuer",
    "serial": "serial number",
    "not_before": "valid from",
    "not_after": "valid until",
    "certificate_sha256": "SHA-256",
    "key_sha256": "SHA-256 of its key",
    "depth": "place in the path",
}
_LIST: Final = {
    "list": "issuer",
    "list_part": "part",
    "this_update": "made",
    "next_update": "next update due",
    "age": "age in seconds",
}


@attrs.frozen(kw_only=True)
class ExplainedRefusal:
    """A refusal and all that is known of it.

    :ivar event: the event that tells of it.
    :ivar key: its cause, as :data:`~smartproxy.policy.explanations.EXPLANATIONS` names it.
    :ivar explanation: what the partner is told.
    :ivar certificate: facts of the certificate that it showed.
    :ivar revocation: facts of the revocation list that was used.
    :ivar protocol: the rule that was broken, where one was.
    :ivar reached: whether the partner's system noticed anything: a call that failed before it was there did not.
    :ivar saw: what the partner saw: the TLS alert or the ESID.
    :ivar sent: the TLS alert with which the partner ended the handshake itself.
    :ivar reason: the ESID reason code with which a side ended the session.
    :ivar advice: what this site's operator can do.
    :ivar called: host and port of the partner, where this site called it.
    :ivar others: what else is known of the same session, for this site only.
    """

    event: StoredEvent
    key: str
    explanation: Explanation
    certificate: Mapping[str, Value]
    revocation: Mapping[str, Value]
    protocol: Mapping[str, Value]
    reached: bool
    saw: str | None
    sent: str | None
    reason: Value | None
    advice: str | None
    called: str | None
    others: tuple[StoredEvent, ...]

    @property
    def outgoing(self) -> bool:
        """Whether this site called the partner."""
        return is_outgoing(self.event)

    @property
    def cause(self) -> str:
        """The cause, in the words of the event."""
        return cause_of(self.event)


def find(session: Session, what: str) -> ExplainedRefusal:
    """The refusal that is meant.

    :param what: the number of an event, the id of a session, a partner's name or an address: of these the last refusal.
    :raises NotFound: when there is none; the message says what there is instead.
    """
    if _SESSION.fullmatch(what):
        return _of_session(session, what)
    if _NUMBER.fullmatch(what):
        return _of_number(session, int(what))
    return _last(session, what)


def _of_session(session: Session, wanted: str) -> ExplainedRefusal:
    events = journal.find(session, Filter(session=wanted))
    if not events:
        raise NotFound(f"no event of a session {wanted} is stored; 'smartproxy events --name session.' lists sessions")
    telling = [each for each in events if _tells(each)]
    if not telling:
        ended = next((each for each in events if each.name in ("session.ended", "session.abandoned")), None)
        how = "has not ended yet" if ended is None else f"ended as {ended.fields.get('outcome', 'completed')}"
        raise NotFound(f"session {wanted} was not refused: it {how}")
    telling.sort(key=telling_order)
    return _refusal(session, telling[0], tuple(each for each in telling[1:]))


def _of_number(session: Session, number: int) -> ExplainedRefusal:
    events = journal.find(session, Filter(after=number - 1), first=1)
    if not events or events[0].number != number:
        raise NotFound(f"there is no event {number}; 'smartproxy events' shows the numbers")
    event = events[0]
    if _tells(event):
        return _refusal(session, event, ())
    if (of := event.fields.get("session")) is not None:
        return _of_session(session, str(of))
    raise NotFound(f"event {number} is {event.name}, which tells of no refusal and of no end")


def _last(session: Session, what: str) -> ExplainedRefusal:
    place = as_shown(what)
    for event in journal.newest_telling(session, what):
        peer, host = (str(event.fields.get(name, "")) for name in ("peer", "host"))
        if what == event.fields.get("partner") or place in (peer, host_in(peer)) or host in (what, what.lower(), place):
            if (of := event.fields.get("session")) is not None:
                return _of_session(session, str(of))
            return _refusal(session, event, ())
    raise NotFound(
        f"no refusal, failed call or early end of {what!r} is stored; a caller whose certificate names no partner is "
        "found by its address: 'smartproxy explain ADDRESS'; 'smartproxy events --name certificate.refused' lists such "
        "calls"
    )


def _tells(event: StoredEvent) -> bool:
    return tells(event.name, event.source, event.fields)


def telling_order(event: StoredEvent) -> tuple[bool, int, int]:
    """By what the events of one session are sorted, the one that tells most first."""
    # The server stands between us and the partner: what it says is what the partner saw.
    return event.source != "server", REFUSALS.index(event.name), event.number


def cause_of(event: StoredEvent) -> str:
    """The cause, in the words of an event."""
    return str(event.fields.get("message") or event.fields.get("cause", ""))


def key_of(event: StoredEvent) -> str:
    """Why it was, as :data:`~smartproxy.policy.explanations.EXPLANATIONS` names it."""
    if _end(event).key == Cause.CERTIFICATE_UNKNOWN_CA and _is_self_signed(event.fields):
        return "certificate.self_signed"
    return _end(event).key


def _refusal(session: Session, event: StoredEvent, others: tuple[StoredEvent, ...]) -> ExplainedRefusal:
    fields = event.fields
    end = _end(event)
    key = end.key
    told = accepted(session, event)
    shown = {**told, **fields}
    place = fields if event.name == "outbound.failed" else told
    alone = key == Cause.CERTIFICATE_UNKNOWN_CA and _is_self_signed(fields)
    sent = fields.get("cause") in _ALERTS and "alert" in fields
    proposed = proposals.of_certificate(session, str(fields.get("certificate_sha256")))
    return ExplainedRefusal(
        event=event,
        key=key,
        explanation=explanation("certificate.self_signed") if alone else end.explanation,
        certificate={word: shown[name] for name, word in _CERTIFICATE.items() if name in shown},
        revocation={word: fields[name] for name, word in _LIST.items() if name in fields},
        protocol=_protocol(fields) if key == "violation.partner" else {},
        reached=not end.outgoing or bool(told) or end.step in _THERE or _saw(fields) is not None,
        saw=None if sent else _saw(fields),
        sent=f"the TLS alert {fields['alert']}" if sent else None,
        reason=fields.get("reason") if end.outcome is Outcome.ABORTED else None,
        advice=_SELF_SIGNED_ADVICE
        if alone and not end.outgoing
        else proposals.advice(proposed.partner)
        if proposed is not None
        else None
        if "advice" not in fields
        else str(fields["advice"]),
        called=f"{place['host']} port {place['port']}" if "host" in place and "port" in place else None,
        others=others,
    )


def _end(event: StoredEvent) -> HowEnded:
    """What an event says of how a session or call ended, as its table of explanations takes it."""
    fields = event.fields
    cause = str(fields.get("cause") or fields.get("rule") or "")
    return HowEnded(
        cause=cause,
        outcome=outcome_of(event.name, fields),
        ended_by=member(Participant, fields.get("ended_by")) or member(Participant, fields.get("side")),
        step=member(Step, fields.get("step")),
        outgoing=is_outgoing(event),
    )


def _protocol(fields: Mapping[str, Value]) -> Mapping[str, Value]:
    """The rule that was broken; the end of a session has it as the cause."""
    ruled = fields if "rule" in fields or "cause" not in fields else {**fields, "rule": fields["cause"]}
    return {name: ruled[name] for name in ("rule", "section", "command", "field") if name in ruled}


def is_outgoing(event: StoredEvent) -> bool:
    """Whether this site called the partner."""
    return event.name in _CALLS or event.fields.get("direction") == "outbound"


def _is_self_signed(fields: Mapping[str, Value]) -> bool:
    """Whether the refused certificate is the partner's own, and issued by nobody else."""
    return "subject" in fields and fields["subject"] == fields.get("issuer") and not fields.get("depth")


def _saw(fields: Mapping[str, Value]) -> str | None:
    if "alert" in fields:
        return f"the TLS alert {fields['alert']}"
    return None if "told_partner" not in fields else str(fields["told_partner"])


def accepted(session: Session, event: StoredEvent) -> Mapping[str, Value]:
    """What was told of the certificate when the same connection was let in, or when the called partner answered."""
    if is_outgoing(event):
        of = event.fields.get("session")
        told = journal.find(session, Filter(name="outbound.answered", session=str(of)), 1) if of is not None else ()
        return told[0].fields if told else {}
    peer, partner = event.fields.get("peer"), event.fields.get("partner")
    if peer is None or partner is None:
        return {}
    earliest: datetime = event.time - _LOOKED_BACK
    latest = event.time + timedelta(seconds=1)
    wanted = Filter(name="certificate.accepted", partner=str(partner), since=earliest, until=latest)
    found = [each for each in journal.find(session, wanted, _ACCEPTED_READ) if each.fields.get("peer") == peer]
    return max(found, key=lambda each: (each.time, each.number)).fields if found else {}
