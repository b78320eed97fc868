"""The layer of use cases: what an operation is, how it is declared, and how it is carried out on the store.

Duty: everything that an operator can do is one :class:`Operation`: a name, what it does to the store, the scope that
its caller needs, the class of its input, the class of its answer, a summary, and the function that does it. The command
(on the local store or by https), the API and its description come from these declarations. Whether a caller may do
something is judged where it is carried out, in :mod:`~smartproxy.backend.operations.performing`, and nowhere else. An
operation knows no command line, no http and no output. Trusts its input's form, which the faces read by the declared
kinds, and nothing else about it.

How an operation is added:

#. Its family's module in :mod:`smartproxy.backend.operations` (``partner`` for partners) gets a function. The first
   argument is the transaction: a :class:`Transaction`, or for what changes the configuration a
   :class:`~smartproxy.backend.change.Change`. The second is an attrs class with all that the caller says, the result an
   attrs class with all that it is told. Each field of both has a kind
   (:func:`smartproxy.policy.schema.kind`), so that it can be read, written and described as JSON.
   :mod:`~smartproxy.backend.operations.shapes` has the classes that many share: ``Named``, ``Page``, ``Removed``.
#. A decorator of the :class:`Family` declares it: ``reading`` (looks only), ``changing`` (makes a generation of the
   configuration) or ``acting`` (writes to the store, but nothing of the
   configuration) or ``exporting`` (tells a private key). Input and answer are those of
   the function's signature; the function's name is then the operation itself. Method and path follow from the word
   (``list``, ``show``, ``add``, ``change``, ``remove``; any other is a ``POST``, of what looks a ``GET``), or are said
   with ``path``.
#. What takes long and needs no store, such as making a key, is a ``functools.cached_property`` of the input with the
   name ``prepared``: it is looked at before the transaction begins. An input whose refusal has to be told has a method
   ``note_refusal``, which writes it in a transaction of its own. What takes long and comes after the transaction is a
   method ``completed`` of the answer of what acts, which gives the answer that the caller is told. What would keep
   others from writing for long is done in pieces: the answer of what acts says ``more``, and the input has a method
   ``next_piece``, which is called in transactions of its own and gives the answer so far.
#. A function that cannot do what is wanted raises a :class:`~smartproxy.backend.errors.BackendError`, whose text says
   what to do.
#. A new family is a new module, named in :mod:`smartproxy.backend.operations.registry`.
#. The command's module calls it with ``console.call(OPERATION, INPUT)``, and shows the answer.

``tests/unit/test_operations.py`` finds an operation whose declaration is not complete.
"""

import enum
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend.change import Change, Channel
from smartproxy.policy.permissions import stands_for
from smartproxy.policy.schema import declarations

Input = TypeVar("Input", bound=attrs.AttrsInstance)
Answer = TypeVar("Answer", bound=attrs.AttrsInstance)


class Effect(enum.StrEnum):
    """What an operation does to the store; the second half of its scope."""

    READ = "read"
    CHANGE = "change"
    ACT = "act"
    EXPORT = "export"


@attrs.frozen(kw_only=True)
class Transaction:
    """The transaction of an operation that changes nothing of the configuration.

    :ivar now: the time of the call.
    :ivar by: who calls, as the history names the caller.
    """

    session: Session
    now: datetime
    by: str


@attrs.frozen(kw_only=True)
class Caller:
    """Who calls.

    :ivar name: as the history of changes names the caller.
    :ivar scopes: what the caller may do: ``partner:change``, ``partner:*``, ``*:read`` or ``*``.
    :ivar channel: how its calls come in.
    """

    name: str
    scopes: frozenset[str]
    channel: Channel = Channel.COMMAND

    def may(self, scope: str) -> bool:
        """Whether one of the caller's scopes stands for this one."""
        return stands_for(self.scopes, scope)


@attrs.frozen(kw_only=True, eq=False)
class Operation(Generic[Input, Answer]):
    """Something that an operator can do.

    :ivar name: its name, such as ``partner.add``; with blanks for dots it is what the history calls it.
    :ivar takes: the class of its input.
    :ivar gives: the class of its answer.
    :ivar scope: what a caller has to be allowed.
    :ivar path: where the API has it, below its root; a part in braces is a field of the input.
    :ivar work: the function.
    """

    name: str
    family: "Family"
    effect: Effect
    takes: type[Input]
    gives: type[Answer]
    summary: str
    scope: str
    method: str
    path: tuple[str, ...]
    work: Callable[[Any, Input], Answer]

    def said(self, wanted: Input) -> str:
        """A call in the operator's words: ``partner add ACME``; an input may say in ``spoken`` what it is about."""
        spoken: str | None = getattr(wanted, "spoken", None)
        about = spoken or self.family.member(wanted)
        return f"{self.words} {about}" if about else self.words

    @property
    def words(self) -> str:
        """Its name in the operator's words: ``partner add``."""
        return self.name.replace(".", " ")

    @property
    def creates(self) -> bool:
        """Whether it makes something that was not there."""
        return self.method == "POST" and self.path == (self.family.collection,)

    @property
    def conditional(self) -> bool:
        """Whether it changes a member whose state has a tag: then a caller of the API says which one it has seen."""
        about_one = not self.family.key or self.family.key in self.placed
        return self.effect is Effect.CHANGE and self.family.state is not None and about_one

    @property
    def placed(self) -> frozenset[str]:
        """The fields of the input that stand in the path."""
        return frozenset(part[1:-1] for part in self.path if part.startswith("{"))


