"""``twistd smartproxy-plain-client`` and its switches.

NAME
    smartproxy-plain-client - the plain pair's daemon inside

SYNOPSIS
    twistd [twistd's options] smartproxy-plain-client --credential FILE -e host[:port] [-i [host:]port] [-Q [ip:]port]

SECURITY
    Its credential is a file from the site's authority; it speaks to the servers named in it and to no others.
"""

import os
import stat
from pathlib import Path

from twisted.application.service import IService

from smartproxy.net import files
from smartproxy.plain.client import Outgoing, PlainClientService
from smartproxy.plain.condition import PlainClientCondition
from smartproxy.policy.addresses import HostPort, called_address, listening_address
from smartproxy.policy.credential import FILE_OCTETS_MOST, PlainCredential, read
from smartproxy.policy.limits import DRAIN, STATION_RETRY
from smartproxy.tap.daemon import DRAIN_SWITCH, DaemonOptions, within
from smartproxy.tap.life import SWITCH, daemon_reactor, life_of
from smartproxy.tap.plain_server import (
    EXTERNAL_PORT,
    INTERNAL_PORT,
    PLAIN_FLAGS,
    TIMEOUT,
    idle_seconds,
    plain_level,
)

OUTGOING_PORT = 65433
_LOCAL = "127.0.0.1"
_CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"


class PlainClientSwitches(DaemonOptions):
    """The switches of smartproxy-plain-client."""

    program = "smartproxy-plain-client"
    synopsis = "[twistd options] smartproxy-plain-client --credential FILE -e host[:port] [options]"
    longdesc = (
        "Dials smartproxy-plain-server in the DMZ, connects callers from outside to one target inside, and lets "
        "programs inside reach permitted destinations by HTTP CONNECT, SOCKS5 or a forwarding port."
    )

    optParameters = [
        DRAIN_SWITCH,
        ["credential", "c", None, "file made with: smartproxy authority issue-client NAME -o FILE"],
        ["server", "e", None, f"host[:port] of the smartproxy-plain-server [port {INTERNAL_PORT}]"],
        ["target", "i", f"localhost:{EXTERNAL_PORT}", "[host:]port that connections from outside go to"],
        [
            "outgoing",
            "Q",
            f"{_LOCAL}:{OUTGOING_PORT}",
            "listen for programs inside at [ip:]port (CONNECT, SOCKS5); 0: never",
        ],
        [
            "retry",
            None,
            str(STATION_RETRY.default),
            "connect to the target at the start, and so many seconds after that failed, though nobody calls; 0: never",
        ],
        TIMEOUT,
        SWITCH,
    ]
    optFlags = PLAIN_FLAGS

    def __init__(self) -> None:
        super().__init__()
        self.outgoing: list[Outgoing] = []

    def opt_forward(self, value: str) -> None:
        """[ip:]port=host:port, a port inside and the destination outside that it leads to; may be repeated"""
        self.outgoing.append(self.judged("--forward", _forwarding, value))

    def postOptions(self) -> None:
        """Judge the switches and read the credential."""
        plain_level(self)
        super().postOptions()
        if not self["credential"]:
            self.wrong("--credential is missing: the file from `smartproxy authority issue-client NAME -o FILE`")
        if not self["server"]:
            self.wrong(f"--server is missing: the plain server in the DMZ, such as dmz.example:{INTERNAL_PORT}")
        self.credential = self.judged("--credential", _credential, self["credential"])
        self.server = self.judged(
            "--server", lambda text: called_address(text, default_port=INTERNAL_PORT), self["server"]
        )
        self.target = self.judged("--target", _target, self["target"])
        self.seconds = self.judged("--timeout", idle_seconds, self["timeout"])
        self.retry = self.judged("--retry", lambda text: within(text, STATION_RETRY), self["retry"])
        if self["outgoing"] != "0":
            at = self.judged("--outgoing", listening_address, self["outgoing"])
            self.outgoing.insert(0, Outgoing(HostPort(at.host or _LOCAL, at.port)))


def _credential(path: str) -> PlainCredential:
    """The credential in a file that nobody else can read.

    :raises ValueError: when it cannot be used, and why.
    """
    try:
        status = os.stat(path)
        text = files.read(Path(path), FILE_OCTETS_MOST).decode("utf-8", "replace")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    # What systemd hands over is the daemon's alone, though the access list that says so shows as the group's rights.
    handed_over = os.environ.get(_CREDENTIALS_VARIABLE) == str(Path(path).parent)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISREG(status.st_mode) and mode & 0o077 and not handed_over:
        raise ValueError(f"{path}: others may read it (mode {mode:04o}); run: chmod 600 {path}")
    return read(text)


def _target(text: str) -> HostPort:
    """``port``, ``:port`` or ``host:port``; a port alone is on this machine."""
    port = text.removeprefix(":")
    return called_address(f"localhost:{port}" if port.isdecimal() else text, default_port=EXTERNAL_PORT)


def _forwarding(text: str) -> Outgoing:
    """``[ip:]port=host:port``.

    :raises ValueError: when it is not.
    """
    here, equals, there = text.partition("=")
    if not equals or ":" not in there:
        raise ValueError(f"{text!r}: right is [ip:]port=host:port, such as 2222=sftp.example:22")
    at, to = listening_address(here), called_address(there)
    return Outgoing(HostPort(at.host or _LOCAL, at.port), to)


Options = PlainClientSwitches
"""The name under which twistd looks for the switches."""


def makeService(options: PlainClientSwitches) -> IService:
    """The daemon, constructed but not started."""
    reactor = daemon_reactor()
    service = PlainClientService(
        reactor,
        credential=options.credential,
        server=options.server,
        target=options.target,
        outgoing=options.outgoing,
        seconds=options.seconds,
        retry=options.retry,
        drain=DRAIN.default if options.drain is None else options.drain,
    )
    return life_of(reactor, service, PlainClientCondition(service), options)
