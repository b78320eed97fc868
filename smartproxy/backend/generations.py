"""Generations: every change of the configuration is one, whole and valid, or it is none.

A change is made in one transaction: the tables are changed, the document for clients is built from them and judged by
:mod:`smartproxy.policy.configuration`, and only if it is valid the new number is written together with it. What is
refused leaves nothing behind. The document says what the tables say; what is in no table is left out, so that the
defaults stand in one place.

A generation is known by its number, the id of its store and the digest of its document: two stores count by themselves,
and so does a store that is set back to a copy. The copy finds that out from the first client that knows more than it
does, and takes another id (:func:`set_back`).
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from smartproxy.backend import audit, authority, history, licences, states
from smartproxy.backend.change import COMMENT, Change, Channel
from smartproxy.backend.database import announce
from smartproxy.backend.errors import ChangeRefused, CodeTaken
from smartproxy.backend.named import by_name
from smartproxy.backend.schema import (
    CaRow,
    ClientRow,
    GenerationRow,
    IdentityRow,
    PartnerRow,
    RevocationRow,
    SettingRow,
    SiteRow,
    new_store_id,
)
from smartproxy.backend.store import Store
from smartproxy.policy.configuration import FORMAT, Configuration, ConfigurationRefused, parse
from smartproxy.policy.outbound import check_listeners
from smartproxy.policy.packing import apart, pack
from smartproxy.policy.schema import write_object
from smartproxy.policy.settings import ClientEntry
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import Instant, Serials


@contextmanager
def changing(
    store: Store, *, by: str, what: str, now: datetime, channel: Channel = Channel.COMMAND, comment: str | None = None
) -> Iterator[Change]:
    """Change tables inside; when the block ends, the change is one generation more, unless all is as it was.

    :param by: who makes it.
    :param what: what is changed, in the operator's words.
    :param channel: how it comes in.
    :param comment: why it is made, if its author said so.
    :raises ChangeRefused: when the configuration would not be valid any more, or the comment is none; nothing is
        changed then.
    :raises NotFound: when the site has no authority, and the change does not make it.
    """
    if comment is not None:
        try:
            COMMENT.read(comment, "comment")
        except DocumentRefused as refused:
            raise ChangeRefused(f"{refused}; nothing is changed") from refused
    with store.writing() as session:
        # Where a database lets two transactions write at once, the second waits here for the first one's number.
        session.scalars(select(SiteRow).with_for_update()).one_or_none()
        previous = newest_number(session)
        before = states.present(session)
        change = Change(
            session=session, now=now, by=by, what=what, generation=previous + 1, channel=channel, comment=comment
        )
        yield change
        session.flush()
        authority.site_row(session)
        if change.differs is False and not states.differences(before, states.present(session)):
            return
        octets = _valid(session, change.generation, before)
        if change.last_word is not None:
            change.last_word()
        # One document is kept: a site's history would otherwise be a pile of copies of its keys.
        session.execute(update(GenerationRow).values(document=None))
        digest = hashlib.sha256(octets).hexdigest()[:DIGEST_CHARACTERS]
        session.add(
            GenerationRow(
                number=change.generation,
                made=now,
                made_by=by,
                way=channel.value,
                change=what,
                comment=comment,
                document=octets,
                digest=digest,
            )
        )
        change.differences = states.differences(before, states.present(session))
        history.keep(session, change.generation, change.differences)
        session.flush()
        audit.record_change(session, history.find(session, change.generation), digest)
        told = {} if comment is None else {"comment": comment}
        change.note("configuration.changed", command=what, previous=previous, channel=channel.value, **told)
        change.record()
        change.made = True
        announce(session)


def _valid(session: Session, generation: int, before: states.State) -> bytes:
    """The document of the tables.

    :param before: what the tables held before the change.
    :raises ChangeRefused: when it is not valid.
    """
    octets = build(session, generation)
    try:
        _check_clients(session, parse(octets))
    except ConfigurationRefused as refused:
        raise _refusal(session, refused, before) from refused
    except ArithmeticError as error:
        raise ChangeRefused("a date or a number is out of range; nothing is changed") from error
    return octets


_OF_PARTNER = re.compile(r"server\.partners\[(\d+)\]\.(\w+)\[\d+\]")
"""The place of one of a partner's codes or rules."""


