"""``smartproxy audit``: the trail of what operators did, which only grows, and whether it is whole."""

import argparse
import re
from typing import TYPE_CHECKING

from smartproxy.policy import limits
from smartproxy.tap.commands.arguments import Subparsers, action, newest, newest_wanted, past, subject
from smartproxy.tap.commands.console import FAILED, Console, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.audit import KnownRecord

_DEEDS = ("change", "act", "export", "refusal")
_EXAMPLES = """\
  smartproxy audit list --since 7d
  smartproxy audit list --deed export
  smartproxy audit verify --anchor HASH   (of an event audit.anchored, from the log or from syslog)"""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "audit", "what operators did: a chain of records that only grows", _EXAMPLES)
    look = action(actions, "list", "List the newest records of the audit trail, the newest last.", show_all, _EXAMPLES)
    newest(look, 50)
    look.add_argument("--by", metavar="NAME", help="only what this operator did, named as in the list")
    look.add_argument("--deed", choices=_DEEDS, help="only records of this kind")
    look.add_argument("--since", type=past, metavar="TIME", help="only from then on: a date, a time, 2h, 7d")
    check = action(
        actions,
        "verify",
        "Examine the whole audit trail: find records that were changed, removed or reordered, and say which. Status 1 "
        "if there is one.",
        verify,
        _EXAMPLES,
    )
    check.add_argument(
        "--anchor",
        type=_hash,
        action="append",
        default=[],
        metavar="HASH",
        help="a hash that an audit.anchored event told: the trail must still have the record with it; may be repeated",
    )


def show_all(console: Console) -> None:
    """List records."""
    from smartproxy.backend.audit import Deed
    from smartproxy.backend.operations import audit as operations

    wanted = console.arguments
    deed, most = None if wanted.deed is None else Deed(wanted.deed), newest_wanted(wanted)
    found: list[KnownRecord] = []
    before = None
    while len(found) < most:
        limit = min(most - len(found), limits.EVENTS_PAGE.most)
        part = console.call(
            operations.listed,
            operations.RecordsWanted(by=wanted.by, deed=deed, since=wanted.since, before=before, limit=limit),
        )
        found[:0] = part.items
        before = part.next
        if before is None:
            break
    cells = [
        (each.number, when(each.time), each.by, each.channel.value, each.deed.value, each.what, each.comment or "")
        for each in found
    ]
    heads = ("RECORD", "TIME", "BY", "WAY", "DEED", "WHAT", "COMMENT")
    console.answer([_document(each) for each in found], table(heads, cells, "there is no such record"))


def verify(console: Console) -> int:
    """Examine the trail."""
    from smartproxy.backend.operations import audit as operations

    found = console.call(operations.verify, operations.AnchorsGiven(anchors=tuple(console.arguments.anchor)))
    document = {
        "whole": found.whole,
        "records": found.records,
        "newest": None if found.newest is None else {"record": found.newest, "hash": found.newest_hash},
        "faults": [{"record": each.number, "what": each.what} for each in found.faults],
    }
    if found.faults:
        lines = [f"the audit trail is not as it was written ({found.records} records):"]
        lines += [f"  {each.what}" for each in found.faults]
    else:
        lines = [f"the audit trail is whole: {found.records} records"]
    if found.newest is not None:
        lines.append(f"the newest is record {found.newest} with the hash {found.newest_hash}")
    console.answer(document, "\n".join(lines))
    return 0 if found.whole else FAILED


def _hash(text: str) -> str:
    """A hash of a record.

    :raises argparse.ArgumentTypeError: when it is not one.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a hash, which has 64 digits of hex, as in audit.anchored")
    return text.lower()


def _document(record: "KnownRecord") -> dict[str, object]:
    return {
        "record": record.number,
        "time": record.time,
        "by": record.by,
        "way": record.channel.value,
        "deed": record.deed.value,
        "what": record.what,
        "comment": record.comment,
        "facts": record.facts,
        "hash": record.hash,
    }
