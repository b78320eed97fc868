"""``twistd smartproxy-plain-server`` and its switches.

NAME
    smartproxy-plain-server - the plain pair's daemon in the DMZ

SYNOPSIS
    twistd [twistd's options] smartproxy-plain-server [-i [ip:]port] [-e [ip:]port] [-l FILE] | -L | -V

SECURITY
    Inspects nothing: for OFTP2 smartproxy-server is the better answer. Without a good licence it does not start, and
    without a client nothing but its internal port is open.
"""

from twisted.application.service import IService

from smartproxy.logs.severity import Severity
from smartproxy.plain.condition import PlainServerCondition
from smartproxy.plain.destinations import Permit
from smartproxy.plain.server import PlainServerService
from smartproxy.policy.addresses import listening_address
from smartproxy.policy.limits import DRAIN
from smartproxy.tap.daemon import DaemonOptions
from smartproxy.tap.licensed import LicensedOptions
from smartproxy.tap.life import SWITCH, daemon_reactor, life_of

INTERNAL_PORT = 65432
EXTERNAL_PORT = 6619
IDLE_SECONDS = 180
IDLE_SECONDS_MOST = 86_400

TIMEOUT: list[str | None] = ["timeout", "T", str(IDLE_SECONDS), "close a connection after so many seconds without data"]
PLAIN_FLAGS = [
    ["debug", "d", "stay in the foreground and log more: debug is the usual level then"],
    ["trace", "t", "stay in the foreground and log everything"],
]


class PlainServerSwitches(LicensedOptions):
    """The switches of smartproxy-plain-server."""

    program = "smartproxy-plain-server"
    synopsis = "[twistd options] smartproxy-plain-server [options]"
    longdesc = (
        "Carries any TCP protocol from the DMZ to the smartproxy-plain-client that dialled in, and inspects nothing. "
        "The external port is open only while a client is connected."
    )

    optParameters = [
        ["internal", "i", str(INTERNAL_PORT), "listen for the client at [ip:]port"],
        [
            "external",
            "e",
            str(EXTERNAL_PORT),
            "listen for connections from outside at [ip:]port, while a client is connected",
        ],
        TIMEOUT,
        SWITCH,
    ]
    optFlags = PLAIN_FLAGS

    def __init__(self) -> None:
        super().__init__()
        self.permitted: list[str] = []

    def opt_permit(self, value: str) -> None:
        """HOST:PORT that clients may reach; *.example, networks and port * work; repeat it [none]"""
        self.judged("--permit", lambda text: Permit.of([text]), value)
        self.permitted.append(value)

    def postOptions(self) -> None:
        """Judge the switches."""
        plain_level(self)
        super().postOptions()
        self.internal = self.judged("--internal", listening_address, self["internal"])
        self.external = self.judged("--external", listening_address, self["external"])
        self.seconds = self.judged("--timeout", idle_seconds, self["timeout"])


Options = PlainServerSwitches
"""The name under which twistd looks for the switches."""


def makeService(options: PlainServerSwitches) -> IService:
    """The daemon, constructed but not started."""
    reactor = daemon_reactor()
    service = PlainServerService(
        reactor,
        identity=options.identity,
        licence=options.licence,
        licence_path=options.licence_path,
        internal=options.internal,
        external=options.external,
        permit=Permit.of(options.permitted),
        seconds=options.seconds,
        drain=DRAIN.default if options.drain is None else options.drain,
    )
    return life_of(reactor, service, PlainServerCondition(service), options)


def plain_level(options: DaemonOptions) -> None:
    """``-d`` logs at DEBUG where no level is given, and ``-t`` at TRACE; both stay in the foreground."""
    if options["debug"] or options["trace"]:
        options["foreground"] = 1
    if options["debug"]:
        options.usual_level = Severity.DEBUG
    if options["trace"]:
        options["log-level"] = "trace"


def idle_seconds(text: str) -> int:
    """A time-out.

    :raises ValueError: when it is not a whole number of seconds in range.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > 5 or not 1 <= int(text) <= IDLE_SECONDS_MOST:
        raise ValueError(f"{text!r} is not a number of seconds from 1 to {IDLE_SECONDS_MOST}")
    return int(text)
