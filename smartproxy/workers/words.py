"""What a supervisor and its workers say to each other, whatever the daemon; each daemon adds words of its own.

One AMP command a class, one table of directions, as in :mod:`smartproxy.tunnel.vocabulary`: what a table does not list
is forbidden. Every field is bounded. A worker cannot ask for a key, a file, a port, or another worker.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Final

from smartproxy.logs.severity import Severity
from smartproxy.policy import limits
from smartproxy.relay.openings import Direction
from smartproxy.tunnel.boxes import Choice, ChoiceByName, Number, PrintableText, Records
from smartproxy.tunnel.control import Directions
from smartproxy.tunnel.vocabulary import Ping, TunnelCommand, TunnelPhase

SESSION: Final = PrintableText(16)
NAME: Final = PrintableText(limits.NAME_CHARACTERS_MOST)
ADDRESS: Final = PrintableText(300)
CODE: Final = PrintableText(64)
SENTENCE: Final = PrintableText(2_000)


class Post(enum.Enum):
    """One end of a link."""

    SUPERVISOR = "supervisor"
    WORKER = "worker"

    @property
    def other(self) -> "Post":
        """The opposite end."""
        return Post.WORKER if self is Post.SUPERVISOR else Post.SUPERVISOR


class Start(TunnelCommand):
    """The first word: which worker it is, and what it needs before its first connection; answered when it is ready.

    ``facts`` is one object, the daemon's own, but for ``single``: whether the worker carries one session.
    """

    arguments = [(b"number", Number()), (b"levels", Records()), (b"facts", Records())]


class SetLevels(TunnelCommand):
    """What is logged: all of it, as :meth:`smartproxy.logs.levels.Levels.described` tells it, in one object."""

    arguments = [(b"levels", Records())]


class EndSession(TunnelCommand):
    """End a session now, for a reason of this site; ``fault`` is a fault's code in the tunnel."""

    arguments = [(b"session", SESSION), (b"fault", CODE), (b"rule", CODE), (b"message", SENTENCE)]


class Portraits(TunnelCommand):
    """The live sessions whose ids come after ``after``, as many as fit; ``since`` in them is their age in seconds."""

    arguments = [(b"after", PrintableText(16))]
    response = [(b"portraits", Records(optional=True))]


class Leave(TunnelCommand):
    """The worker is not needed any more: tell what there is to tell; the connection ends with the answer."""


class Began(TunnelCommand):
    """A session began; ``partner`` is whose it is."""

    arguments = [
        (b"session", SESSION),
        (b"partner", PrintableText(limits.NAME_CHARACTERS_MOST, optional=True)),
        (b"peer", ADDRESS),
        (b"direction", Choice(Direction)),
    ]


class SentWhole(TunnelCommand):
    """The file that is under way in a session was sent whole (EFID); its receiver has not answered that yet."""

    arguments = [(b"session", SESSION), (b"octets", Number()), (b"records", Number())]


class Over(TunnelCommand):
    """A session is over, and all of it has been told."""

    arguments = [(b"session", SESSION)]


class WishLevel(TunnelCommand):
    """A signal wants the sessions of the worker to be logged at this level."""

    arguments = [(b"level", ChoiceByName(Severity)), (b"signal", Number(64))]


class TellEvents(TunnelCommand):
    """Events of the worker: for the log as far as the levels say so, and for the backend."""

    arguments = [(b"events", Records())]


SUPERVISOR_ASKS: Final = frozenset({SetLevels, EndSession, Portraits, Leave, Ping})
WORKER_ASKS: Final = frozenset({Began, SentWhole, Over, WishLevel, TellEvents, Ping})


def directions(
    supervisor: Iterable[type[TunnelCommand]] = (), worker: Iterable[type[TunnelCommand]] = ()
) -> Directions:
    """The table of a daemon: the words of this module, and its own."""
    return {
        (Post.SUPERVISOR, TunnelPhase.BEFORE_HELLO): frozenset({Start}),
        (Post.WORKER, TunnelPhase.BEFORE_HELLO): frozenset(),
        (Post.SUPERVISOR, TunnelPhase.READY): SUPERVISOR_ASKS | frozenset(supervisor),
        (Post.WORKER, TunnelPhase.READY): WORKER_ASKS | frozenset(worker),
    }


def by_name(table: Directions) -> Mapping[bytes, type[TunnelCommand]]:
    """Every command of a table by its name on the wire."""
    return {command.commandName: command for commands in table.values() for command in commands}
