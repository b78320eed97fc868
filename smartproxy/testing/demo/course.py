"""The course of the demonstration: set up, files, attacks, operations, tables, and nothing left behind."""

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from smartproxy.testing.demo import attacks, operations, transfers
from smartproxy.testing.demo.attacks import Attempt, Event, attempt, read_events
from smartproxy.testing.demo.display import Display, table
from smartproxy.testing.demo.files import REJECTED, SourceFile, medium, one_of_each, rejected, some
from smartproxy.testing.demo.operations import DemoOperation, outgoing_call, renewal_and_drain
from smartproxy.testing.demo.partners import DemoPartner, Partners, introduce
from smartproxy.testing.demo.transfers import DemoEnds, DemoTransfer, compare, follow, settle
from smartproxy.testing.programs import ProgramFailed
from smartproxy.testing.site import SMARTPROXY, Site

MARK = ".smartproxy-demo"
SESSIONS = 8
WRONG = 1
INTERRUPTED = 130
NOT_SHOWN = 74
"""Exit status when standard output takes no more (EX_IOERR of sysexits.h)."""


PAGE = """
The page was at {address} (user {user}, password {password}).
Look at it with all of this in it: make demo KEEP=1"""
"""What is said of the page where it ends with the demonstration."""
KEPT_PAGE = """
Look at the page, with all of this in it: {address}
  user {user}, password {password}; its certificate is of the authority in {anchor}"""
"""The same where it goes on."""
PAGE_USER = "guide"
YOURSELF = """
Now do it yourself: the section "Try it on one machine" of README.md has the commands to copy and paste.
The certificates of this demonstration are in {certificates};
python -m smartproxy.testing certificates FOLDER makes new ones, as that section does."""
"""What the demonstration says at its end."""


class FolderInUse(Exception):
    """The folder holds files that no demonstration wrote; the message says so."""


def prepare(folder: Path) -> None:
    """Make the folder, or empty the one of an earlier demonstration.

    :raises FolderInUse: if it holds files of anything else, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderInUse(f"{folder}: {error.strerror}; choose another with --folder") from None
    mark = folder / MARK
    if not mark.exists() and any(folder.iterdir()):
        raise FolderInUse(f"{folder} is not empty and not of an earlier demonstration; choose another with --folder")
    mark.touch()
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != mark:
            path.unlink()


def run(folder: Path, keep: bool) -> int:
    """Show it all; gives the exit status.

    :param keep: leave it running until Ctrl-C.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    if sys.stdout is None:
        # The next file that is opened would take its place.
        return _not_shown("standard output is closed; nothing was done")
    prepare(folder)
    course = Course(reactor, folder, Display())

    def begin() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: reactor.callFromThread(course.finish))
        course.begin(keep).addBoth(course.over)

    reactor.addSystemEventTrigger("before", "shutdown", course.stop)
    reactor.callWhenRunning(begin)
    reactor.run()
    return course.status


def _not_shown(message: str) -> int:
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(f"demo: {message}\n")
    return NOT_SHOWN


