"""``smartproxy authority``: the site's authority and the backend's https certificate."""

from argparse import ArgumentParser
from typing import TYPE_CHECKING

from smartproxy.policy import limits
from smartproxy.tap.commands.arguments import Subparsers, action, days, subject, writes
from smartproxy.tap.commands.certificates import certificate_documents, certificates_text
from smartproxy.tap.commands.console import Console, WrongUse, listing, when
from smartproxy.tap.commands.identity import given_pair, pair_arguments

if TYPE_CHECKING:
    from smartproxy.backend.operations.authority import KnownAuthority, KnownPageCertificate


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "authority", "the site's authority, which signs licences and tunnel certificates")
    make = action(
        actions,
        "create",
        "Make a new site: the store, its authority, and the backend's https certificate.",
        create,
        '  smartproxy authority create --site "Muster GmbH" --name backend.example --name 192.0.2.10 -o ca.pem',
        changes=True,
    )
    make.add_argument("--site", required=True, metavar="NAME", help="the company, as it stands in licences")
    _names(make)
    writes(make, "-o", "--output", help="also write the authority's certificate to this file")
    look = action(
        actions,
        "show",
        "Show the authority and what clients need to trust the backend.",
        show,
        "  smartproxy authority show -o ca.pem\n"
        "  twistd smartproxy-client --backend-ca ca.pem ...     (or --backend-pin with the pin shown)",
    )
    writes(look, "-o", "--output", again=True, help="write the authority's certificate to this file")
    https = action(
        actions,
        "https",
        "Issue the backend's https certificate anew, for other names; its key and pin stay.",
        rename,
        "  smartproxy authority https --name backend.example --name backend.local",
        changes=True,
        tried=True,
    )
    _names(https)
    action(actions, "page", "Show the certificate that the page shows at its own address.", page)
    take = action(
        actions,
        "page-import",
        "Have the page show this certificate at its own address: PKCS#12, or PEM in one file or several.",
        page_import,
        "  smartproxy settings set backend.page.address 192.0.2.9 backend.page.port 443\n"
        "  smartproxy authority page-import page.key page.pem chain.pem",
        changes=True,
        tried=True,
    )
    pair_arguments(take)
    action(
        actions,
        "page-reset",
        "Have the page show the authority's certificate again.",
        page_reset,
        changes=True,
        tried=True,
    )
    client = action(
        actions,
        "issue-client",
        "Make the credential of a plain client: one file with its key, its certificate and the licensed servers.",
        issue_client,
        "  smartproxy authority issue-client inside-1 --days 365 -o inside-1.credential\n"
        "  smartproxy-plain-client --credential inside-1.credential -e dmz.example",
    )
    client.add_argument("name", metavar="NAME", help="the client's name, as servers will log it")
    client.add_argument(
        "--days", type=days, default=365, help="days that it is valid [365]; issue a new one before it ends"
    )
    writes(client, "-o", "--output", required=True, help="the file; only its owner can read it")
    out = action(
        actions,
        "withdraw-client",
        "Have servers refuse a plain client: all credentials that were issued for this name so far.",
        withdraw_client,
        "  smartproxy authority withdraw-client inside-1\n"
        "  smartproxy licence show PROXY-ID -o smartproxy.lic --force   (then put it in place in the DMZ)",
        changes=True,
        tried=True,
    )
    out.add_argument("name", metavar="NAME", help="the name in its credential")
    out.add_argument("--force", action="store_true", help="withdraw a name that the audit trail does not know")


def _names(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="a host name or address by which clients reach the backend, beside loopback; may be repeated",
    )


def create(console: Console) -> None:
    """Make a new site."""
    from smartproxy.backend.operations import authority as operations

    wanted = console.arguments
    addition = operations.SiteAddition(site=wanted.site, names=tuple(wanted.name))
    _tell(console, console.call(operations.create, addition, make=True))


def show(console: Console) -> None:
    """Show the authority."""
    from smartproxy.backend.operations import authority as operations
    from smartproxy.backend.operations.shapes import Nothing

    _tell(console, console.call(operations.show, Nothing()))


