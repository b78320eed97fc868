"""Forms that change an entry, or a part of one: typed, judged by a dry run, shown, then done.

Two administrators do not overwrite each other: a form carries the entry as it was shown. If it is another one by the
time of the change, the form comes again with what the other did, and with what was typed kept.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs

from smartproxy.backend.errors import BackendError, ChangedMeanwhile, CodeTaken
from smartproxy.backend.operations.operation import Operation
from smartproxy.backend.operations.performing import tag_of
from smartproxy.backend.page.differences import compared
from smartproxy.backend.page.form_fields import fields_of, read_fields
from smartproxy.backend.page.routes import Shown
from smartproxy.backend.page.visit import PageRefused, PageVisit
from smartproxy.backend.states import EntryKind
from smartproxy.policy.schema import read_object, write_object
from smartproxy.policy.strict_json import DocumentRefused


@attrs.frozen(kw_only=True)
class EntryFamily:
    """Entries that forms change, such as partners or CAs.

    :ivar cls: the class of an entry.
    :ivar at: the address that the forms of an entry are below, by its name.
    :ivar back: the page that a reader comes from, and goes back to.
    :ivar read: asks for an entry by its name.
    :ivar in_words: of an entry as documents have it, what people compare.
    """

    cls: type[Any]
    kind: EntryKind
    at: Callable[[str], str]
    back: Callable[[str], str]
    read: Callable[[PageVisit, str], Awaitable[Any]]
    in_words: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict


@attrs.frozen(kw_only=True)
class EntryForm:
    """A form for an entry, or for a part of one.

    :ivar family: whose entry it changes.
    :ivar path: the last part of its address.
    :ivar cls: the class whose fields it has.
    :ivar part: what of the entry it shows; ``None`` where there is nothing yet.
    :ivar title: its title, with the entry's name.
    :ivar wanted: the operation's input of the values that changed.
    :ivar known: the names that values can be, by their keys, where there are such.
    """

    family: EntryFamily
    path: str
    cls: type[Any]
    part: Callable[[Any], Any]
    operation: Operation[Any, Any]
    title: str
    wanted: Callable[[str, dict[str, Any]], Any]
    known: Callable[[PageVisit], Awaitable[Mapping[str, Sequence[str]]]] | None = None
    template: str = "entry_form.html"

    async def asked(self, visit: PageVisit) -> Shown:
        """The form with what is there."""
        entry = await self.family.read(visit, visit.named["name"])
        return await self._shown(visit, entry, self.part(entry), faults={}, fault="")

    async def sent(self, visit: PageVisit) -> Shown:
        """Judge a change, show it, and make it once that is confirmed."""
        name, base = visit.named["name"], await self._base(visit)
        values, faults = read_fields(self.cls, visit.form)
        before = self.part(base)
        changed = {key: value for key, value in values.items() if before is None or value != getattr(before, key)}
        now_there = await self.family.read(visit, name)
        if faults:
            return await self._shown(visit, base, before, faults=faults, fault="", typed=True)
        if not changed and now_there == base:
            return visit.redirect(self.family.back(name), visit.text("Nothing was changed: it is as it was."), "warn")
        wanted, terms = self.wanted(name, changed), attrs.evolve(visit.terms, seen=[tag_of(base)])
        try:
            if visit.confirmed:
                await visit.call(self.operation, wanted, terms)
                return visit.redirect(self.family.back(name), visit.text("%(name)s is changed.", name=name))
            foreseen = (await visit.rehearse(self.operation, wanted, terms)).foreseen
        except ChangedMeanwhile as meanwhile:
            now_there = await self.family.read(visit, name)
            part = self.part(now_there)
            if part is not None and all(getattr(part, key) == value for key, value in changed.items()):
                return visit.redirect(self.family.back(name), visit.text("It is so already."), "warn")
            return await self._conflict(visit, base, now_there, changed, meanwhile)
        except CodeTaken as taken:
            beside = {"codes": taken_code(visit, taken)}
            return await self._shown(visit, base, before, faults=beside, fault="", typed=True)
        except BackendError as error:
            return await self._shown(visit, base, before, faults={}, fault=str(error), typed=True)
        return visit.render(
            "entry_check.html",
            name=name,
            action=f"{self.family.at(name)}/{self.path}",
            rows=await visit.rows(foreseen.differences, (self.family.kind, name)),
            refusals=foreseen.refusals,
            facts=None,
            kept={},
            title=visit.text("Change %(name)s?", name=name),
            confirm=visit.text("Make this change"),
            now=visit.now,
        )

    async def _conflict(
        self, visit: PageVisit, base: Any, there: Any, changed: dict[str, Any], meanwhile: ChangedMeanwhile
    ) -> bytes:
        """Show what another administrator did, and what was typed on top of it."""
        run, in_words = visit.backstage.runner.run, self.family.in_words
        both = [await run(in_words, write_object(each)) for each in (base, there)]
        others = [(visit.text(what), was, becomes) for what, was, becomes in compared(*both)]
        part = self.part(there)
        merged = self.cls(**changed) if part is None else attrs.evolve(part, **changed)
        return await self._shown(visit, there, merged, faults={}, fault="", others=others, meanwhile=meanwhile)

    async def _shown(
        self,
        visit: PageVisit,
        base: Any,
        part: Any,
        *,
        faults: dict[str, str],
        fault: str,
        typed: bool = False,
        others: Any = (),
        meanwhile: ChangedMeanwhile | None = None,
    ) -> bytes:
        typed_form = visit.form if typed else None
        known = None if self.known is None else await self.known(visit)
        return visit.render(
            self.template,
            409 if meanwhile else 422 if faults or fault else 200,
            name=base.name,
            title=visit.text(self.title, name=base.name),
            action=f"{self.family.at(base.name)}/{self.path}",
            at=self.family.at(base.name),
            back=self.family.back(base.name),
            fields=fields_of(self.cls, visit.text, entry=part, typed=typed_form, faults=faults, known=known),
            base=json.dumps(write_object(base)),
            fault=fault,
            others=others,
            meanwhile=meanwhile,
            is_there=self.part(base) is not None,
        )

    async def _base(self, visit: PageVisit) -> Any:
        """The entry that the form was made of."""
        try:
            return await visit.backstage.runner.run(_read, self.family.cls, visit.form.one("base"))
        except (ValueError, RecursionError, DocumentRefused) as error:
            raise PageRefused(
                400, visit.text("The form cannot be read"), visit.text("Go back, and open the form again.")
            ) from error


def _read(cls: type[Any], text: str) -> Any:
    return read_object(cls, json.loads(text))


def taken_code(visit: PageVisit, taken: CodeTaken) -> str:
    """What is said of a code that another partner has."""
    return visit.text("This code belongs to %(name)s already.", name=taken.owner)
