"""``smartproxy identity``: the certificates and keys that servers show to partners."""

from argparse import ArgumentParser
from typing import TYPE_CHECKING

from smartproxy.policy.partners import KEY_TYPE_USUAL, KEY_TYPES
from smartproxy.tap.commands.arguments import Subparsers, action, moment, subject, writes
from smartproxy.tap.commands.certificates import certificate_documents, certificates_text
from smartproxy.tap.commands.console import CommandFailed, Console, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.identity import KnownIdentity
    from smartproxy.backend.operations.shapes import GivenFile


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "identity", "certificates and keys that servers show to partners")
    take = action(
        actions,
        "import",
        "Import a key and its certificate with the chain: PKCS#12, or PEM in one file or several.",
        take_in,
        "  smartproxy identity import main server.p12 --password-file p12.password\n"
        "  smartproxy identity import main server.key server.pem chain.pem\n"
        "  smartproxy identity import main next.p12 --from 2027-02-01T06:00    (the one in use stays until then)",
        changes=True,
        tried=True,
    )
    take.add_argument("name", metavar="NAME")
    pair_arguments(take)
    _use_from(take)
    ask = action(
        actions,
        "request",
        "Make a key and a request (CSR) for its certificate; the one in use stays until the new one is imported.",
        request,
        "  smartproxy identity request main --common-name oftp.muster.example --organization 'Muster GmbH' \\\n"
        "      --country DE --serial-number O0013000001MUSTER --san oftp.muster.example -o main.csr\n"
        "  smartproxy identity complete main main.pem",
        changes=True,
        tried=True,
    )
    ask.add_argument("name", metavar="NAME")
    ask.add_argument("--common-name", required=True, metavar="TEXT")
    ask.add_argument("--organization", metavar="TEXT")
    ask.add_argument("--unit", metavar="TEXT", help="organizational unit")
    ask.add_argument("--country", metavar="XX", help="two letters")
    ask.add_argument("--locality", metavar="TEXT")
    ask.add_argument("--serial-number", metavar="TEXT", help="subject serialNumber: the Odette ID")
    ask.add_argument("--san", action="append", default=[], metavar="HOST", help="host name or address; repeat it")
    ask.add_argument("--key-type", choices=KEY_TYPES, default=KEY_TYPE_USUAL, help=f"[{KEY_TYPE_USUAL}]")
    writes(ask, "-o", "--output", shown=True, help="where to write the request [standard output]")
    answer = action(
        actions,
        "complete",
        "Import the certificate that a CA issued for the request.",
        complete,
        changes=True,
        tried=True,
    )
    answer.add_argument("name", metavar="NAME")
    answer.add_argument("files", metavar="FILE", nargs="+", help="the certificate, and its chain")
    _use_from(answer)
    undo = action(
        actions,
        "undo-plan",
        "Undo a planned change-over: the certificate in use stays.",
        undo_plan,
        changes=True,
        tried=True,
    )
    undo.add_argument("name", metavar="NAME")
    action(actions, "list", "List identities.", show_all)
    look = action(actions, "show", "Show an identity's certificates; its key is never shown.", show)
    look.add_argument("name", metavar="NAME")
    look.add_argument("--planned", action="store_true", help="those of the planned change-over")
    writes(look, "-o", "--output", again=True, help="write the certificates to this file, for partners")
    less = action(actions, "remove", "Remove an identity with its key.", remove, changes=True, tried=True)
    less.add_argument("name", metavar="NAME")
    less.add_argument(
        "--yes", action="store_true", help="remove it even if it is the only one, without which no partner can connect"
    )


def take_in(console: Console) -> None:
    """Import a key and its certificates."""
    from smartproxy.backend.operations import identity as operations

    files, password = given_pair(console)
    name, use_from = console.arguments.name, console.arguments.use_from
    wanted = operations.IdentityImport(name=name, files=files, password=password, use_from=use_from)
    _tell(console, console.call(operations.take_in, wanted))


def given_pair(console: Console) -> "tuple[tuple[GivenFile, ...], str | None]":
    """The files with a key and its certificates, and the key's password, if it has one."""
    from smartproxy.backend.certificates import is_encrypted
    from smartproxy.backend.operations.identity import is_pem, key_of

    wanted, files = console.arguments, _files(console)
    is_p12 = len(files) == 1 and not is_pem(files[0].octets)
    if not is_p12 and not is_encrypted(key_of(files).octets):
        return files, None
    password = console.password(wanted.password_file, " and ".join(wanted.files))
    return files, None if password is None else password.decode("utf-8")


