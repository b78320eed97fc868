"""``smartproxy session``: past sessions, who said what in one, and the sessions that run."""

from shlex import quote
from typing import TYPE_CHECKING, Any

from smartproxy.logs.severity import Severity
from smartproxy.oftp2.commands import BLOCK_OCTETS
from smartproxy.policy import limits
from smartproxy.policy.outcomes import RUNNING, SESSION_OUTCOMES, Outcome
from smartproxy.policy.schema import write_object
from smartproxy.policy.session_record import STEPS_LAST
from smartproxy.tap.commands.arguments import Subparsers, action, newest, newest_wanted, number, past, subject, writes
from smartproxy.tap.commands.console import Console, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.session import KnownRung, KnownSession, SessionStory

LEVELS = tuple(each.label for each in Severity)
_HEADS = ("BEGAN", "SESSION", "PARTNER", "CALLED BY", "FILES", "IN", "OUT", "OUTCOME")
_LIVE_HEADS = ("SINCE", "SESSION", "PARTNER", "PHASE", "FILE", "OCTETS", "OF", "RATE", "CLIENT")
_EXAMPLES = """\
  smartproxy session list --partner ACME --since 7d
  smartproxy session list --file DOOR-PANEL --json
  smartproxy session show 34553c8b4d704d43
  smartproxy session recording 34553c8b4d704d43 -o session.jsonl && smartproxy judge session.jsonl
  smartproxy session live"""
_WIDTH = 58


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "session", "sessions: past ones, who said what, and those that run now", _EXAMPLES)
    which = action(actions, "list", "List sessions, the newest first.", list_sessions, _EXAMPLES)
    which.add_argument("--partner", metavar="NAME")
    which.add_argument("--outcome", choices=SESSION_OUTCOMES, help="how it ended; running: no end was told yet")
    which.add_argument("--file", metavar="NAME", help="the beginning of the name of a file that was transferred in it")
    which.add_argument(
        "--since", type=past, metavar="TIME", help="a date, 2026-11-20T12:00 (UTC), yesterday, or 5m, 2h, 7d ago"
    )
    which.add_argument("--until", type=past, metavar="TIME")
    which.add_argument(
        "--before", type=number, metavar="N", help="only sessions before this one: 'next' in the answer of --json"
    )
    newest(which, limits.PAGE.default)
    show = action(
        actions, "show", "Show a session: who said what when, what was agreed, its files and its events.", show_session
    )
    keep = action(
        actions,
        "recording",
        "Write a session as a recording that 'smartproxy judge' reads. Passwords are masked; the content of files was "
        "never kept.",
        record,
    )
    writes(keep, "-o", "--output", required=True, again=True)
    action(actions, "live", "List the sessions that run now: file, octets, rate.", live)
    end = action(actions, "end", "End a live session with ESID 05.", end_session)
    level = action(
        actions, "level", "Log a live session at another level, in the log of its client, until it ends.", set_level
    )
    for each in (show, keep, end, level):
        each.add_argument("session", metavar="ID", help="its id, as the list and events have it")
    level.add_argument("level", choices=LEVELS, nargs="?", default="trace", help="[trace]")


def list_sessions(console: Console) -> None:
    """List sessions."""
    import attrs

    from smartproxy.backend.operations import session as operations

    given = console.arguments
    wanted = operations.SessionsWanted(
        partner=given.partner,
        outcome=given.outcome,
        file=given.file,
        since=given.since,
        until=given.until,
    )
    found: list[KnownSession] = []
    following, most = given.before, newest_wanted(given)
    while True:
        limit = min(most - len(found), limits.PAGE.most)
        part = console.call(operations.listed, attrs.evolve(wanted, before=following, limit=limit))
        found += part.items
        following = part.next
        if following is None or len(found) == most:
            break
    rows = [
        (
            f"{each.began:%Y-%m-%d %H:%M:%S}",
            each.session,
            each.partner or "-",
            _caller(each),
            ", ".join(file.dataset for file in each.files) or "-",
            each.octets_in,
            each.octets_out,
            _outcome(each),
        )
        for each in found
    ]
    text = table(_HEADS, rows, "no sessions")
    if following is not None:
        text += f"\nmore before these: --before {following}"
    console.answer({"sessions": [write_object(each) for each in found], "next": following}, text)


def show_session(console: Console) -> None:
    """Show all that the backend knows of a session, step by step."""
    from smartproxy.backend.operations import session as operations
    from smartproxy.policy.schema import write_object

    found = console.call(operations.show, operations.SessionNamed(session=console.arguments.session))
    console.answer(write_object(found), _shown(found))


def record(console: Console) -> None:
    """Write a recording."""
    from smartproxy.backend.operations import session as operations

    given = console.arguments
    found = console.call(operations.recording, operations.SessionNamed(session=given.session))
    console.write(given.output, found.text)
    console.answer({"file": given.output}, f"wrote {given.output}: smartproxy judge {quote(str(given.output))}")


