"""Files with revocation lists, as they are given to be loaded: in a call, or on the disk."""

import functools
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import IO

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import list_contents, revocation
from smartproxy.backend.errors import Unusable
from smartproxy.backend.list_contents import ParsedList
from smartproxy.backend.lists_apart import ListsApart
from smartproxy.backend.operations.shapes import FILES_MOST, InBase64
from smartproxy.backend.store import Store
from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, kind
from smartproxy.policy.values import Line


@attrs.frozen(kw_only=True)
class ListFile:
    """A file with revocation lists.

    :ivar name: what it is called in messages.
    :ivar octets: PEM or DER.
    """

    name: str = attrs.field(metadata=kind(Line(most=4096), people=ForPeople(help="what it is called in messages")))
    octets: bytes = attrs.field(
        repr=False, metadata=kind(InBase64(limits.DOWNLOAD_OCTETS_MOST), people=ForPeople(help="PEM or DER, in base64"))
    )


@attrs.frozen(kw_only=True)
class ListsGiven:
    """Revocation lists to load, all or none.

    :ivar files: the files that they are in.
    """

    files: tuple[ListFile, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(ListFile), least=1, most=FILES_MOST)))

    @property
    def spoken(self) -> str:
        """What the history says after the operation's name."""
        return " ".join(each.name for each in self.files)

    @functools.cached_property
    def prepared(self) -> Sequence[ParsedList]:
        """What the lists say.

        :raises Unusable: when one cannot be read.
        """
        return [each for file in self.files for each in list_contents.parse(file.octets, file.name)]

    def note_refusal(self, session: Session, message: str, now: datetime) -> None:
        """Keep that a list was refused."""
        revocation.refused(session, self.spoken, message, now)


@attrs.frozen(kw_only=True)
class ListsRead(ListsGiven):
    """Revocation lists of a file that was read before.

    :ivar lists: what they say.
    """

    lists: tuple[ParsedList, ...] = attrs.field(default=(), repr=False)

    @property
    def prepared(self) -> Sequence[ParsedList]:
        """What the lists say."""
        return self.lists

    @classmethod
    def of_file(cls, store: Store, name: str, file: IO[bytes], now: datetime) -> "ListsRead":
        """The lists of one file on the disk, up to 64 MB, read in a process of its own; blocks until that has ended.

        :param name: what it is called in messages.
        :param file: it is written behind its end.
        :raises Unusable: when they cannot be read; that is kept, as it is of every list that is refused.
        """
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]  # typeshed wants more of a file
        with store.reading() as session:
            issuers = [each for _, each in revocation.issuers_of(session)]
        try:
            lists = ListsApart().parse_file(file, name, issuers)
        except Unusable as unusable:
            with store.writing() as session:
                revocation.refused(session, name, str(unusable), now)
            raise
        # The digest stands for what is not kept: it makes this call another one than that with another file.
        return cls(files=(ListFile(name=name, octets=digest),), lists=tuple(lists))
