"""What all subcommands share: where they read and write, how they answer, and how they fail.

An answer is text for people or, with ``--json``, one JSON document for scripts. What stands in certificates and names
is escaped before it reaches a terminal.
"""

import codecs
import contextlib
import errno
import getpass
import io
import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import attrs

from smartproxy.logs.output import NOT_WRITTEN
from smartproxy.logs.render import escape
from smartproxy.net import files
from smartproxy.policy import limits
from smartproxy.policy.permissions import EVERYTHING
from smartproxy.policy.schema import read_object, write_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import minute
from smartproxy.tap.commands.remote import RemoteSite, SiteFailed, SiteMisnamed

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from smartproxy.backend.audit import Deed
    from smartproxy.backend.change import Change
    from smartproxy.backend.operations.operation import Answer, Input, Operation
    from smartproxy.backend.operations.shapes import Foreseen, Page
    from smartproxy.backend.store import Store

CELL_MOST = 200
FILE_OCTETS_MOST = 64 * 1024 * 1024
_ANSWER_MOST = 100


FAILED = 1
"""Exit status of a command that could not be done."""
UNREADABLE = 2
"""Exit status of ``judge`` for what is no recording: 1 is its verdict on one."""
CLOSED = "standard input is closed; give a file instead of -"


class CommandFailed(Exception):
    """The command cannot do what was asked; its text is one line that says what to do.

    :ivar status: the exit status.
    """

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status


class WrongUse(Exception):
    """The command line does not make sense; its text is one line that says what would."""


class DryRun(Exception):
    """The command was only to tell what it would change.

    :ivar foreseen: what that is of the configuration.
    :ivar beside: what it would do beside, as a sentence without full stop; ``None`` where the configuration is all.
    """

    def __init__(self, foreseen: "Foreseen", beside: str | None = None) -> None:
        super().__init__()
        self.foreseen = foreseen
        self.beside = beside


class _Closed(io.RawIOBase):
    """Standard input where the program was started without one: nobody is there, and reading it is refused."""

    def read(self, size: int = -1) -> bytes:
        """Refuse.

        :raises CommandFailed: always.
        """
        raise CommandFailed(CLOSED)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen(kw_only=True)
