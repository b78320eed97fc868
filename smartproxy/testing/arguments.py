"""What the commands ``station`` and ``partner`` of the test kit take on their command lines."""

import argparse
import datetime
import mmap
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from smartproxy.logs.output import write_message
from smartproxy.oftp2.roles import Level
from smartproxy.policy.addresses import BadHostPort, HostPort
from smartproxy.testing.settings import Settings
from smartproxy.testing.store import FileStore, FolderStore, MemoryStore
from smartproxy.testing.virtual_file import Content, FileIdentity, Format, VirtualFile

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_CODE_MOST = 25


_NOTHING_GIVEN = "the following arguments are required: COMMAND"


class KitCommandLine(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Write help or error; unlike the class above, let the caller know when that fails."""
        write_message(message, file)

    def error(self, message: str) -> NoReturn:
        """End the program with status 2; where nothing was given, with the help."""
        if message == _NOTHING_GIVEN:
            self.print_help(sys.stderr)
            self.exit(2)
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


_LEVELS = {"1.2": Level.OFTP_1_2, "1.3": Level.OFTP_1_3, "1.4": Level.OFTP_1_4, "2.0": Level.OFTP_2_0}

_AUTHENTICATION = {"yes": True, "no": False}

SPECIFICATION = """\
FILE is a path, followed by what differs from the defaults, separated by commas:
  name=DATASET     the dataset name [the file's name in upper case]
  format=U|T|F|V   [U]; in a V file a 2-octet binary length precedes each record
  record=OCTETS    the length of each record (F) or of the longest one (V)
  break=OCTETS     cut the connection after this many octets of the file
  restart=N        offer to restart there: in records (F, V) or blocks of 1024 octets (U, T)
The file's date and time are those of its last change, so that a file keeps its identity from call to call.
"""


def address(text: str) -> HostPort:
    """``HOST:PORT``; an IPv6 address stands in brackets.

    :raises argparse.ArgumentTypeError: if the text has another form.
    """
    try:
        return HostPort.parse(text, port_least=0)
    except BadHostPort:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:3305 or [::1]:3305") from None


def code(text: str) -> str:
    """An SSIDCODE.

    :raises argparse.ArgumentTypeError: if it is not one.
    """
    if not 0 < len(text) <= _CODE_MOST or not text.isascii() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no code: 1 to {_CODE_MOST} characters of ASCII")
    return text


def whole(least: int, most: int) -> Callable[[str], int]:
    """The kind of a whole number in a range.

    :return: reads one; raises ``argparse.ArgumentTypeError`` if the text is none.
    """

    def number(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or len(text) > len(str(most)) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return number


def folder(text: str) -> Path:
    """A folder that exists.

    :raises argparse.ArgumentTypeError: if it does not.
    """
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path


def virtual_file(text: str, originator: str, destination: str) -> VirtualFile:
    """A file to send, as :data:`SPECIFICATION` says.

    :raises argparse.ArgumentTypeError: if the text or the file is not right.
    """
    path_text, *pairs = text.split(",")
    path = Path(path_text)
    given = {"name": path.name.upper()[:26], "format": "U", "record": "0", "break": "", "restart": "0"}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in given:
            raise argparse.ArgumentTypeError(f"{pair!r} is not one of {', '.join(f'{known}=' for known in given)}")
        given[key] = value
    try:
        if not given["name"].isascii():
            raise ValueError("give it a name in ASCII with name=")
        changed = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
        return VirtualFile(
            identity=FileIdentity.stamped(given["name"], originator, destination, changed),
            format=Format(given["format"]),
            record_length=int(given["record"]),
            content=_content(path),
            break_at=int(given["break"]) if given["break"] else None,
            restart_at=int(given["restart"]),
        )
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def _content(path: Path) -> Content:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def add_entity(parser: argparse.ArgumentParser) -> None:
    """Declare what an entity is and what it offers in its SSID."""
    group = parser.add_argument_group("SSID")
    group.add_argument("--code", type=code, required=True, metavar="CODE", help="SSIDCODE, such as O0013000001ACME")
    group.add_argument("--password", default="", metavar="TEXT", help="SSIDPSWD [none]")
    group.add_argument("--level", choices=_LEVELS, default="2.0", help="highest release level [2.0]")
    group.add_argument(
        "--buffer-size", type=whole(128, 99_999), default=65535, metavar="N", help="SSIDSDEB, 128 to 99999 [65535]"
    )
    group.add_argument("--credit", type=whole(1, 999), default=99, metavar="N", help="SSIDCRED, 1 to 999 [99]")
    group.add_argument("--direction", choices="SRB", default="B", help="send only, receive only, both [B]")
    group.add_argument("--compression", action="store_true", help="offer compression of buffers")
    group.add_argument("--no-restart", action="store_true", help="do not offer to restart files")
    group.add_argument(
        "--authentication",
        choices=_AUTHENTICATION,
        help="ask for secure authentication or refuse it; the kit's echo scheme proves nothing and works only "
        "with this kit [partner: no; station: as the partner asks]",
    )
    group.add_argument("--ask-for-turn", action="store_true", help="as Listener, ask for the turn in EFPA")
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--certificate", type=Path, metavar="FILE", help="PEM chain to present, leaf first")
    tls.add_argument("--key", type=Path, metavar="FILE", help="PEM file of its private key [the same file]")
    tls.add_argument(
        "--ca", type=Path, action="append", default=[], metavar="FILE", help="PEM file of CAs to verify the peer by"
    )
    out = parser.add_argument_group("files")
    out.add_argument("--inbox", type=folder, metavar="FOLDER", help="where files arrive [in memory, and are lost]")
    out.add_argument("--json", action="store_true", help="print each event as one line of JSON")


def settings(arguments: argparse.Namespace) -> Settings:
    """The entity that the arguments describe."""
    return Settings(
        code=arguments.code,
        password=arguments.password,
        level=_LEVELS[arguments.level],
        buffer_size=arguments.buffer_size,
        credit=arguments.credit,
        direction=arguments.direction,
        compression=arguments.compression,
        restart=not arguments.no_restart,
        authentication=_AUTHENTICATION.get(arguments.authentication),
        ask_for_turn=arguments.ask_for_turn,
    )


def store(arguments: argparse.Namespace) -> FileStore:
    """Where files arrive."""
    return FolderStore(arguments.inbox) if arguments.inbox else MemoryStore()
