"""What the tables of a site hold, entry by entry and without secrets, and in what two such states differ.

A change of the configuration is kept as its differences (:mod:`smartproxy.backend.history`). No private key, token or
other secret is in one: of these it is only said that they changed. Of a revocation list only its dates are in it.
"""

import enum
import functools
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs
from sqlalchemy import JSON, Text, func, select, type_coerce
from sqlalchemy.orm import Session

from smartproxy.backend.alert_tables import IgnoreRow
from smartproxy.backend.certificates import certificate_pin, read_certificates, subject_text
from smartproxy.backend.columns import sealed_json
from smartproxy.backend.schema import (
    CaRow,
    ClientRow,
    IdentityRow,
    LicenceRow,
    PartnerRow,
    PinNote,
    RevocationRow,
    SettingRow,
    SiteRow,
    WithdrawnRow,
)
from smartproxy.logs.fields import isotime
from smartproxy.policy.certificates.revocation import ListScope
from smartproxy.policy.configuration import Configuration
from smartproxy.policy.partners import Partner, TrustedCa
from smartproxy.policy.schema import ListOf, ObjectOf, Optional, Tagged, declarations, write_object
from smartproxy.policy.settings import ClientEntry
from smartproxy.policy.values import ValueKind

Json: TypeAlias = Any


_SHOWN_BY_SITE = ("authority", "https", "page")
"""Whose certificates and keys the site has."""


class EntryKind(enum.StrEnum):
    """What an entry is about, in the order in which differences are told."""

    SITE = "site"
    SETTING = "setting"
    CA = "ca"
    PARTNER = "partner"
    IDENTITY = "identity"
    CLIENT = "client"
    LICENCE = "licence"
    LIST = "list"
    WITHDRAWN = "withdrawn"
    IGNORE = "ignore"


@attrs.frozen
class EntryPlace:
    """Which entry: its subject and its name there."""

    subject: EntryKind
    name: str


@attrs.frozen(kw_only=True)
class Difference:
    """An entry that two states hold differently.

    :ivar before: the entry in the one, as JSON; ``None`` if it is not there.
    :ivar after: the entry in the other.
    :ivar secret: whether a secret of the entry differs, which is in neither.
    """

    place: EntryPlace
    before: Json
    after: Json
    secret: bool = False

    def told(self) -> dict[str, Any]:
        """All of it as JSON."""
        place = {"subject": self.place.subject.value, "name": self.place.name}
        return place | {"before": self.before, "after": self.after, "secret": self.secret}


State: TypeAlias = Mapping[EntryPlace, Json]
"""The entries as the tables hold them, secrets included: for :func:`differences` only, never to be kept or shown."""