class Console:
    """Where a command reads and writes.

    :ivar arguments: the parsed command line.
    :ivar now: tells the time.
    :ivar sleep: waits.
    :ivar ask: asks for a password.
    """

    arguments: Namespace
    out: TextIO = attrs.field(factory=lambda: sys.stdout)
    err: TextIO = attrs.field(factory=lambda: sys.stderr or io.StringIO())
    stdin: Any = attrs.field(factory=lambda: _Closed() if sys.stdin is None else sys.stdin.buffer)
    now: Callable[[], datetime] = _utc_now
    sleep: Callable[[float], None] = time.sleep
    ask: Callable[[str], str] = getpass.getpass
    _remotes: list[RemoteSite] = attrs.field(factory=list, init=False)

    def answer(self, document: object, text: str) -> None:
        """Give the answer: the document with ``--json``, else the text."""
        if self.arguments.json:
            text = json.dumps(document, indent=2, ensure_ascii=True, default=plain)
        if text:
            # What was asked for on standard output, such as a certificate, stands there alone.
            out = self.err if self._written == "-" else self.out
            out.write(text + "\n")
            out.flush()

    def line(self, document: object, text: str) -> None:
        """Give one of many answers: the document on one line with ``--json``, else the text."""
        self.out.write((json.dumps(document, default=plain) if self.arguments.json else text) + "\n")
        self.out.flush()

    def warn(self, text: str) -> None:
        """Tell something beside the answer."""
        self.err.write(f"smartproxy: {escape(text, 2000)}\n")
        self.err.flush()

    def agreed(self, question: str) -> bool:
        """Whether somebody answers a question with yes; nobody does where standard input is no terminal."""
        if not self.stdin.isatty():
            return False
        self.err.write(f"{question} [y/N] ")
        self.err.flush()
        answer: bytes = self.stdin.readline(_ANSWER_MOST)
        return answer.strip().lower() in (b"y", b"yes")

    @property
    def _written(self) -> str | None:
        """The file that the command line names for what the command makes; ``None`` if it names none."""
        path: str | None = getattr(self.arguments, getattr(self.arguments, "written", ""), None)
        return path

    @contextlib.contextmanager
    def store(self, *, make: bool = False) -> Iterator["Store"]:
        """The site's store, open.

        :raises CommandFailed: when the command line names a site by its URL.
        """
        if self.arguments.api_url is not None:
            raise CommandFailed("this cannot be done with --url yet; run it on the backend's machine")
        from smartproxy.backend.location import Location
        from smartproxy.backend.store import Store

        store = Store.open(Location.of(self.arguments.state_dir, self.arguments.database), make=make)
        try:
            yield store
        finally:
            store.close()
            if store.ring.made:
                self.warn(
                    f"made {store.ring.place} for the private keys in the store, which are encrypted: "
                    f"{store.ring.place.worth}"
                )

    @contextlib.contextmanager
    def reading(self) -> Iterator["Session"]:
        """A look into the store."""
        with self.store() as store, store.reading() as session:
            yield session

    @contextlib.contextmanager
    def changing(self, what: str, *, make: bool = False) -> Iterator["Change"]:
        """A change of the configuration: a generation more when the block ends, or nothing at all."""
        from smartproxy.backend.generations import changing

        author, comment = operator(), getattr(self.arguments, "comment", None)
        with (
            self.store(make=make) as store,
            changing(store, by=author, what=what, now=self.now(), comment=comment) as change,
        ):
            yield change

    @contextlib.contextmanager
    def recording(self, deed: "Deed", what: str) -> Iterator["Session"]:
        """A transaction for something that changes no configuration and that the audit trail has to hold."""
        from smartproxy.backend import audit
        from smartproxy.backend.change import Channel

        with self.store() as store, store.writing() as session:
            yield session
            audit.record(session, deed, what, by=operator(), channel=Channel.COMMAND, now=self.now())

    def call(self, operation: "Operation[Input, Answer]", wanted: "Input", *, make: bool = False) -> "Answer":
        """Carry an operation out.

        :param make: whether the store is made if there is none yet.
        :raises CommandFailed: when what is wanted is not what the operation takes.
        :raises UnicodeEncodeError: when it is made of an argument that is not UTF-8.
        """
        from smartproxy.backend.operations.operation import Caller
        from smartproxy.backend.operations.performing import Rehearsed, Terms, perform

        document = write_object(wanted)
        json.dumps(document, ensure_ascii=False).encode("utf-8")
        try:
            wanted = read_object(type(wanted), document)
        except DocumentRefused as refused:
            raise CommandFailed(str(refused)) from refused

        comment, dry_run = getattr(self.arguments, "comment", None), getattr(self.arguments, "dry_run", False)
        terms = Terms(comment=comment, dry_run=dry_run)
        try:
            if self.arguments.api_url is not None:
                return self._remote().perform(operation, wanted, terms)
            if make:
                # What cannot be done leaves no store behind.
                getattr(wanted, "prepared", None)
            with self.store(make=make) as store:
                caller = Caller(name=operator(), scopes=frozenset({EVERYTHING}))
                return perform(store, operation, wanted, caller, self.now(), terms).answer
        except SiteFailed as failed:
            raise CommandFailed(str(failed)) from failed
        except Rehearsed as rehearsed:
            # What has a tag is all in the configuration; a user, a token for the API or a trust list is in no entry.
            beside = None if operation.family.state is not None else f"{operation.said(wanted)}: {operation.summary}"
            raise DryRun(rehearsed.foreseen, beside) from rehearsed

    def _remote(self) -> RemoteSite:
        """The site that the command line names by its URL; its token is read once, since it may come from a pipe."""
        if not self._remotes:
            self._remotes.append(self._remote_site())
        return self._remotes[0]

    def _remote_site(self) -> RemoteSite:
        if self.arguments.api_token_file is None:
            raise WrongUse("--url needs --token-file: the file with the token of 'smartproxy admin-token create'")
        token = self.read(self.arguments.api_token_file)
        try:
            return RemoteSite.of(self.arguments.api_url, token, self.arguments.api_ca)
        except SiteMisnamed as misnamed:
            raise WrongUse(str(misnamed)) from misnamed

    def every(self, operation: "Operation[Page, Any]") -> list[Any]:
        """The entries of a list, from all its parts."""
        from smartproxy.backend.operations.shapes import Page

        found: list[Any] = []
        after = None
        while True:
            part = self.call(operation, Page(after=after, limit=limits.PAGE.most))
            found += part.items
            if part.next is None:
                return found
            after = part.next

    def read(self, path: str) -> bytes:
        """The octets of a file, or of standard input for ``-``.

        :raises CommandFailed: when it cannot be read, or is larger than anything of use here.
        """
        try:
            if path == "-":
                octets: bytes = self.stdin.read(FILE_OCTETS_MOST + 1)
            else:
                with files.opened(path) as file:
                    octets = file.read(FILE_OCTETS_MOST + 1)
        except OSError as error:
            raise CommandFailed(f"cannot read {path or repr('')}: {error.strerror}") from error
        if len(octets) > FILE_OCTETS_MOST:
            raise CommandFailed(f"{path} is larger than {FILE_OCTETS_MOST // 2**20} MiB; is it the right file?")
        return octets

    def write(self, path: str, content: str | files.Content, *, private: bool = False) -> None:
        """Write a file as a whole or not at all; a private one is readable by its owner only.

        A plain file that is there is replaced with ``--force`` only. A device or a pipe is written to, if
        :meth:`reserved` let it pass, and a link leads to what is written; ``-`` is standard output.

        :raises CommandFailed: when it cannot be written.
        """
        written = content.encode("utf-8") if isinstance(content, str) else content
        if path == "-":
            self._give(content)
            return
        with _writing(path):
            files.write(Path(path), written, private=private, new=not self.arguments.force)

    def _give(self, content: str | files.Content) -> None:
        """Write to standard output what is meant for a file."""
        if isinstance(content, str):
            self.out.write(content)
        else:
            self.out.flush()
            octets: Any = getattr(self.out, "buffer")  # noqa: B009  # A TextIO need not have one; standard output does.
            if isinstance(content, bytes):
                octets.write(content)
            else:
                content(octets)
            octets.flush()
        self.out.flush()

    @contextlib.contextmanager
    def reserved(self) -> Iterator[None]:
        """See that the file can be written that the command line names, before its content is made.

        :raises CommandFailed: when it cannot be written.
        :raises WrongUse: when it is standard output, where the answer in JSON would stand, too.
        """
        path = self._written
        if path == "-":
            if self.arguments.written_is_shown:
                setattr(self.arguments, self.arguments.written, None)
            elif self.arguments.json:
                raise WrongUse("'-' and --json are both for standard output: name a file, or leave --json out")
        if path is None or path == "-":
            yield
            return
        if not path:
            raise WrongUse("the name of the file to write is empty")
        with contextlib.ExitStack() as stack:
            with _writing(path):
                stack.enter_context(
                    files.reserved(Path(path), new=not self.arguments.force, lossy=self.arguments.written_again)
                )
            yield

    @contextlib.contextmanager
    def telling_once(self, what_then: str) -> Iterator[None]:
        """Write what is shown once, such as a token; if that fails, say what was done and what to do now.

        :param what_then: what was done all the same, and what to do, as a sentence without full stop.
        :raises CommandFailed: then; a reader of standard output that has gone is no success here.
        """
        try:
            yield
        except CommandFailed as error:
            raise CommandFailed(f"{error}; {what_then}", NOT_WRITTEN) from error
        except OSError as error:
            raise CommandFailed(
                f"cannot write to standard output: {error.strerror}; {what_then}", NOT_WRITTEN
            ) from error

    def password(self, path: str | None, about: str) -> bytes | None:
        """A password: the first line of a file, or asked for when there is somebody to ask; ``None`` for an empty one.

        :raises CommandFailed: when the file cannot be read, or is not in UTF-8.
        """
        if path is not None:
            return _password_in(self.read(path), path)
        if not self.stdin.isatty():
            return None
        return self.ask(f"Password of {about} (empty for none): ").encode("utf-8") or None


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    """Tell why a file cannot be written, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise CommandFailed(f"{path} is there already; name another file, or replace it with --force") from error
        why = "nobody reads it" if error.errno == errno.ENXIO else error.strerror
        raise CommandFailed(f"cannot write {path}: {why}") from error


def _password_in(octets: bytes, path: str) -> bytes | None:
    """The password in the first line of a file.

    :raises CommandFailed: when the file is in another encoding than UTF-8: its octets would be another password.
    """
    line = octets.removeprefix(codecs.BOM_UTF8).partition(b"\n")[0].rstrip(b"\r")
    wide = octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in line
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        wide = True
    if wide:
        raise CommandFailed(f"the password in {path} is not in UTF-8; save the file in UTF-8, without a BOM")
    return line or None


def operator() -> str:
    """Who gives the command, as the history of changes names the operator."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER")
    return f"{user} (sudo by {behind})" if behind and behind != user else user


def plain(value: object) -> object:
    """What JSON has no form for: times as ISO 8601 in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def when(moment: datetime | None, none: str = "-") -> str:
    """A time for people: UTC, to the minute."""
    return none if moment is None else minute(moment)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> str:
    """Rows below heads, in columns; or what to say when there are none."""
    if not rows:
        return empty
    cells = [list(heads), *([escape(str(cell), CELL_MOST) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def listing(pairs: Mapping[str, object]) -> str:
    """Names and values, one a line; a list has a line for each of its values."""
    width = max(map(len, pairs))
    lines = []
    for name, value in pairs.items():
        values = value if isinstance(value, list | tuple) else [value]
        for number, each in enumerate(values or ["-"]):
            lines.append(f"{name if not number else '':<{width}}  {escape(str(each), 2000)}")
    return "\n".join(lines)
