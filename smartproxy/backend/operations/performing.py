"""Carrying an operation out: with permission, in one transaction, and only under the conditions that the caller names.

Two administrators do not overwrite each other: what a change is about has a tag, made of its state, and a caller may
say which one it has seen. A call that creates something may have a key: repeated with the same key, it is answered
again and not done again. Trusts nothing about the caller but its scopes.
"""

import hashlib
import json
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from time import sleep
from typing import Any, Generic

import attrs
from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from smartproxy.backend import audit, consequences, history, rollback, states
from smartproxy.backend.access_tables import AnsweredRequestRow
from smartproxy.backend.alerts.intake import backend_settings
from smartproxy.backend.audit import Deed
from smartproxy.backend.change import Change
from smartproxy.backend.errors import BackendError, ChangedMeanwhile, KeyUnusable, ScopeMissing, SecondAwaited, Unusable
from smartproxy.backend.generations import changing
from smartproxy.backend.operations import second
from smartproxy.backend.operations.operation import Answer, Caller, Effect, Family, Input, Operation, Transaction
from smartproxy.backend.operations.shapes import GIVEN_FILES, Foreseen
from smartproxy.backend.schema import SiteRow
from smartproxy.backend.states import EntryKind
from smartproxy.backend.store import Store
from smartproxy.policy import limits
from smartproxy.policy.schema import declarations, read_object, write_object

KEY_LIFE = timedelta(hours=24)
"""So long a call is answered again by its idempotency key."""
TAG_DIGITS = 16
_SUBJECTS = {each.value: each for each in EntryKind} | {"settings": EntryKind.SETTING}
"""What the entries of a family are in the history, by the family's name."""


@attrs.frozen(kw_only=True)
class Terms:
    """Under which conditions an operation is carried out.

    :ivar seen: the tags of states of which the caller has seen one; ``None`` for any state.
    :ivar key: what makes a repetition of this call known.
    :ivar comment: why, for the history; only what changes the configuration keeps it.
    :ivar dry_run: whether a change of the configuration is only judged, and then undone.
    """

    seen: Collection[str] | None = None
    key: str | None = None
    comment: str | None = None
    dry_run: bool = False


ANYHOW = Terms()
"""Under none."""


@attrs.frozen(kw_only=True)
class Performed(Generic[Answer]):
    """What was done.

    :ivar tag: what the state of the thing that it is about is known by; ``None`` where it is about no such thing.
    :ivar generation: the generation that was made, if one was.
    :ivar undoable: whether ``history.undo`` takes it back as a whole.
    :ivar repeated: whether it was done by an earlier call, and is only answered again.
    """

    answer: Answer
    tag: str | None = None
    generation: int | None = None
    undoable: bool = False
    repeated: bool = False


class Rehearsed(Exception):
    """A change was found valid, and undone as its caller wanted.

    :ivar foreseen: what it would have done.
    :ivar answer: what it would have answered; ``None`` where only the difference is known.
    """

    def __init__(self, foreseen: Foreseen, answer: object = None) -> None:
        super().__init__()
        self.foreseen = foreseen
        self.answer = answer


