"""``python -m smartproxy.testing``: stations, partners, certificates and the demonstration from the command line.

NAME
    smartproxy.testing - an OFTP2 station, an OFTP2 partner, certificates, and a demonstration of SmartProxy

SYNOPSIS
    python -m smartproxy.testing station|partner|certificates|demo [options]

EXIT STATUS
    partner: 0 if every session ended normally and every file was accepted, else 1; demo: 0 if every line is as it
    should be, else 1; 2 for a wrong command line; 74 if what is printed cannot be written, or standard output is
    closed.
"""

import argparse
import contextlib
import fnmatch
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn

from OpenSSL import SSL
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.task import react

from smartproxy.logs.output import to_standard_output
from smartproxy.net.listeners import what_to_do
from smartproxy.oftp2.errors import EsidReason
from smartproxy.policy.addresses import HostPort
from smartproxy.testing import arguments
from smartproxy.testing.certificates import FolderNotEmpty, write_certificates
from smartproxy.testing.events import EndResponse, FileSent
from smartproxy.testing.journal import Journal, Listening
from smartproxy.testing.partner import PartnerCall, TestPartner
from smartproxy.testing.station import TestStation
from smartproxy.testing.tls import TestContext, TlsVersion
from smartproxy.testing.user_monitor import PROCESSING_FAILED, Response, UserMonitor
from smartproxy.testing.virtual_file import FileIdentity


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = arguments.KitCommandLine(
        prog="python -m smartproxy.testing",
        description="OFTP2 stations and partners for trying and testing OFTP2 programs and SmartProxy.",
    )
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    raw = argparse.RawDescriptionHelpFormatter

    station = commands.add_parser(
        "station",
        help="listen, accept files, and send waiting files",
        description="Listen as an OFTP2 station: accept every file, and send partners the files that wait for them.",
        epilog=arguments.SPECIFICATION,
        formatter_class=raw,
    )
    station.add_argument(
        "--listen",
        type=arguments.address,
        default=HostPort("127.0.0.1", 3305),
        metavar="HOST:PORT",
        help="[127.0.0.1:3305]",
    )
    arguments.add_entity(station)
    station.add_argument(
        "--send",
        nargs=2,
        action="append",
        default=[],
        metavar=("CODE", "FILE"),
        help="a file that waits for the partner with this code; may be repeated",
    )
    station.add_argument(
        "--nerp",
        default="",
        metavar="PATTERN",
        help="answer files whose dataset name matches with NERP, such as '*BAD'",
    )
    station.set_defaults(run=_station)

    partner = commands.add_parser(
        "partner",
        help="call a station or a SmartProxy, send files and receive waiting ones",
        description="Call as an OFTP2 partner: send files, receive the files that wait, and print what happened.",
        epilog=arguments.SPECIFICATION,
        formatter_class=raw,
    )
    partner.add_argument(
        "--connect", type=arguments.address, required=True, metavar="HOST:PORT", help="address to call"
    )
    arguments.add_entity(partner)
    partner.add_argument("--tls", choices=[version.value for version in TlsVersion], help="only this TLS version")
    partner.add_argument("--no-tls", action="store_true", help="plain TCP")
    partner.add_argument("--station-code", required=True, metavar="CODE", help="SSIDCODE of the station that is called")
    partner.add_argument("--send", action="append", default=[], metavar="FILE", help="a file to send; may be repeated")
    partner.add_argument(
        "--sessions",
        type=arguments.whole(1, 999),
        default=1,
        metavar="N",
        help="sessions at the same time; the files are distributed over them [1]",
    )
    partner.set_defaults(run=_partner)

    certificates = commands.add_parser(
        "certificates",
        help="make certificates to try SmartProxy with",
        description="Write the certificates of a site, a CA, a good, a revoked and an expired partner, and a stranger.",
    )
    certificates.add_argument("folder", type=Path, metavar="FOLDER", help="a new or empty folder")
    certificates.set_defaults(run=_certificates)

    demo = commands.add_parser(
        "demo",
        help="show SmartProxy at work",
        description="Run a whole site with its partners on this machine, send files through it, and attack it.",
    )
    demo.add_argument(
        "--folder", type=Path, default=Path(".demo"), metavar="FOLDER", help="folder for all its files [.demo]"
    )
    demo.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C, and say how to call it")
    demo.set_defaults(run=_demo)
    return found


