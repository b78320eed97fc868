"""Why a destination cannot be reached, on its way through the tunnel to the program that asked for it.

A fault travels from one daemon to the other as one sentence; the trouble stands in front of it, in words of ours.
"""

from twisted.internet.error import ConnectionRefusedError, DNSLookupError, NoRouteError, TCPTimedOutError, TimeoutError

from smartproxy.net.proxying.ways import ConnectFailure
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import StationUnreachable

RULE = Cause.OUTBOUND_CONNECT


def of_error(error: Exception) -> ConnectFailure:
    """The trouble that an error of dialling means."""
    match error:
        case DNSLookupError() | ValueError():
            return ConnectFailure.NO_NAME
        case NoRouteError():
            return ConnectFailure.NO_ROUTE
        case TimeoutError() | TCPTimedOutError():
            return ConnectFailure.TIMED_OUT
        case ConnectionRefusedError():
            return ConnectFailure.REFUSED
    return ConnectFailure.NO_ROUTE


def fault_of(trouble: ConnectFailure, detail: str) -> StationUnreachable:
    """The fault that travels.

    :param detail: what exactly, for the operators' logs.
    """
    return StationUnreachable(rule=RULE, message=f"{trouble.value}: {detail}")


def of_text(text: str) -> ConnectFailure:
    """The trouble in a fault that arrived."""
    word = text.partition(":")[0]
    return next((trouble for trouble in ConnectFailure if trouble.value == word), ConnectFailure.REFUSED)
