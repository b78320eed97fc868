"""The settings: every value of the configuration document that is not an entry of a table, by its dotted name.

Names, defaults and ranges come from the document's classes in ``policy``; nothing is listed here twice. What a value
may be is judged there too, when the change becomes a generation.
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Any, cast

import attrs
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend.change import Change, Channel
from smartproxy.backend.errors import ChangeRefused, NotFound
from smartproxy.backend.schema import PartnerRow, SettingRow
from smartproxy.logs.catalogue import EVENTS
from smartproxy.policy import limits
from smartproxy.policy.addresses import BadHostPort, see_called, see_one
from smartproxy.policy.configuration import Configuration, dump
from smartproxy.policy.schema import ObjectOf, Optional, declared
from smartproxy.policy.values import Member, ValueKind, Whole

_TABLES = frozenset(
    {
        "format",
        "generation",
        "site",
        "store",
        "server.identities",
        "server.cas",
        "server.revocation",
        "server.partners",
        "server.licence",
    }
)
"""What of the document comes from tables of its own."""

KEEP_EVENTS_DAYS = "backend.keep_events_days"
DOWNLOAD_NETWORKS = "backend.download_networks"
FOUR_EYES = "backend.four_eyes"
UNUSED = frozenset({"client.deadlines.handshake", "client.deadlines.withdrawal"})
"""What the document has because both daemons' deadlines have one form there: no client reads it.

It is neither set nor shown. What an older version set has no effect; it is shown until it is reset.
"""

LISTENERS = "server.listeners"
FIRST_LISTENERS = [{"address": "0.0.0.0", "port": limits.LISTENER_PORT.default}]  # noqa: S104  A server for partners anywhere.
"""Where a new site listens for its partners."""


@attrs.frozen(kw_only=True)
class Setting:
    """A setting: its dotted name, its default, the value that was set, if one was, and what it may be.

    :ivar range: what it may be, in words.
    :ivar unit: what its number counts.
    """

    name: str
    default: object
    value: object
    is_set: bool
    range: str | None
    unit: str | None


def defaults() -> Mapping[str, object]:
    """The names of all settings with their defaults."""
    document = json.loads(dump(Configuration(generation=1, site="site")))
    return {name: value for name, value in _leaves(document, "") if name not in _TABLES}


def listed(session: Session, prefix: str = "") -> list[Setting]:
    """All settings with an effect whose names begin with a prefix, in the document's order; and all that were set.

    :raises NotFound: when there is none.
    """
    rows = {row.name: row.value for row in session.scalars(select(SettingRow))}
    kinds = dict(_kinds(Configuration, ""))
    found = [
        Setting(
            name=name,
            default=default,
            value=rows.get(name, default),
            is_set=name in rows,
            range=_range(kinds.get(name)),
            unit=_unit(kinds.get(name)),
        )
        for name, default in defaults().items()
        if (name == prefix or not prefix or name.startswith(prefix.rstrip(".") + "."))
        and (name in rows or name not in UNUSED)
    ]
    if not found:
        raise _unknown(prefix)
    return found


def put(change: Change, name: str, value: object) -> None:
    """Set a setting.

    :raises NotFound: when there is none of this name.
    :raises ChangeRefused: when it is set on the backend's own machine only.
    """
    default_of(name)
    _check_here(change, name)
    _check_known(change.session, name, value)
    _check_host(name, value)
    row = change.session.get(SettingRow, name)
    change.compare(None if row is None else [row.value], [value])
    if row is None:
        change.session.add(SettingRow(name=name, value=value))
    else:
        row.value = value
    change.note("settings.changed", names=[name], command=change.what)


def reset(change: Change, name: str) -> None:
    """Let a setting have its default again.

    :raises NotFound: when there is none of this name.
    :raises ChangeRefused: when it is set on the backend's own machine only.
    """
    default_of(name)
    _check_here(change, name)
    row = change.session.get(SettingRow, name)
    change.compare(row, None)
    if row is not None:
        change.session.delete(row)
    change.note("settings.changed", names=[name], command=change.what)


_HERE_ONLY = frozenset(
    {
        "backend.event_script.program",
        "backend.mail.password_file",
        "backend.page.certificate_file",
        "backend.page.key_file",
        FOUR_EYES,
    }
)
"""A program that the backend starts, files that it reads, and what one administrator may not do.

