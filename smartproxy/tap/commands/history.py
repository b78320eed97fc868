"""``smartproxy history``, ``export`` and ``import``: who changed what and when, and the configuration as one file."""

from typing import TYPE_CHECKING

from smartproxy.logs.render import escape
from smartproxy.policy import limits
from smartproxy.policy.schema import write_object
from smartproxy.tap.commands.arguments import Subparsers, action, newest, newest_wanted, number, writes
from smartproxy.tap.commands.console import CommandFailed, Console, listing, table, when
from smartproxy.tap.commands.differences import difference_lines, entry_title

if TYPE_CHECKING:
    from smartproxy.backend.operations.history import KnownGeneration, PlannedRollBack

_EXAMPLES = """\
  smartproxy history -n 10
  smartproxy history show 41
  smartproxy history roll-back 40 --dry-run
  smartproxy history roll-back 40 --comment 'the new partners come next week'"""


def register(subparsers: Subparsers) -> None:
    """Declare the commands."""
    summary = "List the generations of the configuration: who changed what, when and why."
    parser = action(subparsers, "history", summary, run, _EXAMPLES)
    newest(parser, 50)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    look = action(
        actions, "show", "Show what a generation changed, compared with the one before; never a secret.", show
    )
    look.add_argument("generation", type=number, metavar="N", help="the number of the generation")
    back = action(
        actions,
        "roll-back",
        "Have settings, CAs, partners and ignore rules of an earlier generation again, as a new generation. First it "
        "says what that changes, whom it would refuse, and what cannot be brought back, and asks.",
        roll_back,
        changes=True,
    )
    back.add_argument("generation", type=number, metavar="N", help="the number of the generation")
    sure = back.add_mutually_exclusive_group()
    sure.add_argument("--yes", action="store_true", help="do not ask")
    sure.add_argument("--dry-run", action="store_true", help="only say what would change")
    action(
        actions,
        "waiting",
        "List changes that wait for a second administrator (setting backend.four_eyes).",
        waiting,
    )
    out = action(
        subparsers,
        "export",
        "Write the whole configuration to one file: partners, CAs, revocation lists, settings.",
        export,
        "  smartproxy export site.json                      (no private keys: to compare, to look at)\n"
        "  smartproxy export site.json --with-secrets       (with all private keys: to move or restore the site)",
    )
    writes(out, "file", shown=True, again=True, help="- for standard output")
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
        changes=True,
    )
    into.add_argument("file", metavar="FILE", help="- for standard input")


def run(console: Console) -> None:
    """List generations."""
    from smartproxy.backend.operations import history as operations

    found: list[KnownGeneration] = []
    before, most = None, newest_wanted(console.arguments)
    while len(found) < most:
        wanted = operations.GenerationsWanted(before=before, limit=min(most - len(found), limits.PAGE.most))
        part = console.call(operations.listed, wanted)
        found[:0] = part.items
        before = part.next
        if before is None:
            break
    documents = [
        {
            "generation": each.number,
            "time": each.made,
            "by": each.made_by,
            "way": each.channel.value,
            "change": each.change,
            "comment": each.comment,
        }
        for each in found
    ]
    cells = [
        (each.number, when(each.made), each.made_by, each.channel.value, each.change, each.comment or "")
        for each in found
    ]
    heads = ("GENERATION", "TIME", "BY", "WAY", "CHANGE", "COMMENT")
    console.answer(documents, table(heads, cells, "nothing was changed yet"))


def show(console: Console) -> None:
    """Show what a generation changed."""
    from smartproxy.backend.operations import history as operations

    wanted = operations.GenerationWanted(number=console.arguments.generation)
    shown = console.call(operations.show, wanted)
    entry, changed = shown.generation, [each.difference() for each in shown.differences]
    document = {
        "generation": entry.number,
        "time": entry.made,
        "by": entry.made_by,
        "way": entry.channel.value,
        "change": entry.change,
        "comment": entry.comment,
        "differences": [each.told() for each in changed],
    }
    head = listing(
        {
            "generation": entry.number,
            "made": when(entry.made),
            "by": entry.made_by,
            "way": entry.channel.value,
            "change": entry.change,
            "comment": entry.comment or "none",
        }
    )
    lines = difference_lines(changed) or ["nothing differs from the generation before"]
    console.answer(document, "\n".join([head, "", *lines]))


