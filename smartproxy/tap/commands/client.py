"""``smartproxy client``: the smartproxy-clients that may call the backend."""

from shlex import quote
from typing import TYPE_CHECKING, Any

from smartproxy.policy.addresses import BadHostPort, port_of
from smartproxy.policy.schema import SettingDeclaration, declarations
from smartproxy.policy.settings import ClientEntry
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.arguments import Subparsers, action, subject, writes
from smartproxy.tap.commands.console import CommandFailed, Console, WrongUse, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.client import ClientToken, KnownClient
    from smartproxy.backend.operations.shapes import Named


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "client", "smartproxy-clients and their tokens")
    examples = "  smartproxy client add inner --token-file /etc/smartproxy/token"
    summary = "Add a client; its token is shown once and never again."
    make = action(actions, "add", summary, add, examples, changes=True, tried=True)
    summary = (
        "Give a client a new token; the old one is invalid at once. The client reads the file of its --token-file "
        "again; restart a client that has its token from systemd or elsewhere."
    )
    token = action(actions, "token", summary, renew, changes=True, tried=True)
    for parser in (make, token):
        parser.add_argument("name", metavar="NAME")
        writes(
            parser, "--token-file", shown=True, help="write the token to this file (mode 0600) instead of showing it"
        )
    declared.add_arguments(make, ClientEntry)
    tie = action(
        actions,
        "bind",
        "Allow a client to call from one address only, or from any; calls from other addresses are refused and logged.",
        bind,
        "  smartproxy client bind inner --address 10.0.0.5\n  smartproxy client bind inner --any",
        changes=True,
        tried=True,
    )
    tie.add_argument("name", metavar="NAME")
    which = tie.add_mutually_exclusive_group(required=True)
    which.add_argument("--address", metavar="ADDRESS", help="the only address; 127.0.0.1 and ::1 are the same")
    which.add_argument("--any", action="store_true", help="any address")
    place = action(
        actions,
        "listen",
        "Say on which port and address a client awaits calls to partners; what is not given is as the settings "
        "client.outbound.port and client.outbound.address say for all clients.",
        listen,
        "  smartproxy client listen inner --port 65433\n"
        "  smartproxy client listen inner --port 65434 --on 10.0.0.5\n"
        "  smartproxy client listen inner --as-site",
        changes=True,
        tried=True,
    )
    place.add_argument("name", metavar="NAME")
    place.add_argument("--port", metavar="PORT", help="the port; 0 for any free one")
    place.add_argument("--on", metavar="ADDRESS", help="the address of the client's machine")
    place.add_argument("--as-site", action="store_true", help="as the settings say")
    action(actions, "list", "List clients.", show_all)
    for name, summary, run in (
        ("enable", "Let a client call the backend again.", enable),
        ("disable", "Stop a client from calling the backend and from having a tunnel.", disable),
        ("remove", "Remove a client.", remove),
    ):
        action(actions, name, summary, run, changes=True, tried=True).add_argument("name", metavar="NAME")


def add(console: Console) -> None:
    """Add a client."""
    from smartproxy.backend.operations import client as operations

    given = declared.given(console.arguments, ClientEntry)
    addition = operations.ClientAddition(name=console.arguments.name, client=given)
    _tell(console, console.call(operations.add, addition), f"client {addition.name} is added, but its token is lost")


def renew(console: Console) -> None:
    """Give a client a new token."""
    from smartproxy.backend.operations import client as operations

    made = console.call(operations.renew, _named(console))
    _tell(console, made, f"the old token of client {made.name} is invalid, and the new one is lost")


def bind(console: Console) -> None:
    """Bind a client to an address, or to none."""
    from smartproxy.backend.operations import client as operations

    wanted = console.arguments
    known = console.call(operations.bind, operations.ClientBinding(name=wanted.name, address=wanted.address))
    address = _entry(known).address or "any address"
    console.answer(_document(known), f"client {wanted.name} may call from {address}")


