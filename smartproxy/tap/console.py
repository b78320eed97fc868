"""The console programs ``smartproxy-server`` and so on: the daemons without twistd's own switches.

They take the same switches as the twistd plugins, and start as those do: :mod:`smartproxy.tap.launch`.
"""

import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.application.service import IService, IServiceMaker
from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]  # It is there, but not listed.
from zope.interface import implementer

from smartproxy.logs.output import WRONG_USE
from smartproxy.tap.daemon import DaemonOptions
from smartproxy.tap.extras import end_without
from smartproxy.tap.launch import fill_standard_files


def server_main() -> None:
    """Run ``smartproxy-server``."""
    _daemon("server", "ServerSwitches")


def client_main() -> None:
    """Run ``smartproxy-client``; without any switch, show them all."""
    _daemon("client", "ClientSwitches", show_all=True)


def backend_main() -> None:
    """Run ``smartproxy-backend``."""
    _daemon("backend", "BackendSwitches")


def plain_server_main() -> None:
    """Run ``smartproxy-plain-server``."""
    _daemon("plain_server", "PlainServerSwitches")


def plain_client_main() -> None:
    """Run ``smartproxy-plain-client``; without any switch, show them all."""
    _daemon("plain_client", "PlainClientSwitches", show_all=True)


def _daemon(name: str, switches: str, *, show_all: bool = False) -> None:
    """Run a daemon; its module is imported only here, because each needs other libraries.

    :param name: its module.
    :param switches: the class of its switches.
    :param show_all: whether it cannot do without switches: given none, it shows them all.
    """
    fill_standard_files()
    program = f"smartproxy-{name.replace('_', '-')}"
    try:
        module = importlib.import_module(f"smartproxy.tap.{name}")
    except ModuleNotFoundError as error:
        end_without(error, program)
    options = getattr(module, switches)()
    if show_all and len(sys.argv) == 1:
        with contextlib.suppress(OSError, AttributeError):
            sys.stderr.write(f"{options}\n")
        raise SystemExit(WRONG_USE)
    _run(options, module.makeService, sys.argv[1:])


@implementer(IServiceMaker)
@attrs.frozen
class _Maker:
    """What twistd's runner makes the daemon with: its switches were read already."""

    tapname: str
    description: str
    options: type[DaemonOptions]
    makeService: Callable[[Any], IService]


def _run(options: DaemonOptions, make: Callable[[Any], IService], words: Sequence[str]) -> None:
    options.parseOptions(list(words))
    config = ServerOptions()
    config.parseOptions(["--no_save"])
    options.launch.take_over(config)
    config["logger"] = options.observer
    config.subCommand, config.subOptions = options.program, options
    config.loadedPlugins = {options.program: _Maker(options.program, "", type(options), make)}
    try:
        runApp(config)
    finally:
        options.launch.over()
