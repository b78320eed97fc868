"""``smartproxy identity``: the certificates and keys that servers show to partners."""

from typing import TYPE_CHECKING

from smartproxy.tap.commands.arguments import Subparsers, action, subject, writes
from smartproxy.tap.commands.certificates import certificate_documents, certificates_text
from smartproxy.tap.commands.console import CommandFailed, Console, table, when

if TYPE_CHECKING:
    from smartproxy.backend.certificates import KeyAndChain
    from smartproxy.backend.schema import IdentityRow

_KEY_TYPES = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384")


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "identity", "certificates and keys that servers show to partners")
    take = action(
        actions,
        "import",
        "Import a key and its certificate with the chain: PKCS#12, or PEM in one file or several.",
        take_in,
        "  smartproxy identity import main server.p12 --password-file p12.password\n"
        "  smartproxy identity import main server.key server.pem chain.pem",
        changes=True,
    )
    take.add_argument("name", metavar="NAME")
    take.add_argument("files", metavar="FILE", nargs="+", help="PKCS#12, or PEM files with key and certificates")
    take.add_argument("--password-file", metavar="FILE", help="file with the password, in its first line [asked for]")
    ask = action(
        actions,
        "request",
        "Make a key and a request (CSR) for its certificate; the one in use stays until the new one is imported.",
        request,
        "  smartproxy identity request main --common-name oftp.muster.example --organization 'Muster GmbH' \\\n"
        "      --country DE --serial-number O0013000001MUSTER --san oftp.muster.example -o main.csr\n"
        "  smartproxy identity complete main main.pem",
        changes=True,
    )
    ask.add_argument("name", metavar="NAME")
    ask.add_argument("--common-name", required=True, metavar="TEXT")
    ask.add_argument("--organization", metavar="TEXT")
    ask.add_argument("--unit", metavar="TEXT", help="organizational unit")
    ask.add_argument("--country", metavar="XX", help="two letters")
    ask.add_argument("--locality", metavar="TEXT")
    ask.add_argument("--serial-number", metavar="TEXT", help="subject serialNumber: the Odette ID")
    ask.add_argument("--san", action="append", default=[], metavar="HOST", help="host name or address; repeat it")
    ask.add_argument("--key-type", choices=_KEY_TYPES, default="rsa-3072", help="[rsa-3072]")
    writes(ask, "-o", "--output", help="where to write the request [standard output]")
    answer = action(
        actions, "complete", "Import the certificate that a CA issued for the request.", complete, changes=True
    )
    answer.add_argument("name", metavar="NAME")
    answer.add_argument("files", metavar="FILE", nargs="+", help="the certificate, and its chain")
    action(actions, "list", "List identities.", show_all)
    look = action(actions, "show", "Show an identity's certificates; its key is never shown.", show)
    look.add_argument("name", metavar="NAME")
    writes(look, "-o", "--output", help="write the certificates to this file, for partners")
    less = action(actions, "remove", "Remove an identity with its key.", remove, changes=True)
    less.add_argument("name", metavar="NAME")
    less.add_argument(
        "--yes", action="store_true", help="remove it even if it is the only one, without which no partner can connect"
    )


def take_in(console: Console) -> None:
    """Import a key and its certificates."""
    from smartproxy.backend import identities

    wanted = console.arguments
    pair = _read(console)
    with console.changing(f"identity import {wanted.name}") as change:
        row = identities.keep(change, wanted.name, pair)
    _tell(console, row)


def request(console: Console) -> None:
    """Make a key and a request for its certificate."""
    from smartproxy.backend import identities

    wanted = console.arguments
    about = identities.Subject(
        common_name=wanted.common_name,
        organization=wanted.organization,
        organizational_unit=wanted.unit,
        country=wanted.country,
        locality=wanted.locality,
        serial_number=wanted.serial_number,
        names=tuple(wanted.san),
    )
    made = identities.make_request(wanted.name, about, wanted.key_type)
    with console.changing(f"identity request {wanted.name}") as change:
        identities.request(change, made)
    text = made.request
    if wanted.output:
        console.write(wanted.output, text)
    shown = f"the request is in {wanted.output}; send it to the CA" if wanted.output else text.rstrip("\n")
    console.answer({"name": wanted.name, "request": text}, shown)


