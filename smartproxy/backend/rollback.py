"""Roll-back: the settings, CAs, partners and ignore rules of an earlier generation again, as a generation more.

What makes the site itself stays as it is and is only told: private keys, tokens and licences are not in the history,
access that was withdrawn is not given back, and an older revocation list never takes the place of a newer one.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import cas, consequences, generations, history, partners, settings, states
from smartproxy.backend.alerts import ignore_rules
from smartproxy.backend.certificates import read_certificates
from smartproxy.backend.change import Change
from smartproxy.backend.consequences import Refusal
from smartproxy.backend.states import Difference, EntryKind
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.partners import Partner, TrustedCa
from smartproxy.policy.schema import declarations, read_object

_BROUGHT_BACK = (EntryKind.SETTING, EntryKind.CA, EntryKind.PARTNER, EntryKind.IGNORE)


@attrs.frozen(kw_only=True)
class KeptEntry:
    """An entry that stays as it is, although the earlier generation held another one.

    :ivar difference: from the earlier generation to the present.
    :ivar why: why it cannot be brought back, as a sentence without full stop.
    """

    difference: Difference
    why: str


@attrs.frozen(kw_only=True)
class RollBack:
    """What a roll-back would do.

    :ivar number: the generation whose content is wanted.
    :ivar newest: the generation that it starts from.
    :ivar differences: what it changes, from the present to the content that is wanted.
    :ivar kept: what cannot be brought back.
    :ivar refusals: whom it would refuse.
    """

    number: int
    newest: int
    differences: tuple[Difference, ...]
    kept: tuple[KeptEntry, ...]
    refusals: tuple[Refusal, ...]


def plan(session: Session, number: int, now: datetime) -> RollBack:
    """What a roll-back to a generation would do; nothing is changed.

    :raises NotFound: when there is no such generation.
    """
    wanted, kept = [], []
    for each in history.since(session, number):
        why = _stays(each, now)
        if why is None:
            wanted.append(attrs.evolve(each, before=each.after, after=each.before))
        else:
            kept.append(KeptEntry(difference=each, why=why))
    return RollBack(
        number=number,
        newest=generations.newest_number(session),
        differences=tuple(wanted),
        kept=tuple(kept),
        refusals=tuple(consequences.refusals(session, wanted, now)),
    )


def takes_back(differences: Sequence[Difference], now: datetime) -> bool:
    """Whether a roll-back brings back all that these differences changed."""
    return bool(differences) and all(_stays(each, now) is None for each in differences)


def carry_out(change: Change, wanted: RollBack) -> None:
    """Do what was planned.

    :raises ChangedMeanwhile: when another change was made since it was planned.
    :raises BackendError: when something that the content needs is not there any more.
    """
    newest = generations.newest_number(change.session)
    if newest != wanted.newest:
        raise history.changed_meanwhile(
            f"generation {newest} of the configuration is in force, and not {wanted.newest}",
            history.find(change.session, newest),
            "look again at what the roll-back would change",
        )
    _put_cas(change, wanted.differences)
    for each in wanted.differences:
        name = each.place.name
        match each.place.subject, each.before, each.after:
            case EntryKind.PARTNER, _, None:
                partners.remove(change, name)
            case EntryKind.PARTNER, before, content:
                entry, notes = consequences.entry_of(content)
                if before is None:
                    partners.add(change, entry, notes)
                else:
                    partners.alter(change, name, notes, **_values(entry))
            case EntryKind.IGNORE, _, content:
                ignore_rules.put(change, name, None if content is None else read_object(IgnoreRule, content))
    _put_settings(change, wanted.differences)
    for each in wanted.differences:
        if each.place.subject is EntryKind.CA and each.after is None:
            cas.remove(change, each.place.name)


def _put_cas(change: Change, differences: Iterable[Difference]) -> None:
    """Add and change CAs; partners that are brought back may need them."""
    for each in differences:
        if each.place.subject is EntryKind.CA and each.after is not None:
            entry = read_object(TrustedCa, each.after)
            if each.before is None:
                cas.take(change, entry)
            else:
                values = _values(entry)
                pem = values.pop("certificates").encode("ascii")
                cas.alter(change, entry.name, certificates=read_certificates(pem, f"ca {entry.name}"), **values)


def _put_settings(change: Change, differences: Iterable[Difference]) -> None:
    """Set and reset settings; they may name partners that are brought back."""
    for each in differences:
        match each.place.subject, each.after:
            case EntryKind.SETTING, None:
                settings.reset(change, each.place.name)
            case EntryKind.SETTING, content:
                settings.put(change, each.place.name, content["value"])


def _values(entry: Partner | TrustedCa) -> dict[str, Any]:
    """The fields of an entry, but for its name."""
    return {each.name: getattr(entry, each.name) for each in declarations(type(entry)) if each.name != "name"}


def _stays(difference: Difference, now: datetime) -> str | None:
    """Why an entry is not brought back; nothing if it is."""
    if difference.place.subject is EntryKind.IGNORE and difference.before is not None:
        over = read_object(IgnoreRule, difference.before).is_over(now)
        return "its time is over: add it again with a later end" if over else None
    if difference.place.subject in _BROUGHT_BACK:
        if difference.secret or states.holds_secrets(difference.place, difference.before):
            return "it has a secret, which is not in the history: set it again"
        return None
    gone = difference.after is None
    match difference.place.subject:
        case EntryKind.IDENTITY if gone:
            return "it was removed together with its private key: import it again"
        case EntryKind.IDENTITY:
            return "private keys are not in the history: import the certificate and key that you want"
        case EntryKind.CLIENT if gone:
            return "it was removed together with its token: add it again"
        case EntryKind.CLIENT:
            return "access of clients is not given or taken by a roll-back: smartproxy client"
        case EntryKind.LICENCE:
            return "licences are signed, not brought back: smartproxy licence"
        case EntryKind.LIST:
            return "an older revocation list never takes the place of a newer one"
        case EntryKind.WITHDRAWN:
            return "what was withdrawn stays withdrawn"
        case _:
            return "the site's authority and its keys are not in the history"
