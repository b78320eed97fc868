"""``smartproxy admin-token``: the tokens with which administrators and their programs call the API."""

from shlex import quote
from typing import TYPE_CHECKING

from smartproxy.policy.permissions import AdminRole
from smartproxy.tap.commands.arguments import Subparsers, action, end_of, subject, writes
from smartproxy.tap.commands.console import Console, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.admin_token import NewToken

_EXAMPLES = """\
  smartproxy admin-token create alice --role administrator --token-file ~/.smartproxy-token
  smartproxy admin-token create monitoring --role viewer --until 90d
  smartproxy admin-token create erp --scope partner:change --scope '*:read' --until 2027-12-31"""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "admin-token", "administrators' tokens: who may use the API, and for what", _EXAMPLES)
    summary = "Make a token for the API; it is shown once and never again."
    make = action(actions, "create", summary, create, _EXAMPLES, changes=True, tried=True)
    make.add_argument("name", metavar="NAME", help="whose it is; the history of changes names it")
    make.add_argument(
        "--role",
        choices=tuple(each.value for each in AdminRole),
        help=AdminRole.told(),
    )
    make.add_argument(
        "--scope",
        action="append",
        default=[],
        metavar="SCOPE",
        help="what it may do beside, such as partner:change, ca:* or *:read; may be repeated",
    )
    make.add_argument(
        "--until", type=end_of, metavar="DATE", help="its last day (2027-12-31), or how long: 90d, 1y [1y]"
    )
    writes(make, "--token-file", shown=True, help="write the token to this file (mode 0600) instead of showing it")
    action(actions, "list", "List tokens: whose they are, what they may do, until when, and when they were used.", show)
    action(actions, "revoke", "Revoke a token at once.", revoke, changes=True, tried=True).add_argument(
        "name", metavar="NAME"
    )


def create(console: Console) -> None:
    """Make a token."""
    from smartproxy.backend.operations import admin_token as operations

    wanted = console.arguments
    addition = operations.TokenAddition(
        name=wanted.name,
        role=None if wanted.role is None else AdminRole(wanted.role),
        scopes=tuple(wanted.scope),
        until=wanted.until,
    )
    made = console.call(operations.create, addition)
    lost = (
        f"the token {made.name} is made, but it is lost: revoke it ('smartproxy admin-token revoke {quote(made.name)}')"
    )
    with console.telling_once(f"{lost} and make another one"):
        _give(console, made)


def _give(console: Console, made: "NewToken") -> None:
    wanted = console.arguments
    if wanted.token_file:
        console.write(wanted.token_file, made.token + "\n", private=True)
        answer = {"name": made.name, "token_file": wanted.token_file, "until": made.until}
        console.answer(answer, f"the token of {made.name} is in {wanted.token_file}, good until {when(made.until)}")
        return
    if not wanted.json:
        console.warn(f"the token is shown only now, and good until {when(made.until)}; keep it as you keep a password")
    console.answer({"name": made.name, "token": made.token, "until": made.until}, made.token)


def show(console: Console) -> None:
    """List tokens."""
    from smartproxy.backend.operations import admin_token as operations
    from smartproxy.backend.operations.shapes import Nothing
    from smartproxy.policy.schema import write_object

    found = console.call(operations.listed, Nothing()).items
    cells = [
        (
            each.name,
            each.role or "-",
            ", ".join(each.scopes) or "-",
            when(each.until),
            when(each.last_used, "never"),
            each.last_address or "-",
            each.created_by,
        )
        for each in found
    ]
    heads = ("NAME", "ROLE", "SCOPES", "UNTIL", "LAST USED", "FROM", "MADE BY")
    empty = "there is no token yet; make one: smartproxy admin-token create NAME --role viewer"
    console.answer([write_object(each) for each in found], table(heads, cells, empty))


def revoke(console: Console) -> None:
    """Revoke a token."""
    from smartproxy.backend.operations import admin_token as operations

    name = console.call(operations.revoke, operations.TokenWanted(name=console.arguments.name)).name
    console.answer({"name": name, "removed": True}, f"the token {name} is revoked")
