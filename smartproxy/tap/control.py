"""The control socket of a daemon's process: where it is, and what the process says and does for it."""

import os
from pathlib import Path
from typing import Any, Protocol

from smartproxy.ctl.actions import Actions
from smartproxy.ctl.daemon import Condition, Facts, moment
from smartproxy.ctl.listener import ControlSocket
from smartproxy.ctl.protocol import Refused
from smartproxy.policy.places import SOCKET_SUFFIX
from smartproxy.tap.daemon import DaemonOptions
from smartproxy.tap.signals import Signals

SWITCH = ["ctl-socket", None, None, "UNIX socket for `smartproxy ctl` [PROGRAM.sock in the state folder]"]
"""The switch of the daemons that have a control socket."""


class Drainable(Protocol):
    """A daemon's service."""

    drain_seconds: int | None

    def hurry(self) -> None:
        """Wait for sessions no longer; end them."""


class DaemonProcess:
    """This process.

    :param pid_file: where its number is, if anywhere.
    """

    def __init__(self, reactor: Any, service: Drainable, signals: Signals, pid_file: Path | None) -> None:
        self._reactor = reactor
        self._service = service
        self._signals = signals
        self._pid_file = pid_file
        self._begun = reactor.seconds()

    def facts(self) -> Facts:
        """Its number, its PID file and whether that holds its number, since when it runs."""
        return {
            "pid": os.getpid(),
            "pid_file": None if self._pid_file is None else str(self._pid_file),
            "pid_file_right": None if self._pid_file is None else _number_in(self._pid_file) == os.getpid(),
            "started": moment(self._begun),
            "uptime": round(self._reactor.seconds() - self._begun),
        }

    def drain(self, seconds: int | None) -> None:
        """End it by draining; told again with 0 seconds, end the sessions now.

        :raises Refused: when it drains already.
        """
        if seconds is not None:
            self._service.drain_seconds = seconds
        if self._signals.drain():
            return
        if seconds != 0:
            raise Refused("it drains already; with 0 seconds its sessions are ended now")
        self._service.hurry()


def _number_in(path: Path) -> int | None:
    try:
        text = path.read_text("ascii", "replace").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def control_socket(reactor: Any, condition: Condition, service: Drainable, options: DaemonOptions) -> ControlSocket:
    """The control socket that the switches ask for; not open yet."""
    if options.parent is None:
        pid_file: Path | None = options.pid_file
    else:
        given = options.parent.get("pidfile")
        pid_file = Path(given).absolute() if given else None
    path = Path(options["ctl-socket"] or options.state_directory / f"{options.program}{SOCKET_SUFFIX}").absolute()
    process = DaemonProcess(reactor, service, options.signals, pid_file)
    return ControlSocket(reactor, path, Actions(reactor, condition, process))
