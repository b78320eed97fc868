"""``smartproxy explain``: why a partner was refused, or how its session ended, in words that can be sent to it."""

from typing import TYPE_CHECKING

from smartproxy.tap.commands.arguments import Subparsers, action
from smartproxy.tap.commands.console import Console, listing, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.refusal import KnownRefusal


def register(subparsers: Subparsers) -> None:
    """Declare the command."""
    parser = action(
        subparsers,
        "explain",
        "Say why a partner was refused, why a call to it failed, or how a session with it ended: first in words that"
        " can be sent to the partner, then what only this site should know.",
        run,
        "  smartproxy explain ACME                  (the last one of a partner)\n"
        "  smartproxy explain 192.0.2.7             (the last one of an address)\n"
        "  smartproxy explain 0123456789abcdef      (a session)\n"
        "  smartproxy explain 4711 --json           (an event, by its number)",
    )
    parser.add_argument(
        "what", metavar="WHAT", help="an event's number, a session's id, a partner's name or an address"
    )


def run(console: Console) -> None:
    """Explain a refusal or an end."""
    from smartproxy.backend.operations import refusal as operations

    found = console.call(operations.explain, operations.RefusalWanted(what=console.arguments.what))
    console.answer(_document(found), _text(found))


_WHAT = {
    False: "your connection to us was refused or ended",
    True: "our call to your system failed, or its session ended",
}


def _text(found: "KnownRefusal") -> str:
    event = found.event
    blocks = [
        f"At {when(event.time)} {_WHAT[found.outgoing]}.",
        f"{found.happened}\n{found.remedy}",
    ]
    seen = {"from": found.peer, "SSIDCODE given": found.code, "called": found.called}
    facts = {
        **{word: value for word, value in seen.items() if value is not None},
        **{f"certificate: {each.name}": each.value for each in found.certificate},
        **{f"revocation list: {each.name}": each.value for each in found.revocation_list},
        **{f"protocol: {each.name}": each.value for each in found.protocol},
        "your system sent": found.sent or "-",
        "your system saw": found.saw or ("-" if found.sent or not found.reached else "the end of the connection"),
        "ESID reason code": "-" if found.reason is None else found.reason,
    }
    if known := {name: value for name, value in facts.items() if value != "-"}:
        blocks.append(listing(known))
    ours = {
        "event": f"{event.number} {event.name}",
        "partner": event.fields.get("partner", "-"),
        "session": event.fields.get("session", "-"),
        "cause": f"{found.cause} [{found.key}]",
        "what to do": found.advice or "-",
        "also": [str(each.stored()) for each in found.others] or "-",
    }
    blocks.append("For this site only:\n" + listing({name: value for name, value in ours.items() if value != "-"}))
    return "\n\n".join(blocks)


def _document(found: "KnownRefusal") -> dict[str, object]:
    event = found.event
    return {
        "to_partner": {
            "time": event.time,
            "happened": found.happened,
            "remedy": found.remedy,
            "outgoing": found.outgoing,
            "called": found.called,
            "peer": found.peer,
            "code": found.code,
            "certificate": {each.name: each.value for each in found.certificate},
            "revocation_list": {each.name: each.value for each in found.revocation_list},
            "protocol": {each.name: each.value for each in found.protocol},
            "reached": found.reached,
            "saw": found.saw,
            "sent": found.sent,
            "reason": found.reason,
        },
        "for_us": {
            "event": event.number,
            "name": event.name,
            "partner": event.fields.get("partner"),
            "session": event.fields.get("session"),
            "cause": found.cause,
            "key": found.key,
            "advice": found.advice,
            "others": [each.number for each in found.others],
        },
    }
