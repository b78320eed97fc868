"""``smartproxy crl``: revocation lists."""

from typing import TYPE_CHECKING

from smartproxy.tap.commands.arguments import Subparsers, action, subject
from smartproxy.tap.commands.console import Console, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.crl import KnownDownload, ProposedAddress

WHOLE = "all certificates"
"""What a list covers that is no part."""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "crl", "revocation lists of the CAs")
    take = action(
        actions,
        "load",
        "Load revocation lists. Each must be signed by a configured CA and must not be older than the list in force of "
        "the same issuer and scope. The parts of a list that a CA publishes in parts stay side by side. Of several "
        "files all are loaded, or none.",
        load,
        "  curl -sS http://crl.example/ca.crl | smartproxy crl load -\n  smartproxy crl load root.crl issuing.crl",
        changes=True,
        tried=True,
    )
    take.add_argument("files", metavar="FILE", nargs="+", help="PEM or DER; - for standard input")
    action(actions, "list", "List the revocation lists in force, and how their downloads go.", show_all)
    offered = action(
        actions,
        "proposals",
        "List the addresses of revocation lists that verified certificates name, and that nobody has approved yet. The "
        "backend downloads nothing from them until you do: check each address first.",
        proposals,
        "  smartproxy crl proposals odette\n  smartproxy crl approve odette",
    )
    offered.add_argument("ca", metavar="CA", nargs="?", help="only those of this CA")
    offered.add_argument("--all", action="store_true", help="also those that were rejected")
    yes = action(
        actions,
        "approve",
        "Have a CA's revocation lists downloaded: from all addresses that are proposed, or from those that you give. "
        "The backend downloads them within seconds, and again before they run out.",
        approve,
        "  smartproxy crl approve odette\n  smartproxy crl approve odette http://crl.example/odette.crl\n"
        "  smartproxy crl approve odette --by-itself",
        changes=True,
        tried=True,
    )
    yes.add_argument("ca", metavar="CA")
    yes.add_argument(
        "addresses", metavar="ADDRESS", nargs="*", help="http or https; without any, all that are proposed"
    )
    yes.add_argument(
        "--by-itself", action="store_true", help="also approve the CA's later proposals, without asking again"
    )
    no = action(
        actions,
        "reject",
        "Have no revocation lists downloaded from addresses: all that are proposed, or those that you give, approved "
        "ones too. They are not proposed again.",
        reject,
        "  smartproxy crl reject odette http://crl.example/old.crl",
        changes=True,
        tried=True,
    )
    no.add_argument("ca", metavar="CA")
    no.add_argument("addresses", metavar="ADDRESS", nargs="*", help="without any, all that are proposed")
    at_once = action(
        actions,
        "fetch",
        "Have approved revocation lists downloaded now, and not at their next time. 'smartproxy crl list' shows what "
        "came of it.",
        fetch,
        "  smartproxy crl fetch odette",
    )
    at_once.add_argument("ca", metavar="CA", nargs="?", help="only those of this CA")
    where = action(
        actions,
        "urls",
        "List the addresses of revocation lists that partners' certificates name. None is downloaded until it is "
        "approved: see 'smartproxy crl proposals'.",
        urls,
        "  smartproxy crl urls odette",
    )
    where.add_argument("ca", metavar="CA", nargs="?", help="only those of this CA")
    check = action(
        actions,
        "check",
        "Preview which partners would be refused today if their CA's revocation were 'require': from the certificates "
        "that they used and the lists that are loaded. Changes nothing.",
        forecast,
        "  smartproxy crl check                 (before 'smartproxy ca change odette --revocation require')",
    )
    check.add_argument("--all", action="store_true", help="also partners that would be admitted")
    forget = action(
        actions,
        "remove",
        "Remove a revocation list.",
        remove,
        "  smartproxy crl remove 3\n  smartproxy crl remove http://crl.example/1.crl",
        changes=True,
        tried=True,
    )
    forget.add_argument(
        "list",
        metavar="LIST",
        help="its number, its issuer's name, the SHA-256 of the issuer's key, or its distribution point, as listed",
    )