def complete(console: Console) -> None:
    """Take the certificate of a request."""
    from smartproxy.backend import identities
    from smartproxy.backend.certificates import read_certificates

    wanted, source = console.arguments, " and ".join(console.arguments.files)
    certificates = read_certificates(b"\n".join(console.read(path) for path in wanted.files), source)
    with console.changing(f"identity complete {wanted.name}") as change:
        identities.complete(change, wanted.name, certificates, source)
        row = identities.find(change.session, wanted.name)
    _tell(console, row)


def show_all(console: Console) -> None:
    """List identities."""
    from smartproxy.backend import identities
    from smartproxy.backend.certificates import subject_text

    with console.reading() as session:
        rows = identities.listed(session)
    cells = []
    for row in rows:
        leaf = next(iter(identities.chain_of(row)), None)
        cells.append(
            (
                row.name,
                "-" if leaf is None else subject_text(leaf),
                when(None if leaf is None else leaf.not_valid_after_utc),
                "out" if row.request else "-",
            )
        )
    empty = "there is no identity yet; without one the server does not listen: smartproxy identity import --help"
    heads = ("NAME", "SUBJECT", "UNTIL", "REQUEST")
    console.answer([_document(row) for row in rows], table(heads, cells, empty))


def show(console: Console) -> None:
    """Show an identity."""
    from smartproxy.backend import identities

    with console.reading() as session:
        row = identities.find(session, console.arguments.name)
    if console.arguments.output and row.entry is not None:
        console.write(console.arguments.output, row.entry.certificate)
    _tell(console, row)


def remove(console: Console) -> None:
    """Remove an identity."""
    from smartproxy.backend import identities

    name = console.arguments.name
    with console.changing(f"identity remove {name}") as change:
        used = [row.name for row in identities.listed(change.session) if row.entry is not None]
        if used == [name] and not console.arguments.yes:
            raise CommandFailed(
                f"{name} is the only identity: without it the server closes its ports to all partners; give --yes to "
                "remove it all the same"
            )
        identities.remove(change, name)
    console.answer({"name": name, "removed": True}, f"identity {name} is removed, and its key with it")


def _read(console: Console) -> "KeyAndChain":
    """Key and certificates of the files that were given."""
    from smartproxy.backend.certificates import fitting, read_certificates, read_pkcs12, read_private_key
    from smartproxy.backend.errors import Unusable

    wanted = console.arguments
    contents = [(path, console.read(path)) for path in wanted.files]
    source = " and ".join(wanted.files)
    if len(contents) == 1 and b"-----BEGIN " not in contents[0][1]:
        password = console.password(wanted.password_file, source)
        return read_pkcs12(contents[0][1], password, source)
    keys = [octets for _, octets in contents if b"PRIVATE KEY-----" in octets]
    if len(keys) != 1:
        found = "no private key" if not keys else "more than one private key"
        raise Unusable(f"there is {found} in {source}; give one key and its certificates, in PEM, or one PKCS#12 file")
    encrypted = b"ENCRYPTED" in keys[0]
    password = console.password(wanted.password_file, source) if encrypted else None
    key = read_private_key(keys[0], password, source)
    certificates = [
        each
        for path, octets in contents
        if b"CERTIFICATE-----" in octets or b"-----BEGIN " not in octets
        for each in read_certificates(octets, path)
    ]
    return fitting(key, certificates, source)


def _tell(console: Console, row: "IdentityRow") -> None:
    from smartproxy.backend import identities

    chain = identities.chain_of(row)
    state = "; a request is open" if row.request else ""
    console.answer(_document(row), f"identity {row.name}{state}\n{certificates_text(chain, 'no certificate yet')}")
    for each in chain[:1]:
        for warning in identities.warnings(each, console.now()):
            console.warn(warning)


def _document(row: "IdentityRow") -> dict[str, object]:
    from smartproxy.backend import identities

    return {
        "name": row.name,
        "request": None if row.request is None else row.request.request,
        "certificates": certificate_documents(identities.chain_of(row)),
    }
