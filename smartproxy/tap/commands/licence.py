"""``smartproxy licence``: the licences of the servers in the DMZ."""

from datetime import datetime
from shlex import quote
from typing import TYPE_CHECKING

from smartproxy.policy.places import LICENCE_FILE
from smartproxy.tap.commands.arguments import Subparsers, action, end_of, moment, number, subject, writes
from smartproxy.tap.commands.console import Console, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.licence import KnownLicence

_TO_CARRY = f"carry it to the DMZ, and name it with --licence (default: {LICENCE_FILE})"


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "licence", "licences: which servers may run, until when, and for which site")
    make = action(
        actions,
        "issue",
        "Sign a licence for a server, or a renewed one; running servers get a renewed one by themselves.",
        issue,
        "  twistd smartproxy-server -L                       (on the server's machine: prints its Proxy ID)\n"
        "  smartproxy licence issue PROXY-ID --until 2027-12-31 -o smartproxy.lic\n"
        f"  smartproxy licence issue PROXY-ID --until 1y -o - | ssh dmz 'cat > {LICENCE_FILE}'",
        changes=True,
        tried=True,
    )
    make.add_argument("proxy_id", metavar="PROXY-ID", help="what 'twistd smartproxy-server -L' prints")
    make.add_argument(
        "--until", required=True, type=end_of, metavar="DATE", help="the last day (2027-12-31), or how long: 90d, 1y"
    )
    make.add_argument("--from", dest="since", type=moment, metavar="DATE", help="the first day [now]")
    make.add_argument("--sessions", type=number, metavar="N", help="highest number of sessions at once")
    writes(make, "-o", "--output", shown=True, help="where to write it [-, standard output]")
    more = action(
        actions,
        "extend",
        "Give a server's licence a later end; it reaches the running server by itself, without a restart.",
        extend,
        "  smartproxy licence extend --until 1y              (where there is one server)\n"
        "  smartproxy licence extend PROXY-ID --until 2028-12-31",
        changes=True,
        tried=True,
    )
    more.add_argument("proxy_id", metavar="PROXY-ID", nargs="?", help="the server; not needed where there is one only")
    more.add_argument(
        "--until",
        required=True,
        type=end_of,
        metavar="DATE",
        help="the new last day (2028-12-31), or how long: 90d, 1y",
    )
    writes(more, "-o", "--output", help="write the licence to this file, too")
    action(
        actions,
        "list",
        "List the newest licence of each server, and the one that the server reported to have put in force.",
        show_all,
    )
    look = action(actions, "show", "Show a server's newest licence, or write it to a file again.", show)
    writes(look, "-o", "--output", again=True, help="write the licence to this file")
    fetch = action(
        actions,
        "download",
        "Write a server's newest licence, as the file that its machine needs.",
        download,
        "  smartproxy licence download -o smartproxy.lic\n"
        f"  smartproxy licence download PROXY-ID | ssh dmz 'cat > {LICENCE_FILE}'",
    )
    writes(fetch, "-o", "--output", shown=True, again=True, help="where to write it [-, standard output]")
    for parser in (look, fetch):
        parser.add_argument(
            "proxy_id", metavar="PROXY-ID", nargs="?", help="the server; not needed where there is one only"
        )
    take = action(
        actions,
        "withdraw",
        "Stop clients from connecting to a server. The server's own licence file stays valid until it ends.",
        withdraw,
        changes=True,
        tried=True,
    )
    take.add_argument("proxy_id", metavar="PROXY-ID")


def issue(console: Console) -> None:
    """Sign a licence."""
    from smartproxy.backend.operations import licence as operations

    wanted = console.arguments
    order = operations.LicenceOrder(
        proxy_id=wanted.proxy_id, valid_from=wanted.since, valid_until=wanted.until, sessions=wanted.sessions
    )
    made = console.call(operations.issue, order)
    with console.telling_once(f"the licence is issued: smartproxy licence download {quote(made.proxy_id)} -o FILE"):
        _write(console, made, f"; {_TO_CARRY}")


