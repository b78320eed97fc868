"""The names of partners that people type: found whatever their case, proposed in the field, and missed aloud."""

import difflib
from collections.abc import Sequence

import attrs

from smartproxy.backend.operations import partner_views
from smartproxy.backend.operations.shapes import Nothing
from smartproxy.backend.page.visit import PageVisit


@attrs.frozen(kw_only=True)
class TypedPartner:
    """A partner's name as it was typed, and what it is.

    :ivar name: the name of the partner that is meant; what was typed where there is none; empty for nothing.
    :ivar fault: what is wrong with it, for the reader; empty for nothing. Events may still tell of a partner that is
        not there any more.
    :ivar names: the names of all partners, to choose from.
    """

    name: str
    fault: str = ""
    names: Sequence[str] = ()


async def typed_partner(visit: PageVisit, typed: str) -> TypedPartner:
    """The partner that a name means; who may not know of partners has typed what it typed."""
    if not visit.may(partner_views.names):
        return TypedPartner(name=typed)
    names = (await visit.call(partner_views.names, Nothing())).answer.names
    if not typed or typed in names:
        return TypedPartner(name=typed, names=names)
    name, near = await visit.backstage.runner.run(_meant, typed, names)
    if name is not None:
        return TypedPartner(name=name, names=names)
    fault = visit.text('There is no partner "%(name)s".', name=typed)
    if near is not None:
        fault = visit.text('There is no partner "%(name)s". Did you mean %(near)s?', name=typed, near=near)
    return TypedPartner(name=typed, fault=fault, names=names)


def _meant(typed: str, names: Sequence[str]) -> tuple[str | None, str | None]:
    """The one name that differs in case only, if there is one; else the one that is most like it, if one is."""
    alike = {each.casefold(): each for each in names}
    same = [each for each in names if each.casefold() == typed.casefold()]
    if len(same) == 1:
        return same[0], None
    near = difflib.get_close_matches(typed.casefold(), alike, n=1)
    return None, alike[near[0]] if near else None
