"""``smartproxy logrc``: the files that say what a daemon logs, and where to."""

from smartproxy.tap.commands.arguments import Subparsers, action, subject, writes
from smartproxy.tap.commands.console import CommandFailed, Console


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "logrc", "the files that say what a daemon logs, and where to")
    make = action(
        actions,
        "convert",
        "Make a logrc of an old one of log4c, and say what has no counterpart.",
        convert,
        "  smartproxy logrc convert /opt/os4x/proxy/os4x_proxyserver.logrc \\\n"
        "    -o /var/lib/smartproxy/smartproxy-server.logrc",
        uses=None,
    )
    make.add_argument("file", metavar="FILE", help="the old file; - for standard input")
    writes(make, "-o", "--output", shown=True, again=True, help="where to write it [-, standard output]")


def convert(console: Console) -> None:
    """Convert a file."""
    from smartproxy.logs.log4c import Log4cRefused, convert

    wanted = console.arguments
    try:
        converted = convert(console.read(wanted.file))
    except Log4cRefused as refused:
        raise CommandFailed(f"{wanted.file} is no logrc of log4c that can be converted: {refused}") from refused
    document = {"logrc": converted.text, "notes": list(converted.notes)}
    for note in () if wanted.json else converted.notes:
        console.warn(note)
    if wanted.output is None:
        console.answer(document, converted.text.rstrip("\n"))
        return
    console.write(wanted.output, converted.text)
    console.answer(document, f"written to {wanted.output}; a daemon reads it at its start")
