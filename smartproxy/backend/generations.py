"""Generations: every change of the configuration is one, whole and valid, or it is none.

A change is made in one transaction: the tables are changed, the document for clients is built from them and judged by
:mod:`smartproxy.policy.configuration`, and only if it is valid the new number is written together with it. What is
refused leaves nothing behind. The document says what the tables say; what is in no table is left out, so that the
defaults stand in one place.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from smartproxy.backend import authority, licences
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.schema import (
    AuthorityRow,
    GenerationRow,
    IdentityRow,
    PartnerCertificateRow,
    PartnerRow,
    RevocationRow,
    SettingRow,
    SiteRow,
)
from smartproxy.backend.store import Store
from smartproxy.policy.configuration import ConfigurationRefused, parse


@attrs.frozen(kw_only=True)
class HistoryEntry:
    """One entry of the history."""

    number: int
    made: datetime
    made_by: str
    change: str


@contextmanager
def changing(store: Store, *, by: str, what: str, now: datetime) -> Iterator[Change]:
    """Change tables inside; when the block ends, the change is one generation more.

    :raises ChangeRefused: when the configuration would not be valid any more; nothing is changed then.
    :raises NotFound: when the site has no authority, and the change does not make it.
    """
    with store.writing() as session:
        # Where a database lets two transactions write at once, the second waits here for the first one's number.
        session.scalars(select(SiteRow).with_for_update()).one_or_none()
        previous = newest_number(session)
        change = Change(session=session, now=now, by=by, what=what, generation=previous + 1)
        yield change
        session.flush()
        authority.site_row(session)
        octets = build(session, change.generation)
        try:
            parse(octets)
        except ConfigurationRefused as refused:
            raise ChangeRefused(f"{explain(session, str(refused))}; nothing is changed") from refused
        # One document is kept: a site's history would otherwise be a pile of copies of its keys.
        session.execute(update(GenerationRow).values(document=None))
        session.add(GenerationRow(number=change.generation, made=now, made_by=by, change=what, document=octets))
        change.note("configuration.changed", command=what, previous=previous)
        change.record()


def newest_number(session: Session) -> int:
    """The number of the generation in force; 0 before the first."""
    return session.scalar(select(func.max(GenerationRow.number))) or 0


def newest_document(session: Session) -> tuple[int, bytes] | None:
    """The generation in force and its document for clients, or nothing before the first."""
    row = session.scalars(select(GenerationRow).order_by(GenerationRow.number.desc()).limit(1)).one_or_none()
    if row is None or row.document is None:
        return None
    return row.number, row.document


def history(session: Session, most: int) -> Sequence[HistoryEntry]:
    """The newest generations, oldest first."""
    columns = (GenerationRow.number, GenerationRow.made, GenerationRow.made_by, GenerationRow.change)
    rows = session.execute(select(*columns).order_by(GenerationRow.number.desc()).limit(most)).all()
    return [
        HistoryEntry(number=number, made=made, made_by=made_by, change=change)
        for number, made, made_by, change in reversed(rows)
    ]


FORMAT = 1
"""The form of the document; a client or server that does not know it refuses it."""

_ENTRY = re.compile(r"server\.(partners|identities|authorities|revocation)\[(\d+)\](\.?)")


def build(session: Session, generation: int) -> bytes:
    """The document of the tables as they are now."""
    site = session.get(SiteRow, 1)
    document: dict[str, Any] = {
        "format": FORMAT,
        "generation": generation,
        "site": "" if site is None else site.name,
        "server": {
            "identities": [_identity(row) for row in _identities(session)],
            "authorities": [_authority(row) for row in _authorities(session)],
            "revocation": [_revocation(row) for row in _revocations(session)],
            "partners": [_partner(row) for row in _partners(session)],
            "licence": licences.carried(session),
        },
        "client": {},
    }
    for setting in session.scalars(select(SettingRow).order_by(SettingRow.name)):
        place = document
        *parents, last = setting.name.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = setting.value
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def explain(session: Session, text: str) -> str:
    """A refusal in the operator's words: which partner ``server.partners[3]`` is, wherever it stands in the text."""
    names = {
        "partners": lambda: [f"partner {row.name}" for row in _partners(session)],
        "identities": lambda: [f"identity {row.name}" for row in _identities(session)],
        "authorities": lambda: [f"ca {row.name}" for row in _authorities(session)],
        "revocation": lambda: [f"revocation list of {row.issuer}" for row in _revocations(session)],
    }

    def named(match: re.Match[str]) -> str:
        entries = names[match[1]]()
        if int(match[2]) >= len(entries):
            return match[0]
        return entries[int(match[2])] + (", " if match[3] else "")

    return _ENTRY.sub(named, text)


def time_text(moment: datetime) -> str:
    """A time as the document writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _identities(session: Session) -> list[IdentityRow]:
    rows = session.scalars(select(IdentityRow).order_by(IdentityRow.name))
    return [row for row in rows if row.certificate is not None]


def _authorities(session: Session) -> list[AuthorityRow]:
    return list(session.scalars(select(AuthorityRow).order_by(AuthorityRow.name)))


def _revocations(session: Session) -> list[RevocationRow]:
    return list(session.scalars(select(RevocationRow).order_by(RevocationRow.issuer_key_sha256)))


def _partners(session: Session) -> list[PartnerRow]:
    return list(session.scalars(select(PartnerRow).order_by(PartnerRow.name)))


def _identity(row: IdentityRow) -> dict[str, Any]:
    return {"name": row.name, "certificate": row.certificate, "key": row.key}


def _authority(row: AuthorityRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "certificates": row.certificates,
        "revocation": row.revocation,
        "grace_hours": row.grace_hours,
    }


def _revocation(row: RevocationRow) -> dict[str, Any]:
    return {
        "issuer": row.issuer_key_sha256,
        "this_update": time_text(row.this_update),
        "next_update": None if row.next_update is None else time_text(row.next_update),
        "serials": row.serials,
    }


def _partner(row: PartnerRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "enabled": row.enabled,
        "codes": row.codes,
        "lowest_level": row.lowest_level,
        "authentication": row.authentication,
        "profile": row.profile,
        "purpose": row.purpose,
        "certificates": [_rule(each) for each in row.certificates],
        "outbound": row.outbound,
    }


def _rule(row: PartnerCertificateRow) -> dict[str, Any]:
    match row.by:
        case "certificate" | "key":
            return {"by": row.by, "sha256": row.sha256}
        case "subject":
            return {"by": row.by, "authority": _name(row.authority), "serial_number": row.value}
        case _:
            return {"by": row.by, "authority": _name(row.authority), "san": row.value}


def _name(authority: AuthorityRow | None) -> str | None:
    return None if authority is None else authority.name
