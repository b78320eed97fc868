"""``smartproxy client``: the smartproxy-clients that may call the backend."""

from typing import TYPE_CHECKING

from smartproxy.policy.addresses import BadHostPort, port_of
from smartproxy.policy.schema import SettingDeclaration, declarations
from smartproxy.policy.settings import ClientEntry
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.arguments import Subparsers, action, subject
from smartproxy.tap.commands.console import CommandFailed, Console, WrongUse, table, when

if TYPE_CHECKING:
    from smartproxy.backend.schema import ClientRow


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "client", "smartproxy-clients and their tokens")
    examples = "  smartproxy client add inner --token-file /etc/smartproxy/token"
    make = action(actions, "add", "Add a client; its token is shown once and never again.", add, examples, changes=True)
    token = action(actions, "token", "Give a client a new token; the old one is invalid at once.", renew, changes=True)
    for parser in (make, token):
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "--token-file", metavar="FILE", help="write the token to this file (mode 0600) instead of showing it"
        )
    declared.add_arguments(make, ClientEntry)
    tie = action(
        actions,
        "bind",
        "Allow a client to call from one address only, or from any; calls from other addresses are refused and logged.",
        bind,
        "  smartproxy client bind inner --address 10.0.0.5\n  smartproxy client bind inner --any",
        changes=True,
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
        action(actions, name, summary, run, changes=True).add_argument("name", metavar="NAME")


def add(console: Console) -> None:
    """Add a client."""
    from smartproxy.backend import clients

    name = console.arguments.name
    given = declared.given(console.arguments, ClientEntry)
    listens = clients.Listens(address=given.get("listen_address"), port=given.get("listen_port"))
    with console.changing(f"client add {name}") as change:
        token = clients.add(change, name, given.get("address"), listens=listens)
        _put_away(console, token)
    _tell(console, name, token)


def renew(console: Console) -> None:
    """Give a client a new token."""
    from smartproxy.backend import clients

    name = console.arguments.name
    with console.changing(f"client token {name}") as change:
        token = clients.new_token_for(change, name)
        _put_away(console, token)
    _tell(console, name, token)


def bind(console: Console) -> None:
    """Bind a client to an address, or to none."""
    from smartproxy.backend import clients

    name = console.arguments.name
    with console.changing(f"client bind {name}") as change:
        row = clients.bind(change, name, console.arguments.address)
    console.answer(_document(row), f"client {name} may call from {row.entry.address or 'any address'}")


def listen(console: Console) -> None:
    """Say where a client awaits calls to partners."""
    from smartproxy.backend import clients

    name, port, address = console.arguments.name, console.arguments.port, console.arguments.on
    if console.arguments.as_site == (port is not None or address is not None):
        raise WrongUse("client listen: give --port, --on or both, or --as-site alone")
    try:
        listens = clients.Listens(address=address, port=None if port is None else port_of(port, least=0))
    except BadHostPort as error:
        raise CommandFailed(str(error)) from None
    with console.changing(f"client listen {name}") as change:
        row = clients.listen(change, name, listens)
    shown = [f"{each.title} {each.people.unset if value is None else value}" for each, value in _place(row)]
    console.answer(_document(row), f"client {name}: {', '.join(shown)}")


def _place(row: "ClientRow") -> list[tuple[SettingDeclaration, object]]:
    found = [each for each in declarations(ClientEntry) if each.name.startswith("listen_")]
    return [(each, getattr(row.entry, each.name)) for each in found]


def show_all(console: Console) -> None:
    """List clients."""
    from smartproxy.backend import clients

    with console.reading() as session:
        rows = clients.listed(session)
    heads = (*declared.heads(ClientEntry), "LAST SEEN", "FROM", "VERSION", "TUNNEL CERTIFICATE UNTIL")
    cells = [
        (
            *declared.cells(row.entry),
            when(row.last_seen, "never"),
            row.last_address or "-",
            row.last_version or "-",
            when(row.certificate_until),
        )
        for row in rows
    ]
    empty = "there is no client yet; add one: smartproxy client add NAME"
    console.answer([_document(row) for row in rows], table(heads, cells, empty))


def enable(console: Console) -> None:
    """Let a client call again."""
    from smartproxy.backend import clients

    name = console.arguments.name
    with console.changing(f"client enable {name}") as change:
        row = clients.enable(change, name, True)
    console.answer(_document(row), f"client {name} may call the backend")


def disable(console: Console) -> None:
    """Let a client call no more."""
    from smartproxy.backend import clients

    name = console.arguments.name
    with console.changing(f"client disable {name}") as change:
        row = clients.enable(change, name, False)
    console.answer(_document(row), f"client {name} may not call the backend any more, and servers shut it out")


def remove(console: Console) -> None:
    """Remove a client."""
    from smartproxy.backend import clients

    name = console.arguments.name
    with console.changing(f"client remove {name}") as change:
        clients.remove(change, name)
    console.answer({"name": name, "removed": True}, f"client {name} is removed, and servers shut it out")


def _put_away(console: Console, token: str) -> None:
    """Write the token to its file before the change is kept: a client whose token nobody has would be of no use."""
    if console.arguments.token_file:
        console.write(console.arguments.token_file, token + "\n", private=True)


def _tell(console: Console, name: str, token: str) -> None:
    path = console.arguments.token_file
    if path:
        console.answer({"name": name, "token_file": path}, f"the token of client {name} is in {path}")
        return
    if not console.arguments.json:
        console.warn("the token is shown only now; put it into a file that only smartproxy-client can read")
    console.answer({"name": name, "token": token}, token)


def _document(row: "ClientRow") -> dict[str, object]:
    return {
        **declared.document(row.entry),
        "last_seen": row.last_seen,
        "last_address": row.last_address,
        "last_version": row.last_version,
        "certificate_until": row.certificate_until,
    }
