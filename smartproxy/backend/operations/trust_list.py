"""Operations on trust lists (ETSI TS 119 612): which there are, and the CAs that they propose."""

import base64
from collections.abc import Mapping
from typing import Any

import attrs

from smartproxy.backend import cas, trust_lists
from smartproxy.backend.change import Change
from smartproxy.backend.errors import Unusable
from smartproxy.backend.operations import ca
from smartproxy.backend.operations.ca import KnownCa
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import Named, Nothing, Removed
from smartproxy.backend.trust_lists import KnownTrustList, ListedCa
from smartproxy.policy import limits
from smartproxy.policy.partners import TrustedCa
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, PartOf, kind
from smartproxy.policy.trust_lists import TrustListEntry
from smartproxy.policy.values import NAME, Flag, Line, Lines

TRUST_LIST = Family("trust-list", "trust-lists")
_OTHERS = PartOf(cls=TrustedCa, without=frozenset({"name", "certificates"}))
_BASE64_MOST = limits.TRUST_LIST_OCTETS_MOST * 4 // 3 + 100_000


@attrs.frozen(kw_only=True)
class TrustListAddition:
    """A trust list to name.

    :ivar trust_list: its entry.
    """

    trust_list: TrustListEntry = attrs.field(
        metadata=kind(ObjectOf(TrustListEntry), people=ForPeople(help="the entry"))
    )

    @property
    def name(self) -> str:
        """Its name."""
        return self.trust_list.name


@attrs.frozen(kw_only=True)
class TrustListFile:
    """A trust list that somebody has as a file.

    :ivar octets: the file, in base64.
    """

    name: str = attrs.field(metadata=kind(NAME))
    octets: str = attrs.field(
        repr=False, metadata=kind(Lines(most=_BASE64_MOST), people=ForPeople(help="the file, in base64"))
    )


@attrs.frozen(kw_only=True)
class ListedCasWanted:
    """Which CAs of trust lists are wanted.

    :ivar trust_list: only of this one.
    :ivar every: also those that are trusted, rejected or withdrawn.
    """

    trust_list: str | None = attrs.field(
        default=None, metadata=kind(Optional(NAME), people=ForPeople(help="only of this trust list"))
    )
    every: bool = attrs.field(
        default=False,
        metadata=kind(Flag(), people=ForPeople(help="also those that are trusted, rejected or withdrawn")),
    )


@attrs.frozen(kw_only=True)
class ListedCaNamed:
    """A CA of a trust list.

    :ivar sha256: its certificate's, or the beginning of it.
    """

    name: str = attrs.field(metadata=kind(NAME))
    sha256: str = attrs.field(
        metadata=kind(
            Line(most=95, pattern="[0-9A-Fa-f:]+", form="digits of a SHA-256"),
            people=ForPeople(help="the SHA-256 of its certificate, or the beginning of it"),
        )
    )


@attrs.frozen(kw_only=True)
class ListedCaAcceptance(ListedCaNamed):
    """A CA that is to be trusted.

    :ivar ca: what it is to be called.
    :ivar fields: the other fields of its entry.
    """

    ca: str = attrs.field(metadata=kind(NAME, people=ForPeople(help="what it is to be called")))
    fields: Mapping[str, Any] = attrs.field(
        factory=dict, metadata=kind(_OTHERS, people=ForPeople(help="the other fields of its entry"))
    )


@attrs.frozen(kw_only=True)
class TrustLists:
    """All trust lists."""

    items: tuple[KnownTrustList, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownTrustList))))


@attrs.frozen(kw_only=True)
class ListedCas:
    """CAs that trust lists name."""

    items: tuple[ListedCa, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ListedCa))))


@TRUST_LIST.reading("list", "List trust lists: whose signature each has to have, and how it goes.")
def listed(look: Transaction, wanted: Nothing) -> TrustLists:
    """All of them."""
    return TrustLists(items=tuple(trust_lists.listed(look.session)))


@TRUST_LIST.reading("proposals", "List the CAs that trust lists propose.")
def proposals(look: Transaction, wanted: ListedCasWanted) -> ListedCas:
    """The CAs about which nobody has decided, or all."""
    if wanted.trust_list is not None:
        trust_lists.find(look.session, wanted.trust_list)
    found = trust_lists.listed_cas(look.session, wanted.trust_list)
    return ListedCas(items=tuple(each for each in found if wanted.every or trust_lists.is_proposed(each)))


@TRUST_LIST.changing("add", "Name a trust list, and whose signature it has to have.")
def add(change: Change, wanted: TrustListAddition) -> TrustLists:
    """Add the trust list."""
    trust_lists.add(change, wanted.trust_list)
    change.session.flush()
    return _one(change, wanted.name)


@TRUST_LIST.changing("remove", "Remove a trust list; CAs that were accepted stay.")
def remove(change: Change, wanted: Named) -> Removed:
    """Remove a trust list."""
    trust_lists.remove(change, wanted.name)
    return Removed(name=wanted.name)


@TRUST_LIST.acting("load", "Take a trust list from a file.")
def load(work: Transaction, wanted: TrustListFile) -> ListedCas:
    """Take it; the answer has the CAs that it proposes."""
    try:
        octets = base64.b64decode("".join(wanted.octets.split()), validate=True)
    except ValueError as error:
        raise Unusable("the file is not in base64") from error
    trust_lists.take(work.session, wanted.name, octets, work.now)
    found = trust_lists.listed_cas(work.session, wanted.name)
    return ListedCas(items=tuple(filter(trust_lists.is_proposed, found)))


@TRUST_LIST.acting("update", "Download a trust list at the next look, within a minute.")
def update(work: Transaction, wanted: Named) -> TrustLists:
    """Have it downloaded."""
    trust_lists.hurry(work.session, wanted.name)
    return _one(work, wanted.name)


@TRUST_LIST.changing("accept", "Trust a CA that a trust list proposes.")
def accept(change: Change, wanted: ListedCaAcceptance) -> KnownCa:
    """Trust the proposed CA."""
    row = trust_lists.accept(change, wanted.name, wanted.sha256, wanted.ca, **wanted.fields)
    return ca.known(change.session, row, cas.doubts(cas.certificates_of(row), change.now))


@TRUST_LIST.acting("reject", "Decide not to trust a CA that a trust list proposes: it is not proposed again.")
def reject(work: Transaction, wanted: ListedCaNamed) -> ListedCa:
    """Reject the proposed CA."""
    return trust_lists.reject(work.session, wanted.name, wanted.sha256, work.now)


def _one(work: Change | Transaction, name: str) -> TrustLists:
    return TrustLists(items=tuple(each for each in trust_lists.listed(work.session) if each.name == name))
