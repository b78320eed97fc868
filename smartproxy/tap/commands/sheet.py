"""``smartproxy partner sheet``: what a partner has to be told to connect, in its language."""

from smartproxy.tap.commands.arguments import Subparsers, action, writes
from smartproxy.tap.commands.console import Console

_EXAMPLES = """\
  smartproxy settings set backend.sheet.host oftp.muster.example backend.sheet.codes O0013000001MUSTER
  smartproxy partner sheet ACME
  smartproxy partner sheet ACME --language de --format html -o acme.html"""


def register(actions: Subparsers) -> None:
    """Declare the action."""
    make = action(
        actions,
        "sheet",
        "Show what a partner has to be told to connect: our address, codes and certificate, what we know of it, and "
        "what we need from it. There is nothing secret on it. What the store does not know are settings: "
        "'smartproxy settings show backend.sheet'.",
        sheet,
        _EXAMPLES,
    )
    make.add_argument("name", metavar="NAME")
    make.add_argument("--language", choices=("en", "de"), default="en", help="English or German [en]")
    make.add_argument("--format", choices=("text", "html"), default="text", help="text, or a page for a browser [text]")
    writes(make, "-o", "--output", shown=True, again=True, help="where to write it [standard output]")


def sheet(console: Console) -> None:
    """Make a partner's sheet."""
    from smartproxy.backend.operations import sheets
    from smartproxy.policy.sheet import SheetFormat
    from smartproxy.policy.sheet_words import Language

    given = console.arguments
    wanted = sheets.SheetWanted(name=given.name, language=Language(given.language), format=SheetFormat(given.format))
    made = console.call(sheets.sheet, wanted)
    if made.missing:
        console.warn(f"the sheet does not say all; these settings would: {', '.join(made.missing)}")
    document = {"name": given.name, "missing": list(made.missing)}
    if given.output is None:
        console.answer({**document, "text": made.text}, made.text.rstrip("\n"))
    else:
        console.write(given.output, made.text)
        console.answer({**document, "file": given.output}, f"the sheet of {given.name} is in {given.output}")
