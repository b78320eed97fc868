"""``smartproxy judge``: a recorded session through the same monitor that the daemons use."""

from smartproxy.tap.commands.arguments import Subparsers, action
from smartproxy.tap.commands.console import Console


def register(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = action(
        subparsers,
        "judge",
        "Judge a recorded session (JSON lines): one line per command, exit status 1 on a violation.",
        run,
        "  smartproxy judge trace.jsonl --profile strict",
        uses=None,
    )
    parser.add_argument("file", metavar="FILE", help="the recording; - for standard input")
    parser.add_argument(
        "--profile", choices=("default", "strict"), default="default", help="which departures are tolerated [default]"
    )


def run(console: Console) -> int:
    """Judge a recording."""
    from smartproxy.tap.commands.recordings import judge

    wanted = console.arguments
    return judge(wanted.file, profile=wanted.profile, as_json=wanted.json, out=console.out)