With them a token that was stolen would be worth the backend's machine, and not the site's configuration alone.
"""


_PASSWORD_FILE = "backend.mail.password_file"
_PASSWORD_GOES = frozenset({f"backend.mail.{each}" for each in ("host", "port", "security", "ca_file")})
"""Where the password is sent to: while there is one, nobody has it sent elsewhere from far."""


def _check_here(change: Change, name: str) -> None:
    """See that a setting may be changed from where its change comes.

    :raises ChangeRefused: when it is changed on the backend's own machine only.
    """
    if change.channel is Channel.COMMAND:
        return
    if name in _PASSWORD_GOES and value_of(change.session, _PASSWORD_FILE) is not None:
        raise ChangeRefused(
            f"{name} says where the password in {_PASSWORD_FILE} is sent to: while that is set, it is changed on the "
            f"backend's own machine only; run there: smartproxy settings set {quote(name)} VALUE"
        )
    if name in _HERE_ONLY:
        raise ChangeRefused(
            f"{name} is set on the backend's own machine only; run there: smartproxy settings set {quote(name)} VALUE"
        )


_CALLS_FROM = "server.source_address"


def _check_host(name: str, value: object) -> None:
    """See that what is called, or called from, is one host or address.

    :raises ChangeRefused: saying what would be right.
    """
    if not isinstance(value, str):
        return
    try:
        if name.endswith(".host"):
            see_called(value)
        elif name == _CALLS_FROM:
            see_one(value)
    except BadHostPort as bad:
        raise ChangeRefused(f"{name}: {bad}") from None


_EVENT_NAMES = ("backend.event_script.names", "backend.mail.names")
_PARTNER_NAMES = ("backend.event_script.partners", "backend.mail.partners")


def _check_known(session: Session, name: str, value: object) -> None:
    """See that a list of events, or of partners, names what there is: another name would be without effect.

    :raises NotFound: with the first that there is not.
    """
    if not isinstance(value, list):
        return
    known: set[str] = set()
    if name in _EVENT_NAMES:
        known = {*EVENTS, *(f"{each.partition('.')[0]}." for each in EVENTS)}
    elif name in _PARTNER_NAMES:
        known = set(session.scalars(select(PartnerRow.name)))
    for each in value if known or name in _PARTNER_NAMES else ():
        if each not in known:
            near = difflib.get_close_matches(str(each), known, n=1)
            meant = f"; was {near[0]} meant?" if near else ""
            what = "event or subject" if name in _EVENT_NAMES else "partner"
            raise NotFound(f"{name}: there is no {what} {each!r}{meant}")


def default_of(name: str) -> object:
    """The default of a setting.

    :raises NotFound: when there is none of this name; the message says which one may have been meant.
    """
    known = defaults()
    if name not in known:
        raise _unknown(name)
    return known[name]


def see_used(name: str) -> None:
    """See that a setting has an effect.

    :raises NotFound: when it has none; the message says which one may have been meant.
    """
    if name in UNUSED:
        raise _unknown(name)


def value_of(session: Session, name: str) -> object:
    """What a setting is now.

    :raises NotFound: when there is none of this name.
    """
    row = session.get(SettingRow, name)
    return default_of(name) if row is None else row.value


def of_document(document: Mapping[str, object]) -> dict[str, object]:
    """The settings that a configuration document holds."""
    return {name: value for name, value in _leaves(document, "") if name in defaults()}


def _unknown(name: str) -> NotFound:
    if name in UNUSED:
        near = [name.replace("client", "server", 1)]
    else:
        near = difflib.get_close_matches(name, [each for each in defaults() if each not in UNUSED], n=1)
    meant = f"; was {near[0]} meant?" if near else "; 'smartproxy settings show' lists all"
    return NotFound(f"there is no setting {name!r}{meant}")


def _kinds(cls: type[Any], name: str) -> Iterator[tuple[str, ValueKind]]:
    for key, kind in declared(cls).items():
        inner = f"{name}.{key}" if name else key
        if isinstance(kind, ObjectOf):
            yield from _kinds(kind.cls, inner)
        else:
            yield inner, kind.within if isinstance(kind, Optional) else kind


def _range(kind: ValueKind | None) -> str | None:
    match kind:
        case Whole():
            return f"{kind.limit.least} to {kind.limit.most} {kind.limit.unit}"
        case Member():
            return ", ".join(str(member.value) for member in kind.members)
        case _:
            return None


def _unit(kind: ValueKind | None) -> str | None:
    """What a number counts, if it counts anything."""
    return kind.limit.counted or None if isinstance(kind, Whole) else None


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            yield from _leaves(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value