def extend(console: Console) -> None:
    """Give a licence a later end."""
    from smartproxy.backend.operations import licence as operations

    wanted = console.arguments
    extension = operations.LicenceExtension(proxy_id=wanted.proxy_id, valid_until=wanted.until)
    made = console.call(operations.extend, extension)
    if wanted.output:
        with console.telling_once(
            f"the licence is extended: smartproxy licence download {quote(made.proxy_id)} -o FILE"
        ):
            console.write(wanted.output, made.text)
    console.answer(
        _document(made),
        f"licence of {made.proxy_id} until {when(made.valid_until)}; the server receives it with the "
        "configuration and writes it to its file (licence.written)",
    )


def show_all(console: Console) -> None:
    """List licences."""
    from smartproxy.backend.operations import licence as operations
    from smartproxy.backend.operations.shapes import Nothing

    found = console.call(operations.listed, Nothing()).items
    now = console.now()
    cells = [
        (
            each.proxy_id,
            "-" if each.issued is None else when(each.issued.valid_from),
            "not issued" if each.issued is None else when(each.issued.valid_until),
            "-" if each.issued is None else _left(each.issued.valid_until, now),
            "-" if each.reported_until is None else when(each.reported_until),
            "-" if each.reported_until is None else _left(each.reported_until, now),
            when(each.reported, "never"),
        )
        for each in found
    ]
    heads = ("PROXY ID", "FROM", "UNTIL", "DAYS LEFT", "SERVER HAS UNTIL", "DAYS LEFT THERE", "REPORTED")
    documents = [
        {
            **({"proxy_id": each.proxy_id} if each.issued is None else _facts(each.issued)),
            "days_left": None if each.issued is None else (each.issued.valid_until - now).days,
            "reported_valid_until": each.reported_until,
            "reported_days_left": None if each.reported_until is None else (each.reported_until - now).days,
            "reported": each.reported,
        }
        for each in found
    ]
    console.answer(documents, table(heads, cells, "no licence was issued yet"))


def show(console: Console) -> None:
    """Show one licence."""
    found = _newest(console)
    if console.arguments.output:
        console.write(console.arguments.output, found.text)
    shown = {name: when(each) if isinstance(each, datetime) else each for name, each in _facts(found).items()}
    console.answer(_document(found), listing({**shown, "sessions": found.sessions or "not limited"}))


def download(console: Console) -> None:
    """Write one licence."""
    _write(console, _newest(console))


def withdraw(console: Console) -> None:
    """Forget a server's licences."""
    from smartproxy.backend.operations import licence as operations

    proxy_id = console.arguments.proxy_id
    count = console.call(operations.withdraw, operations.LicenceRemoval(proxy_id=proxy_id)).withdrawn
    console.answer({"proxy_id": proxy_id, "withdrawn": count}, f"{proxy_id}: withdrawn; no client will speak to it")


def _newest(console: Console) -> "KnownLicence":
    """The licence of the server that is named, or of the only one."""
    from smartproxy.backend.operations import licence as operations

    return console.call(operations.show, operations.LicenceWanted(proxy_id=console.arguments.proxy_id))


def _write(console: Console, licence: "KnownLicence", further: str = "") -> None:
    """Give a licence's text, or write it to the file that is named, and say what to do further."""
    output = console.arguments.output
    if output is None:
        console.answer(_document(licence), licence.text.rstrip("\n"))
        return
    console.write(output, licence.text)
    console.answer(_document(licence), f"licence until {when(licence.valid_until)} written to {output}{further}")


def _left(end: datetime, now: datetime) -> str:
    return "ended" if end < now else str((end - now).days)


def _document(licence: "KnownLicence") -> dict[str, object]:
    return {**_facts(licence), "licence": licence.text}


def _facts(licence: "KnownLicence") -> dict[str, object]:
    return {
        "proxy_id": licence.proxy_id,
        "valid_from": licence.valid_from,
        "valid_until": licence.valid_until,
        "issued": licence.issued,
        "sessions": licence.sessions,
    }