_Context = TypeVar("_Context", covariant=True)


class _Declares(Protocol[_Context]):
    """A decorator that makes an operation of a function."""

    def __call__(self, work: Callable[[_Context, Input], Answer]) -> Operation[Input, Answer]:
        """Declare it."""


@attrs.frozen(eq=False)
class Family:
    """The operations on one kind of thing.

    :ivar name: the first word of their names.
    :ivar collection: the first part of their paths.
    :ivar key: the field of an input that names the member which the call is about; empty where there is one thing only.
    :ivar state: what a member is at the moment, as the instance of a class with kinds; changes are held against it.
    """

    name: str
    collection: str
    key: str = "name"
    state: Callable[[Session, str], attrs.AttrsInstance] | None = None
    operations: list[Operation[Any, Any]] = attrs.field(factory=list, init=False)

    def member(self, wanted: object) -> str | None:
        """What a call is about, if it is about one member."""
        found = getattr(wanted, self.key, None) if self.key else ""
        return found if isinstance(found, str) else None

    def reading(
        self, word: str, summary: str, *, path: str | None = None, scope: str | None = None
    ) -> _Declares[Transaction]:
        """Declare what looks only."""
        return self._declares(Effect.READ, word, summary, path, scope)

    def acting(
        self, word: str, summary: str, *, path: str | None = None, scope: str | None = None
    ) -> _Declares[Transaction]:
        """Declare what writes to the store, but nothing of the configuration."""
        return self._declares(Effect.ACT, word, summary, path, scope)

    def exporting(
        self, word: str, summary: str, *, path: str | None = None, scope: str | None = None
    ) -> _Declares[Transaction]:
        """Declare what tells a private key; the audit trail says so."""
        return self._declares(Effect.EXPORT, word, summary, path, scope)

    def changing(
        self, word: str, summary: str, *, path: str | None = None, scope: str | None = None
    ) -> _Declares[Change]:
        """Declare what changes the configuration."""
        return self._declares(Effect.CHANGE, word, summary, path, scope)

    def _declares(self, effect: Effect, word: str, summary: str, path: str | None, scope: str | None) -> _Declares[Any]:
        """The decorator.

        :param path: method and path below the collection, such as ``POST {name}/certificates``.
        :param scope: the scope, where it is not the family's for this effect.
        """

        def declare(work: Callable[[Any, Input], Answer]) -> Operation[Input, Answer]:
            hints = typing.get_type_hints(work)
            takes, gives = list(hints.values())[1:]
            method, _, rest = (path or self._usual(effect, word, takes)).partition(" ")
            made: Operation[Input, Answer] = Operation(
                name=f"{self.name}.{word}",
                family=self,
                effect=effect,
                takes=takes,
                gives=gives,
                summary=summary,
                scope=scope or f"{self.name}:{effect}",
                method=method,
                path=self._path(rest),
                work=work,
            )
            self.operations.append(made)
            return made

        return declare

    def _path(self, rest: str) -> tuple[str, ...]:
        if rest.startswith(":"):
            return (self.collection + rest,)
        return (self.collection, *filter(None, rest.split("/")))

    def _usual(self, effect: Effect, word: str, takes: type[Any]) -> str:
        """Method and path of what has a usual name."""
        member = f"{{{self.key}}}"
        usual = {
            "list": "GET ",
            "add": "POST ",
            "show": f"GET {member}",
            "change": f"PATCH {member}",
            "remove": f"DELETE {member}",
        }
        about_one = any(each.name == self.key for each in declarations(takes))
        # What is about no member is beside the members, so that it takes no name from them.
        place = f"{member}/{word}" if about_one else f":{word}"
        return usual.get(word) or f"{'GET' if effect is Effect.READ else 'POST'} {place}"


def operations_of(families: Iterable[Family]) -> dict[str, Operation[Any, Any]]:
    """All operations of some families, by name."""
    return {each.name: each for family in families for each in family.operations}


def every_operation() -> Mapping[str, Operation[Any, Any]]:
    """All operations there are, by name, for an operation that is about operations.

    Their table is made of the modules that declare them, which import this one: it is found when it is asked for.
    """
    found: Mapping[str, Operation[Any, Any]] = import_module("smartproxy.backend.operations.registry").OPERATIONS
    return found
