"""``smartproxy transfers``: which files went where, how fast, how it ended, and which end response came."""

from typing import TYPE_CHECKING

from smartproxy.policy import limits
from smartproxy.policy.outcomes import TransferOutcome
from smartproxy.tap.commands.arguments import Subparsers, action, past
from smartproxy.tap.commands.console import Console, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.transfer import KnownResponse, KnownTransfer

_HEADS = ("TIME", "PARTNER", "DIRECTION", "FILE", "OCTETS", "RATE", "OUTCOME", "EERP")
_THOUSAND = 1000


def register(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = action(
        subparsers,
        "transfers",
        "List the files that partners and station sent each other: size, rate, outcome, and the EERP or NERP that "
        "answered each. TIME is the end of the transfer.",
        run,
        "  smartproxy transfers --since yesterday\n"
        "  smartproxy transfers --since 2026-11-19T20:00 --until 2026-11-20T06:00 --partner ACME\n"
        "  smartproxy transfers --since 7d --outcome lost --json",
    )
    which = parser.add_argument_group("which")
    which.add_argument("--partner", metavar="NAME")
    which.add_argument(
        "--outcome",
        choices=[each.value for each in TransferOutcome],
        help="unconfirmed: sent completely, but the session ended before EFPA; lost: it ended during the file",
    )
    which.add_argument(
        "--since",
        type=past,
        default="yesterday",
        metavar="TIME",
        help="a date, 2026-11-20T12:00 (UTC), yesterday, or 5m, 2h, 7d ago [yesterday]",
    )
    which.add_argument("--until", type=past, metavar="TIME")


def run(console: Console) -> None:
    """List transfers."""
    import attrs

    from smartproxy.backend.operations import transfer as operations

    given = console.arguments
    wanted = operations.TransfersWanted(
        partner=given.partner,
        outcome=None if given.outcome is None else TransferOutcome(given.outcome),
        since=given.since,
        until=given.until,
        limit=limits.EVENTS_PAGE.most,
    )
    found: list[KnownTransfer] = []
    part = console.call(operations.listed, wanted)
    found += part.items
    while part.next is not None:
        part = console.call(operations.listed, attrs.evolve(wanted, after=part.next))
        found += part.items
    rows = [
        (
            f"{each.time:%Y-%m-%d %H:%M:%S}",
            each.partner,
            each.direction.value,
            each.dataset,
            "-" if each.octets is None else each.octets,
            _rate(each.rate),
            _outcome(each),
            _answer(each.response),
        )
        for each in found
    ]
    console.answer([document(each) for each in found], table(_HEADS, rows, "no transfers"))


def document(transfer: "KnownTransfer") -> dict[str, object]:
    """A transfer as JSON shows it; ``rate`` in octets a second, ``response`` is null until there is one."""
    response = transfer.response
    return {
        "number": transfer.number,
        "time": transfer.time,
        "session": transfer.session,
        "partner": transfer.partner,
        "direction": transfer.direction.value,
        "dataset": transfer.dataset,
        "stamp": transfer.stamp,
        "originator": transfer.originator,
        "destination": transfer.destination,
        "octets": transfer.octets,
        "seconds": None if transfer.milliseconds is None else transfer.milliseconds / _THOUSAND,
        "rate": transfer.rate,
        "outcome": transfer.outcome.value,
        "answer": transfer.answer,
        "reason_text": transfer.reason_text,
        "cause": transfer.cause,
        "response": None
        if response is None
        else {
            "command": response.command,
            "time": response.time,
            "answer": response.answer,
            "reason_text": response.reason_text,
        },
    }


def _rate(octets: int | None) -> str:
    """Octets a second, in three digits and a unit."""
    if octets is None:
        return "-"
    value = float(octets)
    for unit in ("B/s", "kB/s", "MB/s"):
        if value < _THOUSAND:
            return f"{value:.3g} {unit}"
        value /= _THOUSAND
    return f"{value:.3g} GB/s"


def _outcome(transfer: "KnownTransfer") -> str:
    why = transfer.cause if transfer.answer is None else f"{transfer.answer:02d}"
    return transfer.outcome.value + (f" ({why})" if why else "")


def _answer(response: "KnownResponse | None") -> str:
    if response is None:
        return "-"
    why = "" if response.answer is None else f" {response.answer:02d}"
    return f"{response.command}{why} {when(response.time)}"
