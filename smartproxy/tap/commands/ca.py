"""``smartproxy ca``: the CAs that partners' certificates may chain to."""

from typing import TYPE_CHECKING

from smartproxy.policy.partners import TrustedCa
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.arguments import Subparsers, action, subject, writes
from smartproxy.tap.commands.certificates import certificate_documents, certificates_text
from smartproxy.tap.commands.console import Console, WrongUse, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.ca import KnownCa


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
        tried=True,
    )
    make.add_argument("name", metavar="NAME")
    make.add_argument("files", metavar="FILE", nargs="+", help="PEM, DER or PKCS#7; - for standard input")
    declared.add_arguments(make, TrustedCa)
    summary = "Replace a CA's certificates, or change how revocation is checked."
    alter = action(actions, "change", summary, change, changes=True, tried=True)
    alter.add_argument("name", metavar="NAME")
    alter.add_argument("files", metavar="FILE", nargs="*", help="the new certificates, in place of all old ones")
    declared.add_arguments(alter, TrustedCa, defaults=False)
    action(actions, "list", "List CAs.", show_all)
    look = action(actions, "show", "Show the certificates of a CA.", show)
    look.add_argument("name", metavar="NAME")
    writes(look, "-o", "--output", again=True, help="write them to this file")
    action(actions, "remove", "Remove a CA that no partner uses.", remove, changes=True, tried=True).add_argument(
        "name", metavar="NAME"
    )


def add(console: Console) -> None:
    """Add a CA."""
    from smartproxy.backend.operations import ca as operations

    wanted = console.arguments
    addition = operations.CaAddition(
        name=wanted.name, certificates=_read(console), ca=declared.given(wanted, TrustedCa)
    )
    _tell(console, console.call(operations.add, addition))


def change(console: Console) -> None:
    """Change a CA."""
    from smartproxy.backend.operations import ca as operations

    wanted = console.arguments
    values = declared.given(wanted, TrustedCa)
    if not wanted.files and not values:
        options = " or ".join(each.option for each in declared.argued(TrustedCa))
        raise WrongUse(f"ca change: give new certificates, {options}")
    alteration = operations.CaAlteration(name=wanted.name, certificates=_read(console), ca=values)
    _tell(console, console.call(operations.alter, alteration))


def show_all(console: Console) -> None:
    """List CAs."""
    from smartproxy.backend.operations import ca as operations

    found = console.every(operations.listed)
    documents = [_document(each) for each in found]
    cells = []
    for known in found:
        first_end = min(each.not_after for each in known.certificates)
        cells.append((*declared.cells(known.ca), len(known.certificates), when(first_end)))
    heads = (*declared.heads(TrustedCa), "CERTIFICATES", "FIRST ENDS")
    console.answer(documents, table(heads, cells, "there is no CA yet; add one: smartproxy ca add NAME FILE"))


def show(console: Console) -> None:
    """Show a CA."""
    from smartproxy.backend.operations import ca as operations
    from smartproxy.backend.operations.shapes import Named

    known = console.call(operations.show, Named(name=console.arguments.name))
    if console.arguments.output:
        console.write(console.arguments.output, known.ca.certificates)
    _tell(console, known)


def remove(console: Console) -> None:
    """Remove a CA."""
    from smartproxy.backend.operations import ca as operations
    from smartproxy.backend.operations.shapes import Named

    name = console.call(operations.remove, Named(name=console.arguments.name)).name
    console.answer({"name": name, "removed": True}, f"ca {name} is removed")


def _read(console: Console) -> tuple[str, ...]:
    """The certificates in the files, as PEM."""
    from smartproxy.backend.certificates import certificates_to_pem, read_certificates

    return tuple(certificates_to_pem(read_certificates(console.read(path), path)) for path in console.arguments.files)


def _tell(console: Console, known: "KnownCa") -> None:
    for warning in known.warnings:
        console.warn(warning)
    shown = declared.pairs(known.ca)
    values = listing({"ca": shown.pop("name"), **shown, "named by certificates": known.crl_urls})
    document = {**_document(known), "crl_urls": list(known.crl_urls)}
    console.answer(document, f"{values}\n\n{certificates_text(known.certificates)}")


def _document(known: "KnownCa") -> dict[str, object]:
    return declared.document(known.ca, certificates=certificate_documents(known.certificates))