def listen(console: Console) -> None:
    """Say where a client awaits calls to partners."""
    from smartproxy.backend.operations import client as operations

    name, port, address = console.arguments.name, console.arguments.port, console.arguments.on
    if console.arguments.as_site == (port is not None or address is not None):
        raise WrongUse("client listen: give --port, --on or both, or --as-site alone")
    try:
        number = None if port is None else port_of(port, least=0)
    except BadHostPort as error:
        raise CommandFailed(str(error)) from None
    wanted = operations.ClientListening(name=name, address=address, port=number)
    known = console.call(operations.listen, wanted)
    shown = [f"{each.title} {each.people.unset if value is None else value}" for each, value in _place(_entry(known))]
    console.answer(_document(known), f"client {name}: {', '.join(shown)}")


def _place(entry: ClientEntry) -> list[tuple[SettingDeclaration, object]]:
    found = [each for each in declarations(ClientEntry) if each.name.startswith("listen_")]
    return [(each, getattr(entry, each.name)) for each in found]


def show_all(console: Console) -> None:
    """List clients."""
    from smartproxy.backend.operations import client as operations

    found = console.every(operations.listed)
    heads = (*declared.heads(ClientEntry), "LAST SEEN", "FROM", "VERSION", "TUNNEL CERTIFICATE UNTIL")
    cells = [
        (
            *declared.cells(_entry(each)),
            when(each.last_seen, "never"),
            each.last_address or "-",
            each.last_version or "-",
            when(each.certificate_until),
        )
        for each in found
    ]
    empty = "there is no client yet; add one: smartproxy client add NAME"
    console.answer([_document(each) for each in found], table(heads, cells, empty))


def enable(console: Console) -> None:
    """Let a client call again."""
    from smartproxy.backend.operations import client as operations

    known = console.call(operations.enable, _named(console))
    console.answer(_document(known), f"client {console.arguments.name} may call the backend")


def disable(console: Console) -> None:
    """Stop a client from calling."""
    from smartproxy.backend.operations import client as operations

    known, name = console.call(operations.disable, _named(console)), console.arguments.name
    console.answer(_document(known), f"client {name} may not call the backend any more, and servers shut it out")


def remove(console: Console) -> None:
    """Remove a client."""
    from smartproxy.backend.operations import client as operations

    name = console.call(operations.remove, _named(console)).name
    console.answer({"name": name, "removed": True}, f"client {name} is removed, and servers shut it out")


def _named(console: Console) -> "Named":
    from smartproxy.backend.operations.shapes import Named

    return Named(name=console.arguments.name)


def _tell(console: Console, made: "ClientToken", lost: str) -> None:
    path, name, token = console.arguments.token_file, made.name, made.token
    with console.telling_once(f"{lost}: run 'smartproxy client token {quote(name)}'"):
        _give(console, path, name, token)


def _give(console: Console, path: str | None, name: str, token: str) -> None:
    if path:
        console.write(path, token + "\n", private=True)
        told = f"the token of client {name} is in {path}"
        if console.arguments.action == "token":
            told += (
                "; put it in the place of the old one on the client's machine: the client reads the file of its "
                "--token-file again, and has to be restarted where it has its token from elsewhere"
            )
        console.answer({"name": name, "token_file": path}, told)
        return
    if not console.arguments.json:
        console.warn("the token is shown only now; put it into a file that only smartproxy-client can read")
    console.answer({"name": name, "token": token}, token)


def _entry(known: "KnownClient") -> ClientEntry:
    """A client's entry, without what is known of its token."""
    values: dict[str, Any] = {**known.client, "token_sha256": ""}
    return ClientEntry(**values)


def _document(known: "KnownClient") -> dict[str, object]:
    return {
        **declared.document(_entry(known)),
        "last_seen": known.last_seen,
        "last_address": known.last_address,
        "last_version": known.last_version,
        "certificate_until": known.certificate_until,
    }
