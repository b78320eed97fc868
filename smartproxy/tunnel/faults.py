"""How the tunnel reports a bug of ours, in its own code or in the daemon that uses it."""

from twisted.python.failure import Failure

from smartproxy.logs.emit import describe
from smartproxy.tunnel.interfaces import Emit


def report(emit: Emit, place: str, failure: Failure) -> None:
    """Emit ``internal.error``: the exception's class and where it was raised, without any octet of a peer."""
    told = describe(failure)
    emit("internal.error", place=place, exception=told.exception, frames=told.frames, message=told.message)