class _Repeated(Exception):
    """Ends a transaction that would do again what was done: the answer is there."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer


def check_permission(store: Store, operation: Operation[Any, Any], said: str, caller: Caller, now: datetime) -> None:
    """See that a caller may do something; that it may not is recorded in the audit trail.

    :param said: what the caller wants, as far as it is known.
    :raises ScopeMissing: naming the scope that is missing.
    """
    if not caller.may(operation.scope):
        why = (
            f"{caller.name} may not do '{operation.words}': it needs the scope {operation.scope}; have an "
            "administrator make a token with it: smartproxy admin-token create"
        )
        with store.writing() as session:
            audit.record_refusal(session, said, why, by=caller.name, channel=caller.channel, now=now)
        raise ScopeMissing(why)


def perform(
    store: Store,
    operation: Operation[Input, Answer],
    wanted: Input,
    caller: Caller,
    now: datetime,
    terms: Terms = ANYHOW,
) -> Performed[Answer]:
    """Carry an operation out, in a transaction of its own; it is in the audit trail if it does more than look.

    :raises ScopeMissing: when the caller may not do it.
    :raises ChangedMeanwhile: when what it is about is in none of the states that the caller has seen.
    :raises KeyUnusable: when its key was used for another call.
    :raises SecondAwaited: when a second administrator has to want it, too; nothing has happened but that this is known.
    :raises Rehearsed: for a dry run: it can be done; nothing has happened.
    :raises BackendError: when it cannot be done; nothing has happened then.
    """
    said = operation.said(wanted)
    check_permission(store, operation, said, caller, now)
    try:
        # What takes long and needs no store is done before the transaction, for which others would wait.
        getattr(wanted, "prepared", None)
        match operation.effect:
            case Effect.CHANGE:
                return _change(store, operation, wanted, caller, now, terms)
            case Effect.ACT | Effect.EXPORT:
                deed = Deed.EXPORT if operation.effect is Effect.EXPORT else Deed.ACT
                with store.writing() as session:
                    work = Transaction(session=session, now=now, by=caller.name)
                    done = _act(work, operation, wanted, terms)
                    channel, comment = caller.channel, terms.comment
                    audit.record(session, deed, said, by=caller.name, channel=channel, now=now, comment=comment)
                return _completed(store, operation, wanted, caller, terms, done)
            case _:
                with store.reading() as session:
                    answer = operation.work(Transaction(session=session, now=now, by=caller.name), wanted)
                    return Performed(answer=answer, tag=_tag(session, operation, wanted))
    except SecondAwaited:
        with store.writing() as session:
            second.keep_wanted(session, said, _request(operation, wanted), caller, now)
        raise
    except _Repeated as repeated:
        return Performed(answer=read_object(operation.gives, repeated.answer), repeated=True)
    except Unusable as unusable:
        if (note := getattr(wanted, "note_refusal", None)) is not None:
            with store.writing() as session:
                note(session, str(unusable), now)
        raise


def tag_of(value: Any) -> str:
    """What an instance of a class with kinds is known by."""
    octets = json.dumps(write_object(value), sort_keys=True).encode("utf-8", "surrogatepass")
    return hashlib.sha256(octets).hexdigest()[:TAG_DIGITS]


def _change(
    store: Store, operation: Operation[Input, Answer], wanted: Input, caller: Caller, now: datetime, terms: Terms
) -> Performed[Answer]:
    what = operation.said(wanted)
    with changing(store, by=caller.name, what=what, now=now, channel=caller.channel, comment=terms.comment) as change:
        change.allowed = caller.scopes
        if terms.dry_run:
            change.last_word = _rehearsal(store, change, lambda: answer)
        else:
            change.last_word = lambda: _see_second(change, operation, wanted)
        _answered(change, operation, wanted, terms)
        if terms.seen is not None and _tag(change.session, operation, wanted) not in terms.seen:
            raise _changed_meanwhile(change.session, operation.family, operation.family.member(wanted))
        # Before the change: what it would make of the settings is judged at its end.
        alone = not backend_settings(change.session).four_eyes
        answer = operation.work(change, wanted)
        if terms.dry_run:
            # That nothing would be other is told, too.
            change.differs = True
        change.session.flush()
        _keep(change, operation, wanted, terms, answer)
        left = operation.method != "DELETE"
        tag = _tag(change.session, operation, wanted) if left else None
    undoable = alone and rollback.takes_back(change.differences, now)
    generation = change.generation if change.made else None
    return Performed(answer=answer, tag=tag, generation=generation, undoable=undoable)


def _changed_meanwhile(session: Session, family: Family, member: str | None) -> ChangedMeanwhile:
    """What tells whose change came first."""
    subject = _SUBJECTS.get(family.name)
    last = None if subject is None else history.last_of(session, subject, member or None)
    return history.changed_meanwhile(
        f"{family.name} {member}".rstrip() + " is not as you have seen it", last, "read it again"
    )


def _rehearsal(store: Store, change: Change, answer: Callable[[], object]) -> Callable[[], None]:
    """What ends a change that is only judged: it tells what the change would do, and what it would answer."""
    before = states.present(change.session)

    def end() -> None:
        found = states.differences(before, states.present(change.session))
        # Whom it refuses is judged by the state before it, as it is for a change that is planned.
        refused = consequences.refusals(change.session, found, change.now)
        if any(each.place.subject is EntryKind.LIST for each in found):
            # What lists refuse is in no entry; another session sees them as they are without the change.
            with store.reading() as unchanged:
                refused_already = consequences.refused_by_lists(unchanged, change.now)
            after = consequences.refused_by_lists(change.session, change.now)
            refused += [refusal for certificate, refusal in after.items() if certificate not in refused_already]
        made = answer()
        raise Rehearsed(Foreseen.of(change.generation, found, refused, getattr(made, "warnings", ())), made)

    return end


def _act(work: Transaction, operation: Operation[Input, Answer], wanted: Input, terms: Terms) -> Performed[Answer]:
    if terms.key is not None:
        # As a change does: where a database lets two write at once, the second waits here for the first one's answer.
        work.session.scalars(select(SiteRow).with_for_update()).one_or_none()
    _answered(work, operation, wanted, terms)
    answer = operation.work(work, wanted)
    _see_second(work, operation, wanted)
    _keep(work, operation, wanted, terms, answer)
    return Performed(answer=answer)


def _goes_on(wanted: object, answer: object) -> bool:
    """Whether the rest of a call is done behind its transaction."""
    return hasattr(wanted, "next_piece") or hasattr(answer, "completed")


def _completed(
    store: Store,
    operation: Operation[Input, Answer],
    wanted: Input,
    caller: Caller,
    terms: Terms,
    done: Performed[Answer],
) -> Performed[Answer]:
    """Do what is done behind the transaction; a repetition is answered with what came of it."""
    if not _goes_on(wanted, done.answer):
        return done
    try:
        answer = _go_on(store, wanted, done.answer)
        complete = getattr(answer, "completed", None)
        answer = answer if complete is None else complete()
    except BackendError:
        if terms.key is not None:
            with store.writing() as session:
                session.execute(delete(AnsweredRequestRow).where(*_known_by(caller.name, terms.key)))
        raise
    if terms.key is not None and not _has_secret(operation):
        with store.writing() as session:
            row = session.scalars(select(AnsweredRequestRow).where(*_known_by(caller.name, terms.key))).one_or_none()
            if row is not None:
                row.answer = write_object(answer)
    return attrs.evolve(done, answer=answer)


def _go_on(store: Store, wanted: Input, answer: Any) -> Any:
    """Do the rest of what is done in pieces: others write between two of them."""
    next_piece = getattr(wanted, "next_piece", None)
    while next_piece is not None and answer.more:
        sleep(limits.DELETING_PAUSE_SECONDS)
        with store.writing() as session:
            answer = next_piece(session, answer)
    return answer


def _tag(session: Session, operation: Operation[Input, Answer], wanted: Input) -> str | None:
    """What the state of the member that a call is about is known by, if it is about one.

    :raises NotFound: when it is not there.
    """
    family, member = operation.family, operation.family.member(wanted)
    if family.state is None or member is None:
        return None
    return tag_of(family.state(session, member))


def _answered(work: Change | Transaction, operation: Operation[Input, Answer], wanted: Input, terms: Terms) -> None:
    """End the transaction if a call of this key was answered before.

    :raises KeyUnusable: when that was another call, or its answer is not kept.
    """
    if terms.key is None:
        return
    work.session.execute(delete(AnsweredRequestRow).where(AnsweredRequestRow.answered < work.now - KEY_LIFE))
    row = work.session.scalars(select(AnsweredRequestRow).where(*_known_by(work.by, terms.key))).one_or_none()
    if row is None:
        return
    if row.request != _request(operation, wanted):  # no secret: what was called
        raise KeyUnusable("the idempotency key was used for another call; use a new key for each call")
    if row.answer is not None:
        raise _Repeated(row.answer)
    if _has_secret(operation):
        raise KeyUnusable(
            "the call was answered before, and its answer held a secret that is not kept; make a new one in its place"
        )
    raise KeyUnusable(
        "the call with this idempotency key is still being carried out, or was interrupted; send it again later, or "
        "use a new key to have it done again"
    )


def _known_by(caller: str, key: str) -> tuple[ColumnElement[bool], ...]:
    """What finds the call of a key among those that were answered."""
    return AnsweredRequestRow.caller == caller, AnsweredRequestRow.key == key


def _has_secret(operation: Operation[Any, Any]) -> bool:
    """Whether an answer is not kept for a repetition."""
    return any(each.masked for each in declarations(operation.gives))


def _see_second(work: Change | Transaction, operation: Operation[Input, Answer], wanted: Input) -> None:
    """See that a second administrator wants it, too, where that is needed.

    :raises SecondAwaited: when none does yet: it is found valid, and undone.
    """
    second.see_second(work.session, operation.name, lambda: _request(operation, wanted), work.by, work.now)


def _keep(
    work: Change | Transaction, operation: Operation[Input, Answer], wanted: Input, terms: Terms, answer: Answer
) -> None:
    """Keep the answer for a repetition.

    Where the answer holds a secret or is not whole yet, only that there was the call is kept.
    """
    if terms.key is not None:
        row = AnsweredRequestRow(caller=work.by, key=terms.key, request=_request(operation, wanted), answered=work.now)
        row.answer = None if _has_secret(operation) or _goes_on(wanted, answer) else write_object(answer)
        work.session.add(row)


def _request(operation: Operation[Input, Answer], wanted: Input) -> str:
    """What a call is known by: the SHA-256 of what is called, and with which input; not of secrets: one could guess.

    A file is known by what is in it, also where that is secret: another key is another call, and nobody guesses a key.
    """
    said = write_object(wanted)
    for each in declarations(operation.takes):
        if each.kind is GIVEN_FILES:
            said[each.key] = [hashlib.sha256(file.octets).hexdigest() for file in getattr(wanted, each.name)]
        elif each.masked:
            said.pop(each.key, None)
    called = json.dumps([operation.name, said], sort_keys=True)
    return hashlib.sha256(called.encode("utf-8", "surrogatepass")).hexdigest()
