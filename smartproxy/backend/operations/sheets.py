"""The operation that makes a partner's sheet: what the partner has to be told to connect, without any secret."""

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import authority, cas, identities, partners, settings
from smartproxy.backend.certificates import certificate_pin, issuer_text, subject_text
from smartproxy.backend.operations.operation import Transaction
from smartproxy.backend.operations.partner import PARTNER
from smartproxy.backend.schema import IdentityRow, PinNote
from smartproxy.policy.partners import Partner, RevocationMode
from smartproxy.policy.schema import ForPeople, ListOf, kind, read_object
from smartproxy.policy.settings import SheetSettings
from smartproxy.policy.sheet import OurSide, SheetFormat, ShownCertificate, compose, render
from smartproxy.policy.sheet_words import Language
from smartproxy.policy.values import NAME, Line, Lines, Member

_SETTINGS = "backend.sheet"
_CHARACTERS_MOST = 1_000_000


@attrs.frozen(kw_only=True)
class SheetWanted:
    """Which sheet.

    :ivar name: the partner.
    """

    name: str = attrs.field(metadata=kind(NAME))
    language: Language = attrs.field(
        default=Language.EN, metadata=kind(Member(Language), people=ForPeople(help="the language"))
    )
    format: SheetFormat = attrs.field(
        default=SheetFormat.TEXT, metadata=kind(Member(SheetFormat), people=ForPeople(help="text or a page"))
    )


@attrs.frozen(kw_only=True)
class MadeSheet:
    """A sheet.

    :ivar missing: the settings that would say what it cannot say.
    """

    text: str = attrs.field(metadata=kind(Lines(most=_CHARACTERS_MOST)))
    missing: tuple[str, ...] = attrs.field(metadata=kind(ListOf(item=Line())))


@PARTNER.reading("sheet", "Show what a partner has to be told to connect; nothing secret.")
def sheet(look: Transaction, wanted: SheetWanted) -> MadeSheet:
    """The sheet of a partner."""
    row = partners.find(look.session, wanted.name)
    pins = {each.sha256: _pinned(each) for each in row.notes}
    made = compose(row.entry, _ours(look.session, row.entry), pins, wanted.language, look.now)
    return MadeSheet(text=render(made, wanted.format), missing=made.missing)


def _ours(session: Session, partner: Partner) -> OurSide:
    shown = [each for each in identities.listed(session) if each.entry is not None]
    first = shown[0] if shown else None
    named = None if partner.outbound is None else partner.outbound.identity
    calling = next((each for each in shown if each.name == named), first)
    listeners = settings.value_of(session, settings.LISTENERS)
    assert isinstance(listeners, list)
    site_wide = settings.value_of(session, "server.source_address")
    source = (None if partner.outbound is None else partner.outbound.source) or site_wide
    needed = set(cas.cas_of(partner))
    said = {each.name.removeprefix(f"{_SETTINGS}."): each.value for each in settings.listed(session, _SETTINGS)}
    return OurSide(
        site=authority.site_row(session).name,
        said=read_object(SheetSettings, said, _SETTINGS),
        ports=tuple(dict.fromkeys(each["port"] for each in listeners)),
        answering=_shown(first),
        calling=_shown(calling),
        source=None if source is None else str(source),
        lists=any(row.name in needed and row.entry.revocation is RevocationMode.REQUIRE for row in cas.listed(session)),
    )


def _shown(row: IdentityRow | None) -> ShownCertificate | None:
    if row is None:
        return None
    leaf = identities.chain_of(row)[0]
    return ShownCertificate(
        subject=subject_text(leaf),
        issuer=issuer_text(leaf),
        serial=f"{leaf.serial_number:x}",
        sha256=certificate_pin(leaf),
        not_after=leaf.not_valid_after_utc,
    )


def _pinned(note: PinNote) -> ShownCertificate:
    return ShownCertificate(subject=note.subject, sha256=note.sha256, not_after=note.not_after)
