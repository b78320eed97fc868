"""What can go wrong in the tunnel.

Faults that one daemon tells the other travel as AMP errors: their message is for the operator and holds nothing that a
partner sent. A :class:`Violation` is never told to the peer: it ends the tunnel. What a session is told stands in
:mod:`smartproxy.oftp2.errors`.
"""

import attrs
from twisted.python.failure import Failure

from smartproxy.logs.emit import describe
from smartproxy.policy.faults import OwnFault
from smartproxy.tunnel.interfaces import Emit


class TunnelFault(Exception):
    """Base of what one daemon tells the other; the only argument is one sentence for the operator."""


class QuestionFailed(TunnelFault):
    """The other daemon could not do what it was asked, for a reason that it keeps in its own log."""


class QuestionExpired(TunnelFault):
    """The other daemon did not answer in time."""


class NotNow(TunnelFault):
    """What was to be asked may not be asked in this phase of the tunnel, by the direction table."""


class VersionsIncompatible(TunnelFault):
    """The two daemons cannot work together; the message names both versions and what to update."""


class NameTaken(TunnelFault):
    """A client of this name is connected already and answers."""


class ConfigurationDeclined(TunnelFault):
    """The server does not take this generation; the one before stays in force."""


class OpeningFailed(TunnelFault):
    """The far daemon could not open its side of a session: station or partner not reachable, or nothing left."""


class OpenTimeout(OwnFault):
    """The other side of a session was not opened in time."""


@attrs.frozen
class Violation(Exception):
    """The peer did what the tunnel's rules do not allow.

    :ivar cause: a stable word such as ``box.keys`` or ``command.forbidden``.
    :ivar detail: one sentence; peer text in it is quoted.
    :ivar command: the name of the command it was about, from our own vocabulary.
    """

    cause: str
    detail: str
    command: str | None = None

    def __str__(self) -> str:
        return f"{self.detail} [{self.cause}]"


def report(emit: Emit, place: str, failure: Failure) -> None:
    """Emit ``internal.error``: the exception's class and where it was raised, without any octet of a peer."""
    told = describe(failure)
    emit("internal.error", place=place, exception=told.exception, frames=told.frames, message=told.message)
