"""``smartproxy partner proposals``, ``accept`` and ``reject``: an operator decides about a new certificate."""

from typing import TYPE_CHECKING

from smartproxy.policy.schema import write_object
from smartproxy.tap.commands.arguments import Subparsers, action
from smartproxy.tap.commands.console import Console, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.proposals import ProposedCertificate

_EXAMPLES = """\
  smartproxy partner proposals
  smartproxy partner accept ACME --comment 'confirmed by telephone'
  smartproxy partner accept ACME --sha256 5f3a90bc
  smartproxy partner reject ACME"""


def register(actions: Subparsers) -> None:
    """Declare the actions."""
    show = action(
        actions,
        "proposals",
        "List new certificates that were refused, but have the subject and the issuer of a pinned certificate with "
        "which the partner proved its SSIDCODE. Nothing is trusted until it is accepted.",
        proposals,
        _EXAMPLES,
    )
    show.add_argument("--all", action="store_true", help="also those that were rejected")
    take = action(
        actions,
        "accept",
        "Pin the new certificate with which a partner came; the old one stays valid. Ask the partner first.",
        accept,
        _EXAMPLES,
        changes=True,
    )
    leave = action(
        actions,
        "reject",
        "Decide that the new certificate is not the partner's: it stays refused, and is not proposed again. "
        "'partner accept' with its --sha256 still takes it.",
        reject,
        _EXAMPLES,
    )
    for parser in (take, leave):
        parser.add_argument("name", metavar="NAME")
        parser.add_argument(
            "--sha256", metavar="SHA256", help="the certificate's, or the beginning; only if there are several"
        )


def proposals(console: Console) -> None:
    """List proposals."""
    from smartproxy.backend.operations import proposing

    found = console.call(proposing.listed, proposing.ProposalsWanted(rejected=console.arguments.all)).items
    cells = [
        (
            each.partner,
            each.subject,
            each.sha256,
            when(each.not_after),
            f"{each.old_sha256[:16]}, until {when(each.old_not_after)}",
            when(each.last_seen),
            f"our call to {each.peer or '-'}" if each.outgoing else each.peer or "-",
            *([when(each.rejected)] if console.arguments.all else []),
        )
        for each in found
    ]
    heads = ["PARTNER", "SUBJECT", "NEW CERTIFICATE", "UNTIL", "BESIDE", "SHOWN LAST", "FROM"]
    heads += ["REJECTED"] if console.arguments.all else []
    console.answer([write_object(each) for each in found], table(heads, cells, "no certificate is proposed"))


def accept(console: Console) -> None:
    """Make a pin of a proposal."""
    from smartproxy.backend.operations import proposing

    given = console.arguments
    found = console.call(proposing.accept, proposing.Acceptance(name=given.name, sha256=given.sha256))
    console.answer(write_object(found), _facts(found))


def reject(console: Console) -> None:
    """Reject a proposal."""
    from smartproxy.backend.operations import proposing

    given = console.arguments
    found = console.call(proposing.reject, proposing.Acceptance(name=given.name, sha256=given.sha256))
    console.answer(write_object(found), f"{found.sha256} is not proposed for {found.partner} again")


def _facts(found: "ProposedCertificate") -> str:
    return listing(
        {
            "partner": found.partner,
            "subject": found.subject,
            "issuer": f"{found.issuer} (verified by the CA {found.cas})",
            "accepted": found.sha256,
            "  serial number": found.serial,
            "  until": when(found.not_after),
            "  first shown": when(found.first_seen),
            "  from": found.peer or "-",
            "stays valid": found.old_sha256,
            "  serial number of it": found.old_serial,
            "  until then": when(found.old_not_after),
            "  proved the SSIDCODE": when(found.proved),
        }
    )