def roll_back(console: Console) -> None:
    """Have the content of an earlier generation again."""
    from smartproxy.backend.operations import history as operations

    wanted = console.arguments
    plan = console.call(operations.plan, operations.GenerationWanted(number=wanted.generation))
    document, text = _plan_document(plan), _plan_text(plan)
    if wanted.dry_run or not plan.differences:
        console.answer({**document, "generation": None}, text)
        return
    if not wanted.yes:
        console.err.write(f"{text}\n")
        if not console.agreed(f"Roll back to generation {plan.number}?"):
            raise CommandFailed("nothing is changed; give --yes to roll back without being asked")
    back = operations.RollBackWanted(number=plan.number, newest=plan.newest)
    generation = console.call(operations.roll_back, back).generation
    done = f"generation {generation} has the settings, CAs, partners and ignore rules of generation {plan.number}"
    console.answer({**document, "generation": generation}, done if not wanted.yes else f"{text}\n{done}")


def _plan_document(plan: "PlannedRollBack") -> dict[str, object]:
    return {
        "to": plan.number,
        "from": plan.newest,
        "differences": [each.difference().told() for each in plan.differences],
        "refused": [{"partner": each.partner, "why": each.why} for each in plan.refusals],
        "not_brought_back": [
            {"subject": each.difference.subject.value, "name": each.difference.name, "why": each.why}
            for each in plan.kept
        ],
    }


def _plan_text(plan: "PlannedRollBack") -> str:
    """What a roll-back would do, for people."""
    refused = [f"{'everybody' if each.partner == '*' else each.partner}: {each.why}" for each in plan.refusals]
    kept = [f"{entry_title(each.difference.difference())}: {each.why}" for each in plan.kept]
    changes = difference_lines(each.difference() for each in plan.differences)
    parts = (
        ("it changes:", changes or ["nothing"]),
        ("it would refuse:", [escape(each, 500) for each in refused] or ["nobody"]),
        ("it cannot bring back:", [escape(each, 500) for each in kept]),
    )
    return "\n".join(line for title, lines in parts if lines for line in (title, *(f"  {each}" for each in lines)))


def waiting(console: Console) -> None:
    """List what waits for a second administrator."""
    from smartproxy.backend.operations.second import waiting
    from smartproxy.backend.operations.shapes import Nothing

    found = console.call(waiting, Nothing()).items
    cells = [(when(each.at), each.by, when(each.until), each.said) for each in found]
    documents = [write_object(each) for each in found]
    console.answer(documents, table(("WANTED", "BY", "WAITS UNTIL", "WHAT"), cells, "nothing waits"))


def export(console: Console) -> None:
    """Write the configuration to a file."""
    from smartproxy.backend import archive
    from smartproxy.backend.audit import Deed

    wanted = console.arguments
    if wanted.with_secrets:
        # Recorded before the keys are out: a file that could not be written then is recorded, too.
        with console.recording(Deed.EXPORT, f"export {wanted.file or '-'} --with-secrets") as session:
            text = archive.export(session, console.now(), with_secrets=True)
    else:
        with console.reading() as session:
            text = archive.export(session, console.now(), with_secrets=False)
    if wanted.file in (None, "/dev/stdout"):
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

    from smartproxy.backend import archive, archive_file

    path = console.arguments.file
    parsed = archive_file.parse_file(console.read(path))
    with console.changing(f"import {path}", make=True) as change:
        found = archive.take(change, parsed)
    brought = attrs.asdict(found)
    shown = {name.replace("_", " "): "as they were" if count is None else count for name, count in brought.items()}
    console.answer(brought, listing(shown))