def _use_from(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="use_from",
        type=moment,
        metavar="TIME",
        help="use it from then on (UTC), and what is in use until then [at once]",
    )


def pair_arguments(parser: ArgumentParser) -> None:
    """Declare what :func:`given_pair` reads."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="PKCS#12, or PEM files with key and certificates")
    parser.add_argument("--password-file", metavar="FILE", help="file with the password, in its first line [asked for]")


def request(console: Console) -> None:
    """Make a key and a request for its certificate."""
    from smartproxy.backend.operations import identity as operations

    wanted = console.arguments
    about = operations.RequestWanted(
        name=wanted.name,
        common_name=wanted.common_name,
        organization=wanted.organization,
        organizational_unit=wanted.unit,
        country=wanted.country,
        locality=wanted.locality,
        serial_number=wanted.serial_number,
        names=tuple(wanted.san),
        key_type=wanted.key_type,
    )
    text = console.call(operations.request, about).request or ""
    if wanted.output:
        console.write(wanted.output, text)
    shown = f"the request is in {wanted.output}; send it to the CA" if wanted.output else text.rstrip("\n")
    console.answer({"name": wanted.name, "request": text}, shown)


def complete(console: Console) -> None:
    """Take the certificate of a request."""
    from smartproxy.backend.operations import identity as operations

    wanted = console.arguments
    answer = operations.RequestAnswer(name=wanted.name, files=_files(console), use_from=wanted.use_from)
    _tell(console, console.call(operations.complete, answer))


def undo_plan(console: Console) -> None:
    """Undo a planned change-over."""
    from smartproxy.backend.operations import identity as operations
    from smartproxy.backend.operations.shapes import Named

    _tell(console, console.call(operations.undo_plan, Named(name=console.arguments.name)))


def show_all(console: Console) -> None:
    """List identities."""
    from smartproxy.backend.operations import identity as operations
    from smartproxy.backend.operations.shapes import Nothing

    found = console.call(operations.listed, Nothing()).items
    cells = []
    for each in found:
        leaf = next(iter(each.certificates), None)
        cells.append(
            (
                each.name,
                "-" if leaf is None else leaf.subject,
                when(None if leaf is None else leaf.not_after),
                "out" if each.request else "-",
                "-" if each.planned is None else when(each.planned.use_from),
            )
        )
    empty = "there is no identity yet; without one the server does not listen: smartproxy identity import --help"
    heads = ("NAME", "SUBJECT", "UNTIL", "REQUEST", "CHANGE-OVER")
    console.answer([_document(each) for each in found], table(heads, cells, empty))


def show(console: Console) -> None:
    """Show an identity."""
    from smartproxy.backend.operations import identity as operations
    from smartproxy.backend.operations.shapes import Named

    wanted = console.arguments
    found = console.call(operations.show, Named(name=wanted.name))
    if wanted.planned and found.planned is None:
        raise CommandFailed(f"no change-over of identity {wanted.name!r} is planned")
    pem = found.planned.pem if wanted.planned and found.planned is not None else found.pem
    if wanted.output and pem is not None:
        console.write(wanted.output, pem)
    _tell(console, found)


def remove(console: Console) -> None:
    """Remove an identity."""
    from smartproxy.backend.operations import identity as operations

    removal = operations.IdentityRemoval(name=console.arguments.name, force=console.arguments.yes)
    name = console.call(operations.remove, removal).name
    console.answer({"name": name, "removed": True}, f"identity {name} is removed, and its key with it")


def _files(console: Console) -> "tuple[GivenFile, ...]":
    from smartproxy.backend.operations.shapes import GivenFile

    return tuple(GivenFile(name=path, octets=console.read(path)) for path in console.arguments.files)


def _tell(console: Console, found: "KnownIdentity") -> None:
    state = "; a request is open" if found.request else ""
    rows = certificates_text(found.certificates, "no certificate yet")
    if found.planned is not None:
        rows += f"\nfrom {when(found.planned.use_from)} on\n{certificates_text(found.planned.certificates)}"
    console.answer(_document(found), f"identity {found.name}{state}\n{rows}")
    for warning in found.warnings:
        console.warn(warning)


def _document(found: "KnownIdentity") -> dict[str, object]:
    return {
        "name": found.name,
        "request": found.request,
        "certificates": certificate_documents(found.certificates),
        "planned": None
        if found.planned is None
        else {
            "use_from": found.planned.use_from,
            "certificates": certificate_documents(found.planned.certificates),
        },
    }