def present(session: Session) -> State:
    """What the tables hold now."""
    found: dict[EntryPlace, Json] = {}
    site = session.get(SiteRow, 1)
    if site is not None:
        pairs = [f"{whose}_{what}" for whose in _SHOWN_BY_SITE for what in ("certificate", "key")]
        names = ("name", "store", *pairs)
        found[EntryPlace(EntryKind.SITE, "")] = {name: getattr(site, name) for name in names}
    for setting in session.execute(select(SettingRow.name, SettingRow.value)):
        # That a setting is set to nothing is not that it is not set.
        found[EntryPlace(EntryKind.SETTING, setting.name)] = {"value": setting.value}
    for subject, table in ((EntryKind.CA, CaRow), (EntryKind.CLIENT, ClientRow)):
        for row in session.execute(select(table.name, type_coerce(table.entry, JSON).label("entry"))):
            found[EntryPlace(subject, row.name)] = row.entry
    columns = (type_coerce(PartnerRow.entry, JSON).label("entry"), type_coerce(PartnerRow.notes, JSON).label("notes"))
    for row in session.execute(select(PartnerRow.name, *columns)):
        found[EntryPlace(EntryKind.PARTNER, row.name)] = {"entry": row.entry, "notes": row.notes}
    secrets = (
        type_coerce(IdentityRow.entry, sealed_json("identities.entry")).label("entry"),
        type_coerce(IdentityRow.request, sealed_json("identities.request")).label("request"),
        type_coerce(IdentityRow.planned, sealed_json("identities.planned")).label("planned"),
    )
    for row in session.execute(select(IdentityRow.name, IdentityRow.planned_since, *secrets)):
        since = None if row.planned_since is None else isotime(row.planned_since)
        identity = {"entry": row.entry, "request": row.request, "planned": row.planned, "since": since}
        found[EntryPlace(EntryKind.IDENTITY, row.name)] = identity
    newest = select(func.max(LicenceRow.id)).group_by(LicenceRow.proxy_id)
    for licence in session.scalars(select(LicenceRow).where(LicenceRow.id.in_(newest))):
        dates = {"valid_from": isotime(licence.valid_from), "valid_until": isotime(licence.valid_until)}
        found[EntryPlace(EntryKind.LICENCE, licence.proxy_id)] = {**dates, "text": licence.text}
    found |= _lists(session)
    for rule in session.scalars(select(IgnoreRow)):
        found[EntryPlace(EntryKind.IGNORE, rule.name)] = write_object(rule.entry)
    for withdrawn in session.scalars(select(WithdrawnRow)):
        found[EntryPlace(EntryKind.WITHDRAWN, withdrawn.name)] = {"begins_until": isotime(withdrawn.begins_until)}
    return found


def _lists(session: Session) -> dict[EntryPlace, Json]:
    """The revocation lists, without the serials: there may be a million."""
    row = RevocationRow
    key = (row.issuer_key_sha256, row.issuer, type_coerce(row.scope, Text).label("scope"))
    found = {}
    for each in session.execute(select(*key, row.this_update, row.next_update, row.number)):
        name = f"{each.issuer} ({each.issuer_key_sha256[:8]})"
        scope: ListScope = ObjectOf(ListScope).read(json.loads(each.scope), "scope")
        found[EntryPlace(EntryKind.LIST, f"{name} {scope.part}" if scope.part else name)] = {
            "this_update": isotime(each.this_update),
            "next_update": None if each.next_update is None else isotime(each.next_update),
            "number": each.number,
        }
    return found


def differences(before: State, after: State) -> tuple[Difference, ...]:
    """In what two states differ, without any secret."""
    found = []
    for place in before.keys() | after.keys():
        old, new = before.get(place), after.get(place)
        if old == new:
            continue
        shown_old, hidden_old = _parted(place, old)
        shown_new, hidden_new = _parted(place, new)
        secret = None not in (old, new) and hidden_old != hidden_new
        if shown_old != shown_new or secret:
            found.append(Difference(place=place, before=shown_old, after=shown_new, secret=secret))
    return tuple(sorted(found, key=in_order))


def in_order(difference: Difference) -> tuple[int, str]:
    """The key by which differences are sorted."""
    return list(EntryKind).index(difference.place.subject), difference.place.name