def _refusal(session: Session, refused: DocumentRefused, before: states.State) -> ChangeRefused:
    """What refuses a change, in the operator's words; of two partners with one code or rule, the new one is to blame.

    The document blames the second in its order, whoever had it before.
    """
    places = [_OF_PARTNER.fullmatch(place or "") for place in (refused.where, refused.also)]
    found = [each for each in places if each is not None]
    if len(found) < len(places) or refused.also is None:
        return ChangeRefused(f"{explain(session, refused)}; nothing is changed")
    names = [row.name for row in by_name(session, PartnerRow)]
    new, owner = (names[int(each[1])] for each in found)
    after = states.present(session)
    if _same(before, after, new) and not _same(before, after, owner):
        new, owner = owner, new
        message = refused.message.replace(refused.also, refused.where)
        refused = DocumentRefused(where=refused.also, cause=refused.cause, message=message, also=refused.where)
    told = f"{explain(session, refused)}; nothing is changed"
    return CodeTaken(told, owner) if found[0][2] == "codes" and new != owner else ChangeRefused(told)


def _same(before: states.State, after: states.State, partner: str) -> bool:
    place = states.EntryPlace(states.EntryKind.PARTNER, partner)
    return before.get(place) == after.get(place)


def _check_clients(session: Session, configuration: Configuration) -> None:
    """Refuse a port of a client's own that a partner has on it, too.

    :raises ChangeRefused: with the client's name.
    """
    for row in by_name(session, ClientRow):
        outbound = row.entry.outbound(configuration.client.outbound)
        try:
            check_listeners(configuration.server.partners, outbound)
        except DocumentRefused as refused:
            raise ChangeRefused(
                f"{_entry_at(session, refused.where)}: port {outbound.port} is already the one on which client "
                f"{row.name} listens for calls to partners (smartproxy client listen); nothing is changed"
            ) from refused


def newest_number(session: Session) -> int:
    """The number of the generation in force; 0 before the first."""
    return session.scalar(select(func.max(GenerationRow.number))) or 0


_CLIENT_PART = b',"client":'
"""What stands before the last part of a document. No text holds it: its quotation marks would be escaped."""


def for_client(document: bytes, entry: ClientEntry) -> bytes:
    """A document as one client gets it: where that listens for calls to partners is its own.

    Only the document's end is read: long lists of serial numbers follow it.
    """
    if entry.listen_address is None and entry.listen_port is None:
        return document
    text, sets = apart(document)
    head, _, tail = text.rpartition(_CLIENT_PART)
    client: dict[str, Any] = json.loads(tail[:-1])
    own = {"address": entry.listen_address, "port": entry.listen_port}
    outbound = client.get("outbound", {}) | {key: value for key, value in own.items() if value is not None}
    own_part = pack(client | {"outbound": outbound})
    return b"".join([head, _CLIENT_PART, own_part, b"}", sets])


DIGEST_CHARACTERS = 16


@attrs.frozen
class Tag:
    """What a generation is known by outside of the store.

    :ivar number: its number; 0 for none.
    :ivar store: the id of the store that made it.
    :ivar digest: the beginning of its document's SHA-256; empty for none.
    """

    number: int
    store: str | None = None
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.number}" if self.store is None else f"{self.number}.{self.store}.{self.digest}"


def newest_tag(session: Session) -> Tag:
    """What the generation in force is known by."""
    columns = (GenerationRow.number, GenerationRow.digest)
    row = session.execute(select(*columns).order_by(GenerationRow.number.desc()).limit(1)).one_or_none()
    number, digest = (0, "") if row is None else row
    return Tag(number, session.scalar(select(SiteRow.store)), digest)


def newest_document(session: Session) -> tuple[Tag, bytes] | None:
    """The generation in force and its document for clients, or nothing before the first."""
    tag = newest_tag(session)
    document = session.scalar(select(GenerationRow.document).where(GenerationRow.number == tag.number))
    return None if document is None else (tag, document)


