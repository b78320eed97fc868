"""``smartproxy event-script``: the program that the backend starts for critical events."""

import json
import os
import pwd
from typing import TYPE_CHECKING

from smartproxy.tap.commands.arguments import Subparsers, action, number, subject
from smartproxy.tap.commands.console import FAILED, Console, WrongUse, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.alerts.results import AlertResult

_EXAMPLES = """\
  smartproxy settings set backend.event_script.program /usr/local/bin/on-event
  smartproxy event-script test
  smartproxy event-script list"""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "event-script", "the program that the backend starts for critical events", _EXAMPLES)
    trial = action(
        actions,
        "test",
        "Run the event script with an example, or with a stored event, and show what it said. Exit status 1 if it "
        "failed. Run this as the backend's user.",
        test,
        "  smartproxy event-script test\n  smartproxy event-script test --program /tmp/new-script --event 4711",
    )
    trial.add_argument("--program", metavar="PATH", help="another program than the one that is set")
    trial.add_argument("--event", type=number, metavar="NUMBER", help="the number of a stored event")
    look = action(actions, "list", "List for which events it was started, and how it ended.", show_all)
    look.add_argument("-n", "--number", type=number, default=100, metavar="N", help="only the newest N [100]")
    one = action(actions, "show", "Show what it wrote for an event.", show)
    one.add_argument("event", type=number, metavar="NUMBER", help="the event's number, as the list shows it")


def test(console: Console) -> int:
    """Run it."""
    from smartproxy.backend.alerts import results

    wanted = console.arguments
    if wanted.program is not None and not wanted.program.startswith("/"):
        raise WrongUse("event-script test --program: give the absolute path of a program")
    with console.store() as store:
        _warn_of_user(console, store.location.file)
        done = results.try_script(store, console.now(), wanted.program, wanted.event)
    run = done.run
    pairs = {
        "program": done.program,
        "told": json.dumps(done.event),
        "exit status": "-" if run.exit_status is None else run.exit_status,
        "took": f"{run.seconds:.2f} s",
        "result": "it ended well" if run.cause is None else run.message,
        "it wrote": run.output.split("\n") if run.output else "nothing",
    }
    console.answer(
        {
            "program": done.program,
            "event": done.event,
            "exit_status": run.exit_status,
            "seconds": run.seconds,
            "cause": run.cause,
            "message": run.message,
            "output": run.output,
        },
        listing(pairs),
    )
    return 0 if run.cause is None else FAILED


def show_all(console: Console) -> None:
    """List runs."""
    from smartproxy.backend.alerts import results
    from smartproxy.backend.alerts.intake import AlertChannel

    with console.reading() as session:
        found = results.listed(session, AlertChannel.SCRIPT, console.arguments.number)
    cells = [
        (
            each.event,
            each.name or "(deleted)",
            when(each.received),
            each.state.value,
            each.cause or "-",
            "-" if each.exit_status is None else each.exit_status,
        )
        for each in found
    ]
    heads = ("EVENT", "NAME", "ARRIVED", "STATE", "CAUSE", "EXIT STATUS")
    console.answer([_document(each) for each in found], table(heads, cells, "no event has started the event script"))


def show(console: Console) -> None:
    """Show one run."""
    from smartproxy.backend.alerts import results

    with console.reading() as session:
        found = results.script_for(session, console.arguments.event)
    pairs = {
        "event": f"{found.event} {found.name or '(deleted)'}",
        "arrived": when(found.received),
        "state": found.state.value,
        "ended": when(found.ended),
        "cause": found.cause or "-",
        "exit status": "-" if found.exit_status is None else found.exit_status,
        "it wrote": found.output.split("\n") if found.output else "nothing",
    }
    console.answer(_document(found), listing(pairs))


def _warn_of_user(console: Console, store: object) -> None:
    """Tell a user who is not the backend's: what the program may do depends on it."""
    try:
        owner = os.stat(str(store)).st_uid
        if store is None or owner == os.geteuid():
            return
        name = pwd.getpwuid(owner).pw_name
    except (OSError, KeyError):
        return
    console.warn(
        f"the backend runs it as the user {name}; try it as that user: sudo -u {name} smartproxy event-script test"
    )


def _document(result: "AlertResult") -> dict[str, object]:
    return {
        "event": result.event,
        "name": result.name,
        "arrived": result.received,
        "state": result.state.value,
        "ended": result.ended,
        "attempts": result.attempts,
        "cause": result.cause,
        "exit_status": result.exit_status,
        "output": result.output,
    }
