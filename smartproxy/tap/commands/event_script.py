"""``smartproxy event-script``: the program that the backend starts for critical events."""

import json
import os
import pwd
from typing import TYPE_CHECKING

from smartproxy.policy import limits
from smartproxy.tap.commands.arguments import Subparsers, action, newest, newest_wanted, number, subject
from smartproxy.tap.commands.console import FAILED, Console, WrongUse, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.event_script import KnownRun, TestedScript

_THOUSAND = 1000
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
    newest(look, 100)
    one = action(actions, "show", "Show what it wrote for an event.", show)
    one.add_argument("event", type=number, metavar="NUMBER", help="the event's number, as the list shows it")


def test(console: Console) -> int:
    """Run the program once."""
    from smartproxy.backend.operations import event_script as operations

    wanted = console.arguments
    if wanted.program is not None and not wanted.program.startswith("/"):
        raise WrongUse("event-script test --program: give the absolute path of a program")
    if wanted.program is not None and wanted.api_url is not None:
        raise WrongUse("event-script test --program: another program is tried on the backend's machine only")
    if wanted.program is None:
        if wanted.api_url is None:
            with console.store() as store:
                _warn_of_user(console, store.location.file)
        done = console.call(operations.test, operations.ScriptTestWanted(event=wanted.event))
    else:
        done = _try(console, wanted.program)
    pairs = {
        "program": done.program,
        "told": json.dumps(done.event),
        "exit status": "-" if done.exit_status is None else done.exit_status,
        "took": f"{done.milliseconds / _THOUSAND:.2f} s",
        "result": "it ended well" if done.cause is None else done.message,
        "it wrote": done.output.split("\n") if done.output else "nothing",
    }
    console.answer(
        {
            "program": done.program,
            "event": done.event,
            "exit_status": done.exit_status,
            "seconds": done.milliseconds / _THOUSAND,
            "cause": done.cause,
            "message": done.message,
            "output": done.output,
        },
        listing(pairs),
    )
    return 0 if done.cause is None else FAILED


def _try(console: Console, program: str) -> "TestedScript":
    """Run another program than the one that is set, as whoever gives the command."""
    from smartproxy.backend.alerts import results
    from smartproxy.backend.operations.event_script import TestedScript

    with console.store() as store:
        _warn_of_user(console, store.location.file)
        with store.reading() as session:
            script, event = results.script_to_try(session, console.now(), program, console.arguments.event)
    return TestedScript(program=program, event=event, seconds_most=script.seconds).completed()


def show_all(console: Console) -> None:
    """List runs."""
    from smartproxy.backend.operations import event_script as operations

    most = newest_wanted(console.arguments)
    limit = min(most, limits.EVENTS_PAGE.most)
    found = console.call(operations.runs, operations.RunsWanted(limit=limit)).items
    if len(found) == limit < most:
        console.warn(f"the newest {limit} are shown: more are not listed at once")
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
    from smartproxy.backend.operations import event_script as operations

    found = console.call(operations.run_of, operations.RunWanted(event=console.arguments.event))
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


def _document(result: "KnownRun") -> dict[str, object]:
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
