"""``smartproxy explain``: why a partner was refused, or how its session ended, in words that can be sent to it."""

from typing import TYPE_CHECKING

from smartproxy.tap.commands.arguments import Subparsers, action
from smartproxy.tap.commands.console import Console, listing, when

if TYPE_CHECKING:
    from smartproxy.backend.refusals_explained import ExplainedRefusal


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
    from smartproxy.backend import refusals_explained

    with console.reading() as session:
        found = refusals_explained.find(session, console.arguments.what)
    console.answer(_document(found), _text(found))


_WHAT = {
    False: "your connection to us was refused or ended",
    True: "our call to your system failed, or its session ended",
}


def _seen_by_partner(found: "ExplainedRefusal") -> dict[str, object]:
    """Who called with which code; of our own calls, whom we called, and nothing of who asked for it inside."""
    if not found.outgoing:
        fields = found.event.fields
        return {"from": fields.get("peer"), "SSIDCODE given": fields.get("code")}
    return {"called": found.called}


def _text(found: "ExplainedRefusal") -> str:
    event, words = found.event, found.explanation
    blocks = [
        f"At {when(event.time)} {_WHAT[found.outgoing]}.",
        f"{words.happened}\n{words.remedy}",
    ]
    facts = {
        **{word: value for word, value in _seen_by_partner(found).items() if value is not None},
        **{f"certificate: {name}": value for name, value in found.certificate.items()},
        **{f"revocation list: {name}": value for name, value in found.revocation.items()},
        **{f"protocol: {name}": value for name, value in found.protocol.items()},
        "your system sent": found.sent or "-",
        "your system saw": found.saw or ("-" if found.sent else "the end of the connection"),
        "ESID reason code": "-" if found.reason is None else found.reason,
    }
    blocks.append(listing({name: value for name, value in facts.items() if value != "-"}))
    ours = {
        "event": f"{event.number} {event.name}",
        "partner": event.fields.get("partner", "-"),
        "session": event.fields.get("session", "-"),
        "cause": f"{found.cause} [{found.key}]",
        "what to do": found.advice or "-",
        "also": [str(each) for each in found.others] or "-",
    }
    blocks.append("For this site only:\n" + listing({name: value for name, value in ours.items() if value != "-"}))
    return "\n\n".join(blocks)


def _document(found: "ExplainedRefusal") -> dict[str, object]:
    event = found.event
    return {
        "to_partner": {
            "time": event.time,
            "happened": found.explanation.happened,
            "remedy": found.explanation.remedy,
            "outgoing": found.outgoing,
            "called": _seen_by_partner(found).get("called"),
            "peer": _seen_by_partner(found).get("from"),
            "code": _seen_by_partner(found).get("SSIDCODE given"),
            "certificate": dict(found.certificate),
            "revocation_list": dict(found.revocation),
            "protocol": dict(found.protocol),
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