def load(console: Console) -> None:
    """Load revocation lists."""
    from smartproxy.backend.operations import crl as operations
    from smartproxy.backend.operations.list_files import ListFile, ListsGiven
    from smartproxy.policy.certificates.revocation import fresh_until

    files = tuple(ListFile(name=path, octets=console.read(path)) for path in console.arguments.files)
    taken = console.call(operations.load, ListsGiven(files=files)).items
    documents = [
        {
            "ca": each.list.ca,
            "issuer": each.list.issuer,
            "issuer_key_sha256": each.list.issuer_key_sha256,
            "points": each.list.points,
            "covered": each.list.covered,
            "serials": each.list.serials,
            "this_update": each.list.this_update,
            "next_update": each.list.next_update,
            "number": None if each.list.number is None else int(each.list.number, 16),
            "previous": each.previous,
        }
        for each in taken
    ]
    text = "\n\n".join(
        listing(
            {
                "issuer": f"{each.list.issuer} (ca {each.list.ca})",
                "covers": each.list.part or WHOLE,
                "serial numbers": each.list.serials,
                "made": when(each.list.this_update),
                "next update": when(each.list.next_update, "not promised"),
                "replaces": "none" if each.previous is None else f"the list of {when(each.previous)}",
            }
        )
        for each in taken
    )
    console.answer(documents, text)
    for found in (each.list for each in taken):
        if found.state is operations.ListState.OUT_OF_DATE:
            since = when(fresh_until(found.this_update, found.next_update))
            of = found.issuer if found.part is None else f"{found.issuer} for {found.part}"
            console.warn(
                f"the list of {of} is out of date since {since}; where the CA's revocation is 'require', its "
                "certificates are refused until a newer one is loaded"
            )


def show_all(console: Console) -> None:
    """List revocation lists, and their downloads."""
    from smartproxy.backend.operations import crl as operations
    from smartproxy.backend.operations.shapes import Nothing

    answer = console.call(operations.listed, Nothing())
    lists, found = answer.items, answer.downloads
    cells = [
        (
            str(each.id),
            each.issuer,
            each.part or WHOLE,
            each.serials,
            when(each.this_update),
            when(each.next_update),
            each.state,
            each.issuer_key_sha256,
        )
        for each in lists
    ]
    heads = ("NUMBER", "ISSUER", "COVERS", "SERIALS", "MADE", "NEXT UPDATE", "STATE", "KEY (SHA-256)")
    documents: list[dict[str, object]] = [
        {
            "id": each.id,
            "issuer": each.issuer,
            "issuer_key_sha256": each.issuer_key_sha256,
            "points": each.points,
            "covered": each.covered,
            "serials": each.serials,
            "this_update": each.this_update,
            "next_update": each.next_update,
            "number": each.number,
            "loaded": each.loaded,
            "downloads": [_download(one) for one in found if one.list == each.id],
        }
        for each in lists
    ]
    documents += [{"id": None, "downloads": [_download(each)], "ca": each.ca} for each in found if each.list is None]
    empty = "no revocation list is loaded; load one: smartproxy crl load FILE, or see: smartproxy crl proposals"
    text = table(heads, cells, empty)
    if found:
        lines = [
            (each.ca, each.url, each.list or "-", when(each.tried, "never"), each.result, when(each.next_try, "now"))
            for each in found
        ]
        text += "\n\n" + table(("CA", "DOWNLOADED FROM", "LIST", "LAST TRY", "RESULT", "NEXT TRY"), lines, "")
    console.answer(documents, text)


def _download(status: "KnownDownload") -> dict[str, object]:
    return {
        "ca": status.ca,
        "url": status.url,
        "last_try": status.tried,
        "last_success": status.succeeded,
        "next_try": status.next_try,
        "fault": status.fault,
        "failures": status.failures,
    }


def proposals(console: Console) -> None:
    """List proposed addresses."""
    shown = [each for each in _addresses(console) if each.configured and not each.approved]
    if not console.arguments.all:
        shown = [each for each in shown if each.rejected is None]
    documents = [
        {
            "ca": each.ca,
            "url": each.url,
            "first_seen": each.first_seen,
            "last_seen": each.last_seen,
            "rejected": each.rejected,
        }
        for each in shown
    ]
    cells = [
        (
            each.ca,
            each.url,
            when(each.first_seen),
            when(each.last_seen),
            "waits" if each.rejected is None else f"rejected {when(each.rejected)}",
        )
        for each in shown
    ]
    heads = ("CA", "ADDRESS", "FIRST SEEN", "LAST SEEN", "STATE")
    console.answer(documents, table(heads, cells, "no address waits for approval"))


