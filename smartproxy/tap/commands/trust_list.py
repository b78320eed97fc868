"""``smartproxy trust-list``: lists of CAs that somebody vouches for, such as Odette's; they propose, you decide."""

import base64
from typing import TYPE_CHECKING

from smartproxy.policy.partners import TrustedCa
from smartproxy.policy.schema import write_object
from smartproxy.policy.trust_lists import TrustListEntry
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.arguments import Subparsers, action, subject
from smartproxy.tap.commands.console import CommandFailed, Console, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.trust_lists import ListedCa

_EXAMPLES = """\
  smartproxy trust-list add odette --url https://tsl.example/tsl.xml --signer tsl-signer.pem
  smartproxy trust-list add odette --signer tsl-signer.pem && smartproxy trust-list load odette tsl.xml
  smartproxy trust-list proposals odette
  smartproxy trust-list accept odette 5f3a90bc --ca odette-issuing"""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "trust-list", "lists of CAs (ETSI TS 119 612): they propose, you decide", _EXAMPLES)
    make = action(
        actions,
        "add",
        "Add a trust list, and the certificates one of which must have signed it. Nothing is trusted by that.",
        add,
        _EXAMPLES,
        changes=True,
        tried=True,
    )
    make.add_argument("name", metavar="NAME")
    make.add_argument(
        "--signer",
        action="append",
        required=True,
        metavar="FILE",
        help="certificate of the list's signer, obtained from a source you trust, not from the list; may be repeated",
    )
    declared.add_arguments(make, TrustListEntry)
    action(actions, "list", "List trust lists: signers, number, when the next one is due, and faults.", show_all)
    look = action(actions, "proposals", "List the CAs that trust lists propose.", proposals, _EXAMPLES)
    look.add_argument("name", metavar="NAME", nargs="?", help="only of this trust list")
    look.add_argument("--all", action="store_true", help="also those that are trusted, rejected or withdrawn")
    file = action(actions, "load", "Take a trust list from a file.", load)
    file.add_argument("name", metavar="NAME")
    file.add_argument("file", metavar="FILE", help="- for standard input")
    action(actions, "update", "Download a trust list within a minute.", update).add_argument("name", metavar="NAME")
    yes = action(
        actions,
        "accept",
        "Trust a CA that a trust list proposes; the addresses at which it publishes become those of its revocation "
        "lists.",
        accept,
        _EXAMPLES,
        changes=True,
        tried=True,
    )
    no = action(actions, "reject", "Decide not to trust a CA: it is not proposed again.", reject)
    for parser in (yes, no):
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("sha256", metavar="SHA256", help="of its certificate, 8 digits or more")
    yes.add_argument("--ca", required=True, metavar="NAME", help="what it is to be called")
    declared.add_arguments(yes.add_argument_group("its entry"), TrustedCa)
    less = action(actions, "remove", "Remove a trust list; CAs that were accepted stay.", remove, changes=True)
    less.add_argument("name", metavar="NAME")


def add(console: Console) -> None:
    """Name a trust list."""
    from smartproxy.backend.certificates import certificates_to_pem, read_certificates
    from smartproxy.backend.operations import trust_list as operations

    given = console.arguments
    signers = [each for path in given.signer for each in read_certificates(console.read(path), path)]
    values = declared.given(given, TrustListEntry)
    entry = TrustListEntry(name=given.name, signers=certificates_to_pem(signers), **values)
    (made,) = console.call(operations.add, operations.TrustListAddition(trust_list=entry)).items
    shown = {"trust list": made.name, "address": made.url or "-", "signed by": list(made.signers)}
    console.answer(write_object(made), listing(shown))


def show_all(console: Console) -> None:
    """List trust lists."""
    from smartproxy.backend.operations import trust_list as operations
    from smartproxy.backend.operations.shapes import Nothing

    found = console.call(operations.listed, Nothing()).items
    cells = [
        (
            each.name,
            each.url or "from files",
            "-" if each.sequence is None else each.sequence,
            when(each.taken, "never"),
            when(each.next_update),
            each.fault or "-",
        )
        for each in found
    ]
    heads = ("TRUST LIST", "ADDRESS", "NUMBER", "TAKEN", "NEXT IS DUE", "FAULT")
    empty = "there is no trust list; name one: smartproxy trust-list add --help"
    console.answer([write_object(each) for each in found], table(heads, cells, empty))


def proposals(console: Console) -> None:
    """List proposed CAs."""
    from smartproxy.backend.operations import trust_list as operations

    given = console.arguments
    wanted = operations.ListedCasWanted(trust_list=given.name, every=given.all)
    _tell(console, console.call(operations.proposals, wanted).items, "no CA is proposed")


def load(console: Console) -> None:
    """Take a trust list from a file."""
    from smartproxy.backend.operations import trust_list as operations

    given = console.arguments
    octets = base64.b64encode(console.read(given.file)).decode("ascii")
    if not octets:
        raise CommandFailed(f"{given.file} is empty")
    found = console.call(operations.load, operations.TrustListFile(name=given.name, octets=octets)).items
    _tell(console, found, f"the trust list {given.name} is taken; it proposes no further CA")


def update(console: Console) -> None:
    """Download a trust list soon."""
    from smartproxy.backend.operations import trust_list as operations
    from smartproxy.backend.operations.shapes import Named

    (found,) = console.call(operations.update, Named(name=console.arguments.name)).items
    console.answer(write_object(found), f"the backend downloads {found.name} within a minute")


def accept(console: Console) -> None:
    """Trust a CA."""
    from smartproxy.backend.operations import trust_list as operations

    given = console.arguments
    fields = declared.given(given, TrustedCa)
    wanted = operations.ListedCaAcceptance(name=given.name, sha256=given.sha256, ca=given.ca, fields=fields)
    accepted = console.call(operations.accept, wanted)
    known = accepted.ca
    for warning in accepted.warnings:
        console.warn(warning)
    console.answer(declared.document(known), listing({"ca": known.name, **declared.pairs(known)}))


def reject(console: Console) -> None:
    """Reject a CA."""
    from smartproxy.backend.operations import trust_list as operations

    given = console.arguments
    found = console.call(operations.reject, operations.ListedCaNamed(name=given.name, sha256=given.sha256))
    console.answer(write_object(found), f"{found.subject} is not proposed again")


def remove(console: Console) -> None:
    """Remove a trust list."""
    from smartproxy.backend.operations import trust_list as operations
    from smartproxy.backend.operations.shapes import Named

    name = console.call(operations.remove, Named(name=console.arguments.name)).name
    console.answer({"name": name, "removed": True}, f"the trust list {name} is removed")


def _tell(console: Console, found: "tuple[ListedCa, ...]", empty: str) -> None:
    cells = [
        (
            each.trust_list,
            each.sha256[:16],
            each.subject,
            f"{each.provider}: {each.service}",
            when(each.not_after),
            each.status,
            f"CA {each.trusted}" if each.trusted else "rejected" if each.rejected else "proposed" if each.good else "-",
            ", ".join(each.addresses) or "-",
        )
        for each in found
    ]
    heads = ("TRUST LIST", "SHA256", "SUBJECT", "SERVICE", "UNTIL", "STATUS", "HERE", "PUBLISHES AT")
    console.answer([write_object(each) for each in found], table(heads, cells, empty))