def live(console: Console) -> None:
    """List those that run."""
    from smartproxy.backend.operations import session as operations
    from smartproxy.backend.operations.shapes import Nothing
    from smartproxy.policy.schema import write_object

    now = console.call(operations.live, Nothing())
    rows = []
    for each in now.items:
        state, file = each.state, each.state.file
        rows.append(
            (
                f"{state.since:%Y-%m-%d %H:%M:%S}",
                state.session,
                state.partner or "-",
                state.phase,
                "-" if file is None else file.dataset,
                "-" if file is None else file.octets,
                "-" if file is None or file.size is None else file.size * BLOCK_OCTETS,
                f"{max(state.rate_in, state.rate_out)} B/s",
                each.client,
            )
        )
    text = table(_LIVE_HEADS, rows, "no session runs, by what the clients told within the last seconds")
    if now.count > len(rows):
        text += f"\n{now.count} sessions run in all"
    console.answer(
        {"sessions": [{"client": each.client, **write_object(each.state)} for each in now.items], "count": now.count},
        text,
    )


def end_session(console: Console) -> None:
    """Have one ended."""
    from smartproxy.backend.operations import session as operations

    asked = console.call(operations.end, operations.SessionNamed(session=console.arguments.session))
    console.answer({"session": asked.session}, f"asked the client of session {asked.session} to end it")


def set_level(console: Console) -> None:
    """Have one logged at another level."""
    from smartproxy.backend.operations import session as operations

    given = console.arguments
    asked = console.call(operations.level, operations.LevelWanted(session=given.session, level=given.level))
    console.answer(
        {"session": asked.session, "level": given.level},
        f"asked the client of session {asked.session} to log it at level {given.level}",
    )


def _caller(each: "KnownSession") -> str:
    return {"inbound": "partner", "outbound": "station"}.get(each.direction or "", "-")


def _outcome(each: "KnownSession") -> str:
    usual = each.outcome in (Outcome.COMPLETED, RUNNING) or not each.cause
    return each.outcome if usual else f"{each.outcome} ({each.cause})"


def _shown(found: "SessionStory") -> str:
    known = found.known
    lasted = None if known.ended is None else (known.ended - known.began).total_seconds()
    facts: dict[str, Any] = {
        "session": known.session,
        "partner": known.partner or "-",
        "called by": _caller(known),
        "began": when(known.began),
        "lasted": "-" if lasted is None else f"{lasted:.1f} s",
        "outcome": _outcome(known),
        "why": known.message,
        "octets": f"{known.octets_in} in, {known.octets_out} out",
        "set up in": None if found.setup is None else f"{found.setup} ms",
        "station held the partner back": _held(found.held_partner),
        "partner held the station back": _held(found.held_station),
        "files": [f"{file.dataset} ({file.link}, {file.outcome}, {file.octets} octets)" for file in known.files],
    }
    if found.agreed:
        facts["agreed"] = ", ".join(f"{name} {value}" for name, value in found.agreed.items())
    for name in ("tls", "cipher", "subject", "issuer", "serial", "not_after"):
        if name in found.certificate:
            facts[name] = found.certificate[name]
    blocks = [listing({name: value for name, value in facts.items() if value not in (None, [])})]
    blocks.append(_ladder(found))
    events = [event.stored().short() for event in found.events]
    blocks.append("\n".join(events) if events else "no events are stored")
    return "\n\n".join(blocks)


def _held(milliseconds: int) -> str | None:
    return f"{milliseconds / 1000:.1f} s" if milliseconds else None


def _ladder(found: "SessionStory") -> str:
    """Arrows between partner and station, with the time on the left."""
    from smartproxy.logs.render import escape

    if not found.ladder:
        return "who said what: no record of this session is kept"
    lines = [f"{'ms':>9}  {'partner':<{_WIDTH}} station"]
    for index, rung in enumerate(found.ladder):
        if found.left_out and index == len(found.ladder) - min(STEPS_LAST, len(found.ladder)):
            lines.append(f"{'':>9}  ... {found.left_out} commands are not in the record ...")
        lines.append(_line(rung, escape(f"{rung.command} {rung.words or ''}".strip(), _WIDTH - 4)))
    return "\n".join(lines)


def _line(rung: "KnownRung", words: str) -> str:
    at = "" if rung.at is None else str(rung.at)
    if rung.by == "proxy":
        arrow = f"<-- {words} (SmartProxy)" if rung.to == "partner" else f"{'':>24}{words} (SmartProxy) -->"
        return f"{at:>9}  {arrow}".rstrip()
    if rung.to == "proxy":
        arrow = f"{words} --> (SmartProxy)" if rung.by == "partner" else f"{'':>24}(SmartProxy) <-- {words}"
        return f"{at:>9}  {arrow}"
    dashes = "-" * max(_WIDTH - 3 - len(words), 1)
    return f"{at:>9}  " + (f"{words} {dashes}>" if rung.by == "partner" else f"<{dashes} {words}")