def _addresses(console: Console) -> "tuple[ProposedAddress, ...]":
    """All addresses that certificates of a CA, or of all, name."""
    from smartproxy.backend.operations import crl as operations

    return console.call(operations.proposals, operations.OfOneCa(ca=console.arguments.ca)).items


def approve(console: Console) -> None:
    """Approve addresses."""
    from smartproxy.backend.operations import crl as operations

    wanted = console.arguments
    approval = operations.Approval(ca=wanted.ca, addresses=tuple(wanted.addresses), by_itself=wanted.by_itself)
    decided = console.call(operations.approve, approval)
    for url in decided.unseen:
        console.warn(f"no certificate of the CA {decided.ca} has named {url} yet; it is downloaded all the same")
    lines = [f"revocation lists of the CA {decided.ca} are downloaded from {each}" for each in decided.urls]
    if decided.by_itself:
        lines.append(f"the backend approves further addresses of the CA {decided.ca} by itself")
    console.answer({"ca": decided.ca, "approved": decided.urls, "by_itself": decided.by_itself}, "\n".join(lines))


def reject(console: Console) -> None:
    """Reject addresses."""
    from smartproxy.backend.operations import crl as operations

    wanted = console.arguments
    rejection = operations.Rejection(ca=wanted.ca, addresses=tuple(wanted.addresses))
    decided = console.call(operations.reject, rejection)
    lines = [f"nothing is downloaded from {each}" for each in decided.urls] or ["no address was proposed"]
    console.answer({"ca": decided.ca, "rejected": decided.urls}, "\n".join(lines))


def fetch(console: Console) -> None:
    """Have lists downloaded now."""
    from smartproxy.backend.operations import crl as operations

    found = console.call(operations.fetch, operations.OfOneCa(ca=console.arguments.ca)).urls
    lines = [f"{each} is downloaded at the backend's next look" for each in found]
    console.answer({"urls": found}, "\n".join(lines) or "no address is approved; see: smartproxy crl proposals")


def urls(console: Console) -> None:
    """List addresses of revocation lists."""
    found = _addresses(console)
    documents = [
        {"ca": each.ca, "url": each.url, "first_seen": each.first_seen, "last_seen": each.last_seen} for each in found
    ]
    cells = [(each.ca, each.url, when(each.first_seen), when(each.last_seen)) for each in found]
    empty = "no verified certificate has named a revocation list yet"
    console.answer(documents, table(("CA", "ADDRESS", "FIRST SEEN", "LAST SEEN"), cells, empty))


def forecast(console: Console) -> None:
    """Preview which partners `require` would refuse."""
    from smartproxy.backend.forecasts import Verdict
    from smartproxy.backend.operations import crl as operations
    from smartproxy.backend.operations.shapes import Nothing

    found = console.call(operations.check, Nothing()).items
    shown = [each for each in found if console.arguments.all or each.verdict is not Verdict.ADMITTED]
    documents = [
        {
            "partner": each.partner,
            "ca": each.ca,
            "revocation": each.mode,
            "verdict": each.verdict,
            "cause": each.cause,
            "subject": each.subject,
            "certificate_sha256": each.sha256,
        }
        for each in shown
    ]
    cells = [(each.partner, each.ca, each.mode, each.verdict, each.cause, each.subject or "-") for each in shown]
    heads = ("PARTNER", "CA", "REVOCATION NOW", "WITH REQUIRE", "WHY", "CERTIFICATE")
    console.answer(documents, table(heads, cells, "'require' would refuse nobody today"))


def remove(console: Console) -> None:
    """Remove a revocation list."""
    from smartproxy.backend.operations import crl as operations

    gone = console.call(operations.remove, operations.ListNamed(list=console.arguments.list))
    of = gone.issuer if gone.part is None else f"{gone.issuer} for {gone.part}"
    document = {"issuer": gone.issuer, "points": gone.points, "covered": gone.covered, "removed": True}
    console.answer(document, f"the revocation list of {of} is removed")
