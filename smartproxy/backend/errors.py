"""What can be refused in the backend, said so that the operator knows what to do."""

from datetime import datetime


class BackendError(Exception):
    """The base of all refusals; its text is one sentence for the operator, usually followed by what to do."""


class StoreUnavailable(BackendError):
    """The store cannot be opened: not there, not allowed, of another version."""


class StoreBusy(StoreUnavailable):
    """Another program keeps the store locked; the same may be tried again."""

    def __init__(self, text: str = "the store is busy: another program keeps it locked; try again") -> None:
        super().__init__(text)


class StoreUnreachable(StoreBusy):
    """The store's server does not answer, starts, ends, or has no room; the same may be tried again."""


class StoreFull(StoreUnreachable):
    """The store's disk has no room; the same may be tried again when there is some.

    :ivar disk: which disk, in words.
    """

    def __init__(self, disk: str) -> None:
        super().__init__(f"{disk} is full; make room, and try again")
        self.disk = disk


class StoreReadOnly(StoreUnavailable):
    """The store's server takes no changes."""


class StoreOutdated(StoreUnavailable):
    """A program of another version brought the store up to date, while this one had it open."""


class ChangeRefused(BackendError):
    """A change that would make the configuration wrong; the configuration stays as it was."""


class CodeTaken(ChangeRefused):
    """A change that would give a partner a code that another one has.

    :ivar owner: the partner that has it.
    """

    def __init__(self, text: str, owner: str) -> None:
        super().__init__(text)
        self.owner = owner


class EntryRefused(ChangeRefused):
    """A value that an entry, or what a call wants, may not have.

    :ivar field: what the value is called in it, such as ``codes``.
    :ivar wrong: what is wrong with it, as a sentence without full stop.
    """

    def __init__(self, what: str, place: str, wrong: str) -> None:
        super().__init__(f"{what}, {place}: {wrong}; nothing is changed")
        self.field, self.wrong = place.partition("[")[0].rpartition(".")[2], wrong


class NotFound(BackendError):
    """A name that nothing in the store has."""


class AlreadyThere(BackendError):
    """A name that is taken."""


class ChangedMeanwhile(BackendError):
    """What a change is about is not as its caller has seen it.

    :ivar by: who changed it last; ``None``, as all of these, where the history does not tell.
    :ivar made: when.
    :ivar generation: the generation that this made.
    """

    def __init__(
        self, text: str, *, by: str | None = None, made: datetime | None = None, generation: int | None = None
    ) -> None:
        super().__init__(text)
        self.by, self.made, self.generation = by, made, generation


class KeyUnusable(BackendError):
    """An idempotency key that belongs to another call, or to an answer that is not kept."""


class SecondAwaited(BackendError):
    """What a caller wants is done when a second administrator wants it, too."""


class ScopeMissing(BackendError):
    """The caller may not do it."""


class Unusable(BackendError):
    """A file (certificate, key, list, archive) that cannot be what it was given for."""