class Course:
    """One demonstration.

    :ivar display: where it is shown.
    :ivar interrupted: whether it was ended from outside, by Ctrl-C for one.
    :ivar status: the exit status.
    """

    def __init__(self, reactor: Any, folder: Path, display: Display) -> None:
        self.display = display
        self.interrupted = False
        self.status = INTERRUPTED
        self._reactor = reactor
        self._site = Site(reactor, folder, say=display.step)
        self._transfers: list[DemoTransfer] = []
        self._attempts: list[Attempt] = []
        self._operations: list[DemoOperation] = []
        self._bugs: list[Event] = []
        self._calls = 0
        self._password = secrets.token_urlsafe(12)
        self._showing: Deferred[None] | None = None
        self._finished = False

    def begin(self, keep: bool) -> Deferred[None]:
        """Show it all; fires when it is over."""
        self._showing = Deferred.fromCoroutine(self._show(keep))
        return self._showing

    async def _show(self, keep: bool) -> None:
        begun = self._reactor.seconds()
        partners, there, back = await self._set_up()
        await self._happy_half(partners, there, back)
        await self._call_out(partners.acme)
        await self._hostile_half(partners)
        await self._operate(partners.acme)
        right = self._tables()
        self.display.print(
            f"\n{'Every line is as it should be' if right else 'Something is WRONG'} "
            f"({self._reactor.seconds() - begun:.0f} seconds; logs in {self._site.logs})."
        )
        self.display.print(YOURSELF.format(certificates=self._site.certificates))
        self.status = 0 if right else WRONG
        self.display.print(
            (KEPT_PAGE if keep else PAGE).format(
                address=f"https://127.0.0.1:{self._site.backend_port}/",
                user=PAGE_USER,
                password=self._password,
                anchor=self._site.certificates / "backend.crt",
            )
        )
        if keep:
            await self._keep(partners.acme)
        await self._site.stop()
        for name in ("files", "station", "partners"):
            shutil.rmtree(self._site.folder / name)

    def over(self, result: Failure | None) -> None:
        """Say how it ended, and have the reactor stop, whether or not anybody can be told."""
        try:
            self._tell_end(result)
        except (OSError, ValueError) as error:
            self.status = _not_shown(f"cannot write to standard output: {error}")
            # The interpreter must not complain when it flushes at the end, nor must what follows.
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self.display.out.fileno())
                os.close(null)
        finally:
            if not self.interrupted:
                self.finish()

    def finish(self) -> None:
        """Have the reactor stop; whoever asks again, by Ctrl-C for one, waits for the same end."""
        if not self._finished:
            self._finished = True
            self._reactor.stop()

    def _tell_end(self, result: Failure | None) -> None:
        if self.interrupted:
            self.display.print("ended" if self.status == 0 else "interrupted")
        elif isinstance(result, Failure):
            self.status = WRONG
            self.display.print(f"the demonstration failed: {result.getErrorMessage()}")
            if not result.check(ProgramFailed):
                self.display.print(result.getTraceback())

    def stop(self) -> Deferred[None]:
        """End all processes, and what is being shown."""
        self.interrupted = True
        if self._showing is not None:
            self._showing.cancel()
        return Deferred.fromCoroutine(self._site.stop())

    async def _set_up(self) -> tuple[Partners, list[SourceFile], list[SourceFile]]:
        """Make files, site and partners, and start everything."""
        site = self._site
        self._files = site.folder / "files"
        self._files.mkdir()
        making = deferToThread(self._make_files)
        await site.create()
        self.display.step("adding a user of the page")
        await self._add_user()
        self.display.step("adding the partners ACME and BOLT, a CA and its revocation list")
        partners = await introduce(site)
        there, back = await making
        self.display.step("starting the station")
        await site.start_station(
            waiting=[(partners.acme.code, file.specification()) for file in back], nerp=f"*{REJECTED}"
        )
        await site.start()
        self.display.print("\nThe site was set up with these commands:\n")
        for command in site.commands:
            self.display.print(f"  {command.replace(str(site.folder), site.folder.name)}")
        self.display.print()
        return partners, there, back

    async def _add_user(self) -> None:
        """Add an administrator with a password that nobody has."""
        file = self._site.folder / "page.password"
        file.touch(mode=0o600)
        file.write_text(self._password + "\n")
        add = ("user", "add", PAGE_USER, "--role", "administrator")
        await self._site.smartproxy(*add, "--password-file", str(file))

    def _make_files(self) -> tuple[list[SourceFile], list[SourceFile]]:
        """The files that ACME sends to the station, and the station to ACME."""
        there = [rejected(self._files, "ACME"), *one_of_each(self._files, "ACME")]
        return there, one_of_each(self._files, "MUSTER")

    async def _call(self, title: str, partner: DemoPartner, files: Sequence[str], *more: str) -> DemoEnds:
        """Let a partner call in a process of its own."""
        site = self._site
        assert site.station is not None
        self.display.step(title)
        sends = [word for file in files for word in ("--send", file)]
        self._calls += 1
        program = site.partner(
            f"partner-{self._calls}",
            ["--json", "--inbox", str(site.folder / "partners"), "--tls", partner.tls, *more, *sends],
            code=partner.code,
            files=partner.files,
        )
        await follow(self._reactor, self.display, program)
        await settle(self._reactor, site.station)
        return DemoEnds(program.records, site.station.records)

    async def _happy_half(self, partners: Partners, there: list[SourceFile], back: list[SourceFile]) -> None:
        """Files both ways in one session; one broken off and restarted; eight sessions at once."""
        acme, bolt = partners.acme, partners.bolt
        ends = await self._call(
            "ACME sends one file of each kind and takes as many from the station, in one session",
            acme,
            [file.specification() for file in there],
        )
        for files, outgoing in ((there, False), (back, True)):
            for file in files:
                response = "NERP" if file.dataset.endswith(REJECTED) else "EERP"
                self._transfers.append(compare(ends, file, partner=acme.name, outgoing=outgoing, response=response))

        (text,) = [file for file in there if file.dataset == "ACME-TEXT"]
        packed = attrs.evolve(text, dataset="BOLT-TEXT")
        secure = ("--authentication", "yes")
        ends = await self._call(
            "BOLT, after secure authentication, sends a text in compressed buffers",
            bolt,
            [packed.specification()],
            "--compression",
            *secure,
        )
        self._transfers.append(compare(ends, packed, partner=bolt.name, outgoing=False, result="compressed, "))

        (large,) = medium(self._files, "BOLT-BROKEN", 1)
        ends = await self._call(
            "BOLT breaks off in the middle of a file",
            bolt,
            [large.specification(**{"break": large.octets // 2})],
            *secure,
        )
        position = max((record["position"] for record in ends.partner if record["event"] == "FileBroken"), default=0)
        ends = await self._call(
            f"BOLT restarts the file at block {position}", bolt, [large.specification(restart=position)], *secure
        )
        begun = max((record["from_position"] for record in ends.partner if record["event"] == "FileStarted"), default=0)
        restarted = compare(
            ends, large, partner=bolt.name, outgoing=False, result=f"restarted at block {begun} of {position} sent, "
        )
        if not begun:
            restarted = attrs.evolve(restarted, faults=(*restarted.faults, "not restarted, but sent again as a whole"))
        self._transfers.append(restarted)

        many = list(medium(self._files, "ACME-AT-ONCE", SESSIONS))
        ends = await self._call(
            f"ACME opens {SESSIONS} sessions at once",
            acme,
            [file.specification() for file in many],
            "--sessions",
            str(SESSIONS),
        )
        for file in many:
            self._transfers.append(compare(ends, file, partner=acme.name, outgoing=False))

    async def _call_out(self, partner: DemoPartner) -> None:
        """The station calls a partner, with files both ways."""
        self.display.step(f"the station calls {partner.name}")
        there, back = some(self._files, "MUSTER-CALLS"), some(self._files, f"{partner.name}-CALLED")
        ends, line = await outgoing_call(self._site, partner, there, back)
        self._operations.append(line)
        for files, outgoing in ((there, True), (back, False)):
            for file in files:
                self._transfers.append(
                    compare(ends, file, partner=partner.name, outgoing=outgoing, result="in a call of the station, ")
                )

    async def _hostile_half(self, partners: Partners) -> None:
        """Every attack; then the station stops."""
        site = self._site
        assert site.station is not None
        for attack in attacks.attacks(partners):
            self.display.step(f"attack: {attack.name}")
            self._attempts.append(await attempt(self._reactor, site, attack))
        self.display.step("the station stops")
        await site.station.stop()
        self._attempts.append(await attempt(self._reactor, site, attacks.station_down(partners)))

    async def _operate(self, partner: DemoPartner) -> None:
        """Renew the licence and have the server drain while sessions run; then ask for the events of all of it."""
        site = self._site
        self.display.step("starting the station again")
        await site.start_station()
        self.display.step("the licence is renewed, and the server drains, in the middle of sessions")
        self._operations += await renewal_and_drain(site, partner)
        self.display.step("asking smartproxy events for the causes")
        events = await read_events(self._reactor, site, self._attempts)
        self._bugs = [event for event in events if event["name"] == "internal.error"]

    def _tables(self) -> bool:
        """Show the tables; whether every line is as it should be."""
        self.display.print("\nFiles through SmartProxy\n")
        rows = [line.cells() for line in self._transfers]
        self.display.print(table(transfers.HEADS, rows, right=transfers.NUMBERS))
        self.display.print("\nAttacks on SmartProxy\n")
        causes = [made.cause() for made in self._attempts]
        self.display.print(table(attacks.HEADS, [made.cells() for made in self._attempts], below=causes))
        self.display.print(f"\n{attacks.NOTE}")
        self.display.print("\nOperating SmartProxy\n")
        self.display.print(table(operations.HEADS, [line.cells() for line in self._operations]))
        for bug in self._bugs:
            self.display.print(f"WRONG: a daemon reported a bug of its own: {bug.get('place')}: {bug.get('exception')}")
        right = not any(line.faults for line in self._transfers) and not any(line.faults for line in self._operations)
        return right and not any(made.wrong for made in self._attempts) and not self._bugs

    async def _keep(self, partner: DemoPartner) -> None:
        """Leave it running until Ctrl-C, and say how to call it."""
        site = self._site
        (site.folder / "hello.txt").write_text("Hello, station!\r\n")
        command = site.partner_command(
            ["--send", f"{site.folder / 'hello.txt'},format=T"], code=partner.code, files=partner.files
        )
        self.display.print(
            f"""
It runs until Ctrl-C.
  partners connect to    127.0.0.1:{site.port}
  the station listens on 127.0.0.1:{site.station_port}, files arrive in {site.inbox}
  the backend listens on 127.0.0.1:{site.backend_port}, the server listens for clients on 127.0.0.1:{site.tunnel_port}
  logs                   {site.logs}
  what was configured    {shlex.join([*SMARTPROXY, "partner", "list", "--state-dir", str(site.state)])}
  what happened          {shlex.join([*SMARTPROXY, "events", "--follow", "--state-dir", str(site.state)])}
Send the station a file as {partner.name}:
  {shlex.join(command)}"""
        )
        await Deferred()