class _Printed:
    """What a station or a partner prints while the reactor runs: it ends when that cannot be written any more."""

    def __init__(self, as_json: bool) -> None:
        self.journal = Journal(as_json, lost=self._end)
        self._error: OSError | None = None

    def react(self, run: Callable[[Any], Coroutine[Any, Any, object]]) -> NoReturn:
        """Run the reactor.

        :raises OSError: if something could not be printed.
        :raises SystemExit: otherwise, at the end.
        """
        try:
            react(run)
        finally:
            if self._error is not None:
                raise self._error from None

    def _end(self, error: OSError) -> None:
        from twisted.internet import reactor

        if self._error is None:
            self._error = error
            # It may not run yet, or be about to end.
            reactor.callWhenRunning(_stop, reactor)


def _stop(reactor: Any) -> None:
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


def _station(given: argparse.Namespace) -> None:
    printed = _Printed(given.json)
    journal = printed.journal

    def respond(identity: FileIdentity) -> Response:
        if fnmatch.fnmatchcase(identity.dataset, given.nerp):
            return Response(
                identity=identity, kind=EndResponse.NERP, reason=PROCESSING_FAILED, text="Cannot be processed"
            )
        return Response(identity=identity)

    monitor = UserMonitor(arguments.store(given), respond=respond)
    for code, text in given.send:
        monitor.queue(code, [arguments.virtual_file(text, originator=given.code, destination=code)])
    context = _context(given) if given.certificate else None
    at: HostPort = given.listen

    async def run(reactor: Any) -> None:
        station = TestStation(reactor, arguments.settings(given), monitor, observe=journal.note, context=context)
        endpoint = TCP6ServerEndpoint if ":" in at.host else TCP4ServerEndpoint
        try:
            address: Any = await station.listen(endpoint(reactor, at.port, interface=at.host))
        except CannotListenError as error:
            _end(what_to_do(error))
        journal.note(0, Listening(host=address.host, port=address.port, pid=os.getpid()))
        reactor.addSystemEventTrigger("before", "shutdown", station.stop)
        await Deferred()

    printed.react(run)


def _partner(given: argparse.Namespace) -> None:
    printed = _Printed(given.json)
    journal = printed.journal
    context = None if given.no_tls else _context(given)
    store = arguments.store(given)
    files = [arguments.virtual_file(text, given.code, given.station_code) for text in given.send]

    async def run(reactor: Any) -> None:
        calls = []
        for number in range(given.sessions):
            monitor = UserMonitor(store)
            monitor.queue(given.station_code, files[number :: given.sessions])
            partner = TestPartner(
                reactor,
                HostnameEndpoint(reactor, given.connect.host, given.connect.port),
                arguments.settings(given),
                monitor,
                observe=lambda event, number=number: journal.note(number + 1, event),  # type: ignore[misc]  # mypy cannot infer it
                context=context,
            )
            calls.append(partner.call())
        try:
            outcomes: list[PartnerCall] = await gatherResults(calls, consumeErrors=True)
        except FirstError as error:
            _end(f"cannot connect: {error.subFailure.getErrorMessage()}")
        for number, outcome in enumerate(outcomes, 1):
            journal.note(number, outcome.closed)
        sent = sum(len(outcome.reported(FileSent)) for outcome in outcomes)
        normal = all(outcome.ended and outcome.ended.reason is EsidReason.NORMAL for outcome in outcomes)
        raise SystemExit(0 if normal and sent == len(files) else 1)

    printed.react(run)


def _end(message: str) -> NoReturn:
    sys.stderr.write(f"python -m smartproxy.testing: {message}\n")
    raise SystemExit(1)


def _certificates(given: argparse.Namespace) -> None:
    try:
        for name, meaning in write_certificates(given.folder):
            print(f"{given.folder / name}  {meaning}")
    except FolderNotEmpty as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except OSError as error:
        if error.filename is None:
            raise  # of standard output
        raise argparse.ArgumentTypeError(f"{error.filename}: {error.strerror}") from None


def _demo(given: argparse.Namespace) -> None:
    from smartproxy.testing.demo.course import FolderInUse, run

    try:
        sys.exit(run(given.folder, given.keep))
    except FolderInUse as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _context(given: argparse.Namespace) -> TestContext:
    version = TlsVersion(given.tls) if getattr(given, "tls", None) else None
    try:
        return TestContext(certificate=given.certificate, key=given.key, authorities=tuple(given.ca), version=version)
    except SSL.Error:
        files = ", ".join(map(str, filter(None, [given.certificate, given.key, *given.ca])))
        raise argparse.ArgumentTypeError(
            f"--certificate, --key and --ca: {files}: missing, not in PEM, or a key that is not the certificate's"
        ) from None


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command."""
    if status := to_standard_output("python -m smartproxy.testing", lambda: _run(argv)):
        sys.exit(status)


def _run(argv: Sequence[str] | None) -> int:
    command_line = parser()
    given = command_line.parse_args(argv)
    try:
        given.run(given)
    except argparse.ArgumentTypeError as error:
        command_line.error(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    main()
