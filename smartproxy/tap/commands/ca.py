"""``smartproxy ca``: the CAs that partners' certificates may chain to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from smartproxy.logs.render import escape
from smartproxy.policy.partners import TrustedCa
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.arguments import Subparsers, action, subject
from smartproxy.tap.commands.certificates import certificate_documents, certificates_text
from smartproxy.tap.commands.console import Console, WrongUse, table, when

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from smartproxy.backend.schema import CaRow


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "ca", "CAs that partners' certificates may chain to")
    make = action(
        actions,
        "add",
        "Add a CA: its root and intermediate certificates, in one file or several.",
        add,
        "  smartproxy ca add odette root.pem issuing.pem\n  smartproxy ca add old-ca old.pem --revocation prefer",
        changes=True,
    )
    make.add_argument("name", metavar="NAME")
    make.add_argument("files", metavar="FILE", nargs="+", help="PEM, DER or PKCS#7; - for standard input")
    declared.add_arguments(make, TrustedCa)
    alter = action(
        actions, "change", "Replace a CA's certificates, or change how revocation is checked.", change, changes=True
    )
    alter.add_argument("name", metavar="NAME")
    alter.add_argument("files", metavar="FILE", nargs="*", help="the new certificates, in place of all old ones")
    declared.add_arguments(alter, TrustedCa, defaults=False)
    action(actions, "list", "List CAs.", show_all)
    look = action(actions, "show", "Show the certificates of a CA.", show)
    look.add_argument("name", metavar="NAME")
    look.add_argument("-o", "--output", metavar="FILE", help="write them to this file")
    action(actions, "remove", "Remove a CA that no partner uses.", remove, changes=True).add_argument(
        "name", metavar="NAME"
    )


def add(console: Console) -> None:
    """Add a CA."""
    from smartproxy.backend import cas

    wanted = console.arguments
    certificates, values = _read(console), declared.given(wanted, TrustedCa)
    with console.changing(f"ca add {wanted.name}") as change:
        row = cas.add(change, wanted.name, certificates, **values)
    _tell(console, row)


def change(console: Console) -> None:
    """Change a CA."""
    from smartproxy.backend import cas

    wanted = console.arguments
    values = declared.given(wanted, TrustedCa)
    if not wanted.files and not values:
        options = " or ".join(each.option for each in declared.argued(TrustedCa))
        raise WrongUse(f"ca change: give new certificates, {options}")
    certificates = _read(console) if wanted.files else None
    with console.changing(f"ca change {wanted.name}") as making:
        row = cas.alter(making, wanted.name, certificates=certificates, **values)
    _tell(console, row)


def show_all(console: Console) -> None:
    """List CAs."""
    from smartproxy.backend import cas

    with console.reading() as session:
        rows = cas.listed(session)
    documents = [_document(row) for row in rows]
    cells = []
    for row in rows:
        certificates = cas.certificates_of(row)
        first_end = min(each.not_valid_after_utc for each in certificates)
        cells.append((*declared.cells(row.entry), len(certificates), when(first_end)))
    heads = (*declared.heads(TrustedCa), "CERTIFICATES", "FIRST ENDS")
    console.answer(documents, table(heads, cells, "there is no CA yet; add one: smartproxy ca add NAME FILE"))


def show(console: Console) -> None:
    """Show a CA."""
    from smartproxy.backend import cas

    with console.reading() as session:
        row = cas.find(session, console.arguments.name)
    if console.arguments.output:
        console.write(console.arguments.output, row.entry.certificates)
    _tell(console, row, _urls(console, row.name))


def remove(console: Console) -> None:
    """Remove a CA."""
    from smartproxy.backend import cas

    name = console.arguments.name
    with console.changing(f"ca remove {name}") as change:
        cas.remove(change, name)
    console.answer({"name": name, "removed": True}, f"ca {name} is removed")


def _read(console: Console) -> list["Certificate"]:
    from smartproxy.backend.certificates import read_certificates

    return [each for path in console.arguments.files for each in read_certificates(console.read(path), path)]


def _urls(console: Console, name: str) -> list[str]:
    """The addresses of revocation lists that the certificates of the CA name."""
    from smartproxy.backend import sightings

    with console.reading() as session:
        return [each.url for each in sightings.urls(session, name)]


def _tell(console: Console, row: "CaRow", urls: Sequence[str] = ()) -> None:
    from smartproxy.backend import cas

    hours = row.entry.grace_hours
    grace = f", {hours} hours of grace" if hours else ""
    rows = certificates_text(cas.certificates_of(row))
    lists = "".join(f"\nits certificates name the revocation list {escape(url)}" for url in urls)
    document = {**_document(row), "crl_urls": list(urls)}
    console.answer(document, f"ca {row.name}, revocation {row.entry.revocation.value}{grace}\n{rows}{lists}")


def _document(row: "CaRow") -> dict[str, object]:
    from smartproxy.backend import cas

    return declared.document(row.entry, certificates=certificate_documents(cas.certificates_of(row)))
