"""``smartproxy history``: who changed what, and when."""

from smartproxy.tap.commands.arguments import Subparsers, action
from smartproxy.tap.commands.console import Console, table, when


def register(subparsers: Subparsers) -> None:
    """Declare the command."""
    summary = "List the generations of the configuration: who changed what, and when."
    parser = action(subparsers, "history", summary, run)
    parser.add_argument("-n", "--number", type=int, default=50, metavar="N", help="the newest so many [50]")


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