def rename(console: Console) -> None:
    """Issue the https certificate for other names."""
    from smartproxy.backend.operations import authority as operations

    made = console.call(operations.rename, operations.HttpsNames(names=tuple(console.arguments.name)))
    console.answer(
        {"https_names": made.https_names, "https_pin": made.https_pin},
        f"the https certificate is for {', '.join(made.https_names)} now; restart smartproxy-backend to use it",
    )


def page(console: Console) -> None:
    """Show the page's certificate."""
    from smartproxy.backend.operations import authority as operations
    from smartproxy.backend.operations.shapes import Nothing

    _tell_page(console, console.call(operations.page, Nothing()))


def page_import(console: Console) -> None:
    """Keep a certificate for the page."""
    from smartproxy.backend.operations import authority as operations
    from smartproxy.backend.operations.identity import GivenPair

    files, password = given_pair(console)
    _tell_page(console, console.call(operations.page_import, GivenPair(files=files, password=password)))


def page_reset(console: Console) -> None:
    """Forget the certificate that was kept for the page."""
    from smartproxy.backend.operations import authority as operations
    from smartproxy.backend.operations.shapes import Nothing

    _tell_page(console, console.call(operations.page_reset, Nothing()))


def issue_client(console: Console) -> None:
    """Make the credential of a plain client."""
    from smartproxy.backend.operations import authority as operations

    wanted, most = console.arguments, limits.CREDENTIAL_DAYS.most
    if not limits.CREDENTIAL_DAYS.admits(wanted.days):
        raise WrongUse(f"authority issue-client: --days: right is a number from 1 to {most}")
    made = console.call(operations.issue_client, operations.CredentialWanted(name=wanted.name, days=wanted.days))
    console.write(wanted.output, made.credential, private=True)
    console.answer(
        {"name": made.name, "file": wanted.output, "not_after": made.not_after, "proxy_ids": made.proxy_ids},
        f"the credential of {made.name} is in {wanted.output}, valid until {when(made.not_after)} for "
        f"{len(made.proxy_ids)} server(s); carry it to the client's machine and keep it secret",
    )


def withdraw_client(console: Console) -> None:
    """Have servers shut out a plain client."""
    from smartproxy.backend.operations import authority as operations

    name, force = console.arguments.name, console.arguments.force
    count = console.call(operations.withdraw_client, operations.PlainClient(name=name, force=force)).licences
    console.answer(
        {"name": name, "licences": count},
        f"the credentials of {name} that were issued so far are withdrawn; {count} licence(s) signed anew say so: put "
        "that of each plain server in place (smartproxy licence show PROXY-ID -o FILE), which it sees within seconds",
    )


def _tell_page(console: Console, found: "KnownPageCertificate") -> None:
    certificates = [] if found.certificate is None else [found.certificate]
    place = found.at or "the API's port (another one: smartproxy settings set backend.page.address ADDRESS)"
    for warning in found.warnings:
        console.warn(warning)
    source = found.path if found.source == "file" else {"uploaded": "uploaded"}.get(found.source, "the authority")
    console.answer(
        {
            "at": found.at,
            "source": found.source.value,
            "path": found.path,
            "certificates": certificate_documents(certificates),
            "fault": found.fault,
        },
        f"{listing({'page': place, 'certificate of': source})}\n{certificates_text(certificates, found.fault or '')}",
    )


def _tell(console: Console, found: "KnownAuthority") -> None:
    output = getattr(console.arguments, "output", None)
    if output:
        console.write(output, found.pem)
    about = found.certificate
    console.answer(
        {
            "site": found.site,
            "created": found.created,
            "subject": about.subject,
            "key_sha256": about.key_sha256,
            "not_after": about.not_after,
            "certificate": found.pem,
            "https_pin": found.https_pin,
            "https_names": found.https_names,
        },
        listing(
            {
                "site": found.site,
                "authority": f"{about.subject}, valid until {when(about.not_after)}",
                "key (SHA-256)": about.key_sha256,
                "certificate": output or "write it with: smartproxy authority show -o FILE (for --backend-ca)",
                "https pin": f"{found.https_pin} (for --backend-pin)",
                "https names": ", ".join(found.https_names),
            }
        ),
    )
