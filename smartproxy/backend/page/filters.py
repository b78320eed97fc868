"""The filters of a list: read from the address by what the list's operation declares, each judged alone.

A filter that is wrong is shown with its fault beside its field, as it was typed, and nothing is listed meanwhile: a
list without that filter would look like the answer.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

import attrs

from smartproxy.backend.operations.shapes import Instantaneous
from smartproxy.backend.page.form_fields import plain_kind, single_document
from smartproxy.backend.page.partner_names import TypedPartner, typed_partner
from smartproxy.backend.page.visit import PageVisit
from smartproxy.logs.render import escape as made_visible
from smartproxy.policy.schema import declarations
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import Line, ValueKind

Wanted = TypeVar("Wanted")

_TEXT: Final = Line()
"""What any filter has to be, whatever it is of."""
_SHOWN_MOST: Final = 1000
_NO_OTHERS: Final[Mapping[str, ValueKind]] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Filters(Generic[Wanted]):
    """What is looked for.

    :ivar wanted: for the operation; without what is wrong.
    :ivar own: what the operation does not know, by its name.
    :ivar given: what was typed, by its name.
    :ivar faults: what is wrong, by its name; a partner that is not there is no fault while something is found of it.
    :ivar partner: the partner that is meant.
    """

    wanted: Wanted
    own: Mapping[str, Any]
    given: Mapping[str, str]
    faults: Mapping[str, str]
    partner: TypedPartner

    @property
    def status(self) -> int:
        """The http status of the list: that there is nothing of a partner is an answer."""
        return 422 if self.unread else 200

    @property
    def unread(self) -> bool:
        """Whether one cannot be understood, so that nothing was looked for."""
        return bool(self.faults.keys() - ({"partner"} if self.partner.fault else set()))

    def after(self, found: object) -> "Filters[Wanted]":
        """The same when it is known what was found: of a partner that is not there, events may still tell."""
        if found or not self.partner.fault:
            return self
        return attrs.evolve(self, faults={"partner": self.partner.fault, **self.faults})


async def read_filters(
    visit: PageVisit,
    wanted: type[Wanted],
    names: Sequence[str],
    own: Mapping[str, ValueKind] = _NO_OTHERS,
    **fixed: object,
) -> Filters[Wanted]:
    """What the address of a list asks for.

    :param wanted: what the operation takes.
    :param names: the filters that the page has.
    :param own: the kinds of those that the operation does not know.
    :param fixed: what the page always asks for.
    """
    kinds = {each.key: each.kind for each in declarations(wanted)}
    typed = {name: text for name in names if (text := visit.argument(name))}
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, text in typed.items():
        try:
            values[name] = _read(visit, own.get(name) or kinds[name], text, name)
        except DocumentRefused as refused:
            faults[name] = refused.message
        except ValueError as error:
            faults[name] = str(error)
    since, until = values.get("since"), values.get("until")
    if since is not None and until is not None and until < since:
        faults["until"] = visit.text("It ends before it begins.")
    partner = await typed_partner(visit, values.get("partner", ""))
    if partner.name:
        typed["partner"] = values["partner"] = partner.name
    return Filters(
        wanted=wanted(**fixed, **{name: value for name, value in values.items() if name in kinds}),
        own={name: value for name, value in values.items() if name in own},
        given={name: text if text.isprintable() else made_visible(text, _SHOWN_MOST) for name, text in typed.items()},
        faults=faults,
        partner=partner,
    )


def _read(visit: PageVisit, kind: ValueKind, text: str, name: str) -> Any:
    """What was typed, as its kind has it.

    :raises DocumentRefused: when it is not of the kind.
    :raises ValueError: when it is no time, in the reader's language.
    """
    _TEXT.read(text, name)
    if plain_kind(kind) != Instantaneous():
        return kind.read(single_document(plain_kind(kind), text), name)
    try:
        moment = datetime.fromisoformat(text)
        return kind.read(kind.write(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment), name)
    except (ValueError, OverflowError):
        wrong = visit.text("%(text)s is no time; write one such as 2026-11-20T10:00 (UTC).", text=text)
        raise ValueError(wrong) from None