def _parted(place: EntryPlace, entry: Json) -> tuple[Json, Json]:
    """An entry without its secrets, and its secrets."""
    if entry is None:
        return None, None
    match place.subject:
        case EntryKind.SITE:
            pems = {name: entry[f"{name}_certificate"] for name in _SHOWN_BY_SITE}
            certificates = {name: _certificate(pem) for name, pem in pems.items() if pem is not None}
            shown = {"name": entry["name"], "store": entry["store"], **certificates}
            return shown, tuple(entry[f"{name}_key"] for name in _SHOWN_BY_SITE)
        case EntryKind.IDENTITY:
            identity, request = entry["entry"], entry["request"]
            shown = {"certificate": None if identity is None else _certificate(identity["certificate"])}
            shown["request"] = request is not None
            if (planned := entry["planned"]) is not None:
                shown["planned"] = {**_certificate(planned["certificate"]), "since": entry["since"]}
            return shown, tuple(None if each is None else each["key"] for each in (identity, request, planned))
        case EntryKind.PARTNER:
            kind: ValueKind = ObjectOf(Partner)
            notes = ListOf(item=ObjectOf(PinNote))
            shown, hidden = _open_and_masked(kind, kind.write(kind.read(entry["entry"], "entry")))
            return {"entry": shown, "notes": notes.write(notes.read(entry["notes"], "notes"))}, hidden
        case EntryKind.CA | EntryKind.CLIENT:
            kind = ObjectOf(TrustedCa if place.subject is EntryKind.CA else ClientEntry)
            return _open_and_masked(kind, kind.write(kind.read(entry, "entry")))
        case EntryKind.LICENCE:
            return {name: value for name, value in entry.items() if name != "text"}, entry["text"]
        case EntryKind.SETTING:
            setting = kind_of_setting(place.name)
            if setting is None:
                return entry, None
            shown, hidden = _open_and_masked(setting, entry["value"])
            return {"value": shown}, hidden
        case _:
            return entry, None


def _open_and_masked(kind: ValueKind, value: Json) -> tuple[Json, list[Json]]:
    """What a kind wrote, without what its classes declare as secrets; and these."""
    masked: list[Json] = []
    return _open(kind, value, masked), masked


def _open(kind: ValueKind, value: Json, masked: list[Json]) -> Json:
    match kind:
        case Optional():
            return None if value is None else _open(kind.within, value, masked)
        case ListOf() if isinstance(value, list):
            return [_open(kind.item, each, masked) for each in value]
        case Tagged() if isinstance(value, dict):
            cls = next(each for each in kind.classes if getattr(each, kind.key) == value[kind.key])
            return {kind.key: value[kind.key], **_open(ObjectOf(cls), value, masked)}
        case ObjectOf() if isinstance(value, dict):
            found = {}
            for each in declarations(kind.cls):
                if each.key in value:
                    if each.masked:
                        masked.append(value[each.key])
                    else:
                        found[each.key] = _open(each.kind, value[each.key], masked)
            return found
        case _:
            return value


def kind_of_setting(name: str) -> ValueKind | None:
    """What a setting may be; nothing for one that this version does not know."""
    found: ValueKind = ObjectOf(Configuration)
    for key in name.split("."):
        if not isinstance(found, ObjectOf):
            return None
        inner = {each.key: each.kind for each in declarations(found.cls)}.get(key)
        if inner is None:
            return None
        found = inner
    return found


def holds_secrets(place: EntryPlace, content: Json) -> bool:
    """Whether an entry of settings, CAs or partners that is without its secrets had some."""
    if content is None:
        return False
    match place.subject:
        case EntryKind.SETTING:
            kind = kind_of_setting(place.name)
        case EntryKind.CA:
            kind = ObjectOf(TrustedCa)
        case _:
            kind = ObjectOf(Partner)
    return kind is not None and _has_masked(kind)


def _has_masked(kind: ValueKind) -> bool:
    match kind:
        case Optional():
            return _has_masked(kind.within)
        case ListOf():
            return _has_masked(kind.item)
        case Tagged():
            return any(_has_masked(ObjectOf(cls)) for cls in kind.classes)
        case ObjectOf():
            return any(each.masked or _has_masked(each.kind) for each in declarations(kind.cls))
        case _:
            return False


@functools.lru_cache(maxsize=64)
def _facts(pem: str) -> tuple[str, str, str]:
    leaf = read_certificates(pem.encode("ascii"), "the store")[0]
    return subject_text(leaf), certificate_pin(leaf), isotime(leaf.not_valid_after_utc)


def _certificate(pem: str) -> Json:
    """What stands in the first certificate of a chain."""
    subject, sha256, not_after = _facts(pem)
    return {"subject": subject, "sha256": sha256, "not_after": not_after}