def set_back(store: Store, known: Tag, client: str, now: datetime) -> None:
    """Give the store another id, in a new generation, if a client knows a generation of it that it never made.

    Then the store is a copy from before that generation. Servers take no generation that is older than theirs from one
    store; from the other id they take any.

    :raises ChangeRefused: when the configuration in the copy is not valid.
    """
    with store.reading() as session:
        if _made(session, known):
            return
    what = "the store was set back to a copy"
    with changing(store, by="smartproxy-backend", what=what, now=now, channel=Channel.BACKEND) as change:
        site = authority.site_row(change.session)
        if site.store == known.store:
            site.store = new_store_id()
            change.note("store.set_back", previous=known.number, client=client, store=site.store)
        else:
            # Another client that asked at once was faster.
            change.differs = False


def _made(session: Session, known: Tag) -> bool:
    """Whether this store made a generation, or another store did; only the first is known by its digest, too."""
    if known.store is None or known.store != session.scalar(select(SiteRow.store)):
        return True
    made = session.execute(
        select(GenerationRow.number, GenerationRow.digest).filter_by(number=known.number)
    ).one_or_none()
    return made == (known.number, known.digest)


_ENTRY = re.compile(r"server\.(partners|identities|cas|revocation)\[(\d+)\](?:\.(.+))?")
"""The place of an entry of a table, or in one."""


def build(session: Session, generation: int) -> bytes:
    """The document of the tables as they are now."""
    site = session.get(SiteRow, 1)
    document: dict[str, Any] = {
        "format": FORMAT,
        "generation": generation,
        "store": None if site is None else site.store,
        "site": "" if site is None else site.name,
        "server": {
            "identities": [write_object(row.entry) for row in _identities(session)],
            "cas": [write_object(row.entry) for row in by_name(session, CaRow)],
            "revocation": [_revocation(row) for row in _revocations(session)],
            "partners": [write_object(row.entry) for row in by_name(session, PartnerRow)],
            "licence": licences.carried(session),
        },
    }
    client: dict[str, Any] = {"client": {}}
    for setting in session.scalars(select(SettingRow).order_by(SettingRow.name)):
        *parents, last = setting.name.split(".")
        place = client if parents[:1] == ["client"] else document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = setting.value
    # The client's part stands at the end: see for_client.
    return pack(document | client)


def explain(session: Session, refused: DocumentRefused) -> str:
    """A refusal in the operator's words: which partner ``server.partners[3]`` is."""
    message = refused.message
    if refused.also is not None:
        message = message.replace(refused.also, _entry_at(session, refused.also))
    return f"{_entry_at(session, refused.where)}: {message}"


def _entry_at(session: Session, place: str) -> str:
    """The name of the entry at a place of the document, and what follows in it; other places as they are."""
    match = _ENTRY.fullmatch(place)
    if match is None:
        return place
    names: Sequence[str]
    match match[1]:
        case "partners":
            names = [f"partner {row.name}" for row in by_name(session, PartnerRow)]
        case "identities":
            names = [f"identity {row.name}" for row in _identities(session)]
        case "cas":
            names = [f"ca {row.name}" for row in by_name(session, CaRow)]
        case _:
            names = [
                f"revocation list of {row.issuer}{f' for {row.scope.part}' if row.scope.part else ''}"
                for row in _revocations(session)
            ]
    number = int(match[2])
    if number >= len(names):
        return place
    return names[number] if match[3] is None else f"{names[number]}, {match[3]}"


def _identities(session: Session) -> Sequence[IdentityRow]:
    return [row for row in by_name(session, IdentityRow) if row.entry is not None]


def _revocations(session: Session) -> Sequence[RevocationRow]:
    columns = (RevocationRow.issuer_key_sha256, RevocationRow.issuer, RevocationRow.scope)
    return session.scalars(select(RevocationRow).order_by(*columns)).all()


def _revocation(row: RevocationRow) -> dict[str, Any]:
    """An entry of ``server.revocation``, without making numbers of the serials first: there may be a million."""
    return {
        "issuer": row.issuer_key_sha256,
        "issuer_name": row.issuer,
        "scope": write_object(row.scope),
        "this_update": Instant().write(row.this_update),
        "next_update": None if row.next_update is None else Instant().write(row.next_update),
        "serials": Serials().write(row.serials),
    }
