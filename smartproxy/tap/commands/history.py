"""``smartproxy history``, ``export`` and ``import``: who changed what and when, and the configuration as one file."""

from smartproxy.tap.commands.arguments import Subparsers, action, number
from smartproxy.tap.commands.console import Console, listing, table, when


def register(subparsers: Subparsers) -> None:
    """Declare the commands."""
    summary = "List the generations of the configuration: who changed what, and when."
    parser = action(subparsers, "history", summary, run)
    parser.add_argument("-n", "--number", type=number, default=50, metavar="N", help="show only the newest N [50]")
    out = action(
        subparsers,
        "export",
        "Write the whole configuration to one file: partners, CAs, revocation lists, settings.",
        export,
        "  smartproxy export site.json                      (no private keys: to compare, to look at)\n"
        "  smartproxy export site.json --with-secrets       (with all private keys: to move or restore the site)",
    )
    out.add_argument("file", metavar="FILE", help="- for standard output")
    out.add_argument(
        "--with-secrets",
        action="store_true",
        help="also the authority, identities, clients and licences: whoever has this file can act as the site",
    )
    into = action(
        subparsers,
        "import",
        "Replace the configuration with that of an exported file, completely or not at all. What a file "
        "without secrets does not have (authority, identities, clients, licences) stays as it is.",
        take,
        "  smartproxy import site.json\n  smartproxy --state-dir /srv/new import site-with-secrets.json",
    )
    into.add_argument("file", metavar="FILE", help="- for standard input")


def run(console: Console) -> None:
    """List generations."""
    from smartproxy.backend import generations

    with console.reading() as session:
        found = generations.history(session, max(1, console.arguments.number))
    documents = [
        {"generation": each.number, "time": each.made, "by": each.made_by, "change": each.change} for each in found
    ]
    cells = [(each.number, when(each.made), each.made_by, each.change) for each in found]
    console.answer(documents, table(("GENERATION", "TIME", "BY", "CHANGE"), cells, "nothing was changed yet"))


def export(console: Console) -> None:
    """Write the configuration to a file."""
    from smartproxy.backend import archive

    wanted = console.arguments
    with console.reading() as session:
        text = archive.export(session, console.now(), with_secrets=wanted.with_secrets)
    if wanted.file in ("-", "/dev/stdout"):
        console.out.write(text)
        return
    console.write(wanted.file, text, private=True)
    held = "with all private keys: keep it as secret as a key" if wanted.with_secrets else "without private keys"
    console.answer(
        {"file": wanted.file, "octets": len(text.encode()), "with_secrets": wanted.with_secrets},
        f"exported to {wanted.file}, {held}",
    )


def take(console: Console) -> None:
    """Take the configuration of a file."""
    import attrs

    from smartproxy.backend import archive

    path = console.arguments.file
    parsed = archive.parse_file(console.read(path))
    with console.changing(f"import {path}", make=True) as change:
        found = archive.take(change, parsed)
    brought = attrs.asdict(found)
    shown = {name.replace("_", " "): "as they were" if count is None else count for name, count in brought.items()}
    console.answer(brought, listing(shown))
