"""``smartproxy user``: who may log in to the page."""

from smartproxy.policy.permissions import AdminRole
from smartproxy.tap.commands.arguments import Subparsers, action, subject
from smartproxy.tap.commands.console import CommandFailed, Console, WrongUse, table, when

_EXAMPLES = """\
  smartproxy user add alice --role administrator
  smartproxy user add vera --role viewer --password-file - < password.txt
  smartproxy user password alice"""
_PASSWORD_HELP = "file with the password in its first line; - for standard input [asked for]"


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "user", "users of the page: who may log in, and may do what", _EXAMPLES)
    make = action(actions, "add", "Add a user of the page.", add, _EXAMPLES, changes=True, tried=True)
    make.add_argument("name", metavar="NAME", help="the name at the login; the history of changes names it")
    make.add_argument(
        "--role",
        required=True,
        choices=tuple(each.value for each in AdminRole),
        help=AdminRole.told(),
    )
    make.add_argument("--password-file", metavar="FILE", help=_PASSWORD_HELP)
    action(actions, "list", "List users: what they may do, and when they logged in last.", show)
    change = action(actions, "password", "Give a user another password, and end their logins.", password, changes=True)
    change.add_argument("name", metavar="NAME")
    change.add_argument("--password-file", metavar="FILE", help=_PASSWORD_HELP)
    other = action(
        actions,
        "change",
        "Give a user another role, let them log in or not, or have them log in by password alone; their logins end.",
        alter,
        "  smartproxy user change vera --role operator\n  smartproxy user change vera --disable\n"
        "  smartproxy user change vera --forget-second-factor",
        changes=True,
    )
    other.add_argument("name", metavar="NAME")
    other.add_argument("--role", choices=tuple(each.value for each in AdminRole), help="another role")
    able = other.add_mutually_exclusive_group()
    able.add_argument("--disable", dest="enabled", action="store_const", const=False, help="stop it from logging in")
    able.add_argument(
        "--enable", dest="enabled", action="store_const", const=True, help="allow the user to log in again"
    )
    other.add_argument(
        "--forget-second-factor", action="store_true", help="for a user who lost their authenticator and recovery codes"
    )
    gone = action(actions, "remove", "Remove a user, and end their logins.", remove, changes=True, tried=True)
    gone.add_argument("name", metavar="NAME")


def add(console: Console) -> None:
    """Add a user."""
    from smartproxy.backend.operations import user as operations

    wanted = console.arguments
    addition = operations.UserAddition(
        name=wanted.name, role=AdminRole(wanted.role), password=typed_password(console, wanted.name)
    )
    made = console.call(operations.add, addition)
    console.answer({"name": made.name, "role": made.role}, f"user {made.name} added: {made.role}")


def show(console: Console) -> None:
    """List users."""
    from smartproxy.backend.operations import user as operations
    from smartproxy.backend.operations.shapes import Nothing
    from smartproxy.policy.schema import write_object

    found = console.call(operations.listed, Nothing()).items
    cells = [
        (
            each.name,
            each.role if each.enabled else f"{each.role}, disabled",
            "yes" if each.second_factor else "-",
            when(each.password_set),
            when(each.last_login, "never"),
            each.last_address or "-",
            each.created_by,
        )
        for each in found
    ]
    heads = ("NAME", "ROLE", "2ND FACTOR", "PASSWORD SET", "LAST LOGIN", "FROM", "ADDED BY")
    empty = "nobody can log in to the page yet; add a user: smartproxy user add NAME --role administrator"
    console.answer([write_object(each) for each in found], table(heads, cells, empty))


def password(console: Console) -> None:
    """Set another password."""
    from smartproxy.backend.operations import user as operations

    name = console.arguments.name
    wanted = operations.NewPassword(name=name, password=typed_password(console, name))
    set_for = console.call(operations.password, wanted)
    console.answer(
        {"name": set_for.name, "password_set": set_for.password_set},
        f"user {set_for.name} has another password; their logins are ended",
    )


def alter(console: Console) -> None:
    """Change a user."""
    from smartproxy.backend.operations import user as operations

    wanted = console.arguments
    if wanted.role is None and wanted.enabled is None and not wanted.forget_second_factor:
        raise WrongUse("user change: say what: --role, --disable, --enable or --forget-second-factor")
    if wanted.forget_second_factor:
        known = console.call(operations.forget_second_factor, operations.UserWanted(name=wanted.name))
    if wanted.role is not None or wanted.enabled is not None:
        role = None if wanted.role is None else AdminRole(wanted.role)
        known = console.call(
            operations.alter, operations.UserAlteration(name=wanted.name, role=role, enabled=wanted.enabled)
        )
    how = "may log in" if known.enabled else "is disabled"
    console.answer(
        {"name": known.name, "role": known.role, "enabled": known.enabled, "second_factor": known.second_factor},
        f"user {known.name}, {known.role}, {how}; their logins are ended",
    )


def remove(console: Console) -> None:
    """Remove a user."""
    from smartproxy.backend.operations import user as operations

    name = console.call(operations.remove, operations.UserWanted(name=console.arguments.name)).name
    console.answer({"name": name, "removed": True}, f"user {name} removed; their logins are ended")


def typed_password(console: Console, name: str) -> str:
    """The password: of a file, or asked for twice.

    :raises CommandFailed: when there is none, or the second is another one.
    """
    path = console.arguments.password_file
    if path is not None:
        octets = console.password(path, name)
        if octets is None:
            raise CommandFailed(f"there is no password in the first line of {path}")
        return octets.decode("utf-8")
    if not console.stdin.isatty():
        raise CommandFailed("there is nobody to ask for the password; give it with --password-file FILE, or with '-'")
    first = console.ask(f"Password of user {name}: ")
    if console.ask("Again: ") != first:
        raise CommandFailed("the two passwords differ; nothing is changed")
    return first
