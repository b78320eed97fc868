"""The predicates of the state table, by name.

A :class:`Guard` decides when the command octet is there, a :class:`Limit` narrows what a field may be, so that it is
judged with the field's first octet that cannot be right. Each says which predicate of RFC 5024 section 9 it is.
"""

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from smartproxy.oftp2 import grammars, negotiation
from smartproxy.oftp2.commands import ESID_REASONS
from smartproxy.oftp2.errors import BadField, CreditExceeded, ProtocolError, RestartRefused, UnexpectedCommand
from smartproxy.oftp2.fields import Rule
from smartproxy.oftp2.witness import Witness


@attrs.frozen
class Guard:
    """A condition on the command as such.

    :ivar name: the function's.
    :ivar predicate: where the RFC has it.
    :ivar meaning: one sentence.
    :ivar refuses: returns the error if the condition does not hold.
    """

    name: str
    predicate: str
    meaning: str
    refuses: Callable[[Witness], ProtocolError | None]


@attrs.frozen
class Limit:
    """A condition on fields.

    :ivar limits: returns further rules by attribute.
    """

    name: str
    predicate: str
    meaning: str
    limits: Callable[[Witness], Mapping[str, Rule]]


def _guard(predicate: str) -> Callable[[Callable[[Witness], ProtocolError | None]], Guard]:
    return lambda function: Guard(function.__name__, predicate, str(function.__doc__), function)


def _limit(predicate: str) -> Callable[[Callable[[Witness], Mapping[str, Rule]]], Limit]:
    return lambda function: Limit(function.__name__, predicate, str(function.__doc__), function)


@_guard("9.12.3 P6")
def credit_left(witness: Witness) -> ProtocolError | None:
    """The Speaker has credit for one more Data Exchange Buffer."""
    if witness.file.credit > 0:
        return None
    return CreditExceeded(rule="credit.exceeded", message="DATA without credit", section="4.4.1")


@_guard("9.10.2 P, 9.12.3 note 1")
def credit_used_up(witness: Witness) -> ProtocolError | None:
    """The Speaker's credit is zero, so that the Listener may renew it."""
    if witness.file.credit == 0:
        return None
    return CreditExceeded(rule="credit.not_used_up", message="CDT while there is credit left", section="4.4.1")


@_guard("9.12.3 P1")
def direction_agreed(witness: Witness) -> ProtocolError | None:
    """SSIDSR of both ends lets the Speaker send files."""
    if witness.speaker in witness.terms.senders:
        return None
    return UnexpectedCommand(rule="mode.direction", message="a file against the agreed direction", section="5.3.2")


@_limit("9.10.3 P1, 9.12.3 P1")
def restart_agreed(witness: Witness) -> Mapping[str, Rule]:
    """A file starts at its beginning unless restart was agreed."""
    if witness.terms.restart:
        return {}
    return {"rest": _at_most(0, RestartRefused, "restart.not_agreed")}


@_limit("9.10.3 P2")
def restart_within_offer(witness: Witness) -> Mapping[str, Rule]:
    """The position in SFPA is not behind the one in SFID."""
    return {"acnt": _at_most(witness.file.offered, RestartRefused, "restart.beyond_offer")}


@_limit("9.8.3 P2, P8, P10")
def answer_fits_offer(witness: Witness) -> Mapping[str, Rule]:
    """The Responder's SSID can be brought together with the Initiator's."""
    assert witness.offer is not None
    return negotiation.answer_limits(witness.offer)


@_limit("5.3.8")
def no_records(witness: Witness) -> Mapping[str, Rule]:
    """A file of format U or T has no records to count."""
    if witness.file.format in "FV":
        return {}
    return {"rcnt": _at_most(0, BadField, "field.record_count")}


_ABNORMAL: Final = grammars.Values(value for value in ESID_REASONS.allowed if value != b"00")


@_limit("9.12.1 ESID, 9.10.2 E")
def not_normal(witness: Witness) -> Mapping[str, Rule]:
    """Only the Speaker that was just given the turn may end the session normally; the default profile lets anyone."""
    tolerated = None if witness.agreed is None else ESID_REASONS
    return {
        "reas": Rule(
            grammar=_ABNORMAL,
            tolerated=tolerated,
            anomaly=4,
            error=UnexpectedCommand,
            name="state.normal_end",
            section="4.6.1",
        )
    }


def _at_most(most: int, error: type[ProtocolError], name: str) -> Rule:
    return Rule(grammar=grammars.Decimal(((0, most),)), error=error, name=name)
