"""``smartproxy partner``: who may connect, how he proves it, and what he may do."""

from argparse import ArgumentParser
from typing import TYPE_CHECKING

from smartproxy.tap.commands import partner_outbound
from smartproxy.tap.commands.arguments import Subparsers, action, subject
from smartproxy.tap.commands.certificates import pinned, plain_sha256
from smartproxy.tap.commands.console import Console, WrongUse, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.partners import Entry, Proof
    from smartproxy.backend.schema import PartnerRow

LEVELS = {"1.2": 1, "1.3": 2, "1.4": 4, "2.0": 5}
"""The release levels by their names, as SSIDLEV writes them."""

_EXAMPLES = """\
  smartproxy partner add ACME --code O0013000001ACME --certificate acme.pem
  smartproxy partner add ACME --code O0013000001ACME --ca odette --subject-serial O0013000001ACME
  smartproxy partner certificate add ACME --certificate acme-2027.pem      (both are good: change-over)
  smartproxy partner certificate remove ACME 5f3a90bc"""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "partner", "partners: who may connect and how he proves who he is", _EXAMPLES)
    make = action(actions, "add", "Add a partner.", add, _EXAMPLES)
    make.add_argument("name", metavar="NAME")
    _entry(make)
    _proofs(make)
    make.add_argument("--disabled", action="store_true", help="he may not connect until 'partner enable'")
    alter = action(
        actions,
        "change",
        "Change a partner: what is given replaces what was there, everything else stays.",
        change,
        "  smartproxy partner change ACME --lowest-level 1.4\n"
        "  smartproxy partner change ACME --code O0013000001ACME --code O0013000001ACMEB   (exactly these two)",
    )
    alter.add_argument("name", metavar="NAME")
    _entry(alter)
    _proofs(alter)
    action(actions, "list", "List partners.", show_all)
    soon = action(
        actions,
        "expiring",
        "List partners whose certificate ends next, or will be refused for another reason: its issuer's certificate "
        "ends, or no newer revocation list is loaded. The first to fail comes first.",
        expiring,
        "  smartproxy partner expiring --days 90",
    )
    soon.add_argument("--days", type=int, default=30, metavar="N", help="within so many days [30]")
    for name, summary, run in (
        ("show", "Show a partner.", show),
        ("enable", "Let a partner connect.", enable),
        ("disable", "Let a partner connect no more; his running sessions end when they are idle.", disable),
        ("remove", "Remove a partner.", remove),
    ):
        action(actions, name, summary, run).add_argument("name", metavar="NAME")
    partner_outbound.register(actions)
    certificate = subject(actions, "certificate", "Add or remove certificates of a partner; several are good at once.")
    more = action(certificate, "add", "Recognize further certificates, beside those that there are.", add_certificates)
    more.add_argument("name", metavar="NAME")
    _proofs(more)
    less = action(certificate, "remove", "Recognize certificates no more.", remove_certificates)
    less.add_argument("name", metavar="NAME")
    less.add_argument("which", metavar="WHICH", nargs="+", help="SHA-256 (8 digits or more of it), serial or SAN")


def _entry(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("the partner")
    group.add_argument("--code", action="append", metavar="CODE", help="an SSIDCODE that he may use; may be repeated")
    group.add_argument(
        "--lowest-level",
        choices=[*LEVELS, *(str(each) for each in LEVELS.values())],
        help="lowest OFTP release level that he may offer [2.0]",
    )
    group.add_argument(
        "--authentication",
        choices=("either", "required", "refused"),
        help="OFTP2 secure authentication has to be, may be or must not be [either]",
    )
    group.add_argument(
        "--profile", choices=("default", "strict"), help="tolerate known departures from RFC 5024, or none [default]"
    )
    group.add_argument(
        "--purpose",
        choices=("strict", "server_auth", "any"),
        help="extended key usage of his certificate: for clients; for servers will do too; any, which is for pinned "
        "certificates only [strict]",
    )


def _proofs(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "his certificates", "Each may be repeated; every certificate named here is good, several at once."
    )
    group.add_argument(
        "--certificate", action="append", default=[], metavar="FILE", help="PEM or DER: this very certificate"
    )
    group.add_argument(
        "--pin-key", action="store_true", help="of each --certificate: any certificate with the same key"
    )
    group.add_argument("--pin", action="append", default=[], metavar="SHA256", help="the certificate with this SHA-256")
    group.add_argument(
        "--key", action="append", default=[], metavar="SHA256", help="any certificate of the key with this SHA-256"
    )
    group.add_argument("--ca", metavar="NAME", help="for --subject-serial and --san: the ca that certifies him")
    group.add_argument(
        "--subject-serial",
        action="append",
        default=[],
        metavar="TEXT",
        help="any certificate of the ca with this serialNumber in its subject (the Odette ID)",
    )
    group.add_argument(
        "--san",
        action="append",
        default=[],
        metavar="TYPE:NAME",
        help="any certificate of the ca with this name: DNS:x, URI:x or EMAIL:x",
    )


def add(console: Console) -> None:
    """Add a partner."""
    from smartproxy.backend import partners

    wanted = console.arguments
    if not wanted.code:
        raise WrongUse("partner add: give at least one --code, the SSIDCODE that the partner uses")
    entry = _given(console)
    if not entry.proofs:
        raise WrongUse(
            "partner add: say how his certificate is recognized: --certificate FILE, --pin or --key SHA256, or "
            "--ca NAME with --subject-serial or --san"
        )
    with console.changing(f"partner add {wanted.name}") as making:
        row = partners.add(making, wanted.name, entry, enabled=not wanted.disabled)
    _tell(console, row)


def change(console: Console) -> None:
    """Change a partner."""
    from smartproxy.backend import partners

    entry = _given(console)
    if entry == partners.Entry():
        raise WrongUse("partner change: nothing to change was given")
    with console.changing(f"partner change {console.arguments.name}") as making:
        row = partners.alter(making, console.arguments.name, entry)
    _tell(console, row)


def show_all(console: Console) -> None:
    """List partners."""
    from smartproxy.backend import partners

    with console.reading() as session:
        rows = partners.listed(session)
        documents = [_document(row) for row in rows]
        cells = [
            (
                row.name,
                "yes" if row.enabled else "no",
                ", ".join(row.codes),
                _level(row.lowest_level),
                row.authentication,
                row.profile,
                len(row.certificates),
            )
            for row in rows
        ]
    heads = ("NAME", "ENABLED", "CODES", "LOWEST LEVEL", "AUTHENTICATION", "PROFILE", "CERTIFICATES")
    console.answer(documents, table(heads, cells, "there is no partner yet; add one: smartproxy partner add --help"))


def expiring(console: Console) -> None:
    """List partners whose certificate fails next."""
    from datetime import timedelta

    from smartproxy.backend import forecasts

    if not 0 <= console.arguments.days <= 36_500:
        raise WrongUse("partner expiring --days: give a number of days, 0 to 36500")
    with console.reading() as session:
        found = forecasts.failing(session, console.now() + timedelta(days=console.arguments.days))
    documents = [
        {
            "partner": each.partner,
            "fails": each.moment,
            "reason": each.reason,
            "subject": each.subject,
            "certificate_sha256": each.sha256,
            "others_until": each.others_until,
        }
        for each in found
    ]
    cells = [
        (each.partner, when(each.moment), each.reason, each.subject or "-", when(each.others_until, "none"))
        for each in found
    ]
    heads = ("PARTNER", "FAILS", "WHY", "CERTIFICATE", "ANOTHER IS GOOD UNTIL")
    empty = f"no partner's certificate is known to fail within {console.arguments.days} days"
    console.answer(documents, table(heads, cells, empty))


def show(console: Console) -> None:
    """Show a partner."""
    from smartproxy.backend import partners

    with console.reading() as session:
        _tell(console, partners.find(session, console.arguments.name))


def enable(console: Console) -> None:
    """Let a partner connect."""
    _switch(console, True)


def disable(console: Console) -> None:
    """Let a partner connect no more."""
    _switch(console, False)


def remove(console: Console) -> None:
    """Remove a partner."""
    from smartproxy.backend import partners

    name = console.arguments.name
    with console.changing(f"partner remove {name}") as making:
        partners.remove(making, name)
    console.answer({"name": name, "removed": True}, f"partner {name} is removed")


def add_certificates(console: Console) -> None:
    """Recognize further certificates."""
    from smartproxy.backend import partners

    proofs = _given_proofs(console)
    if not proofs:
        raise WrongUse("partner certificate add: give --certificate, --pin, --key, --subject-serial or --san")
    name = console.arguments.name
    with console.changing(f"partner certificate add {name}") as making:
        new = partners.add_proofs(making, name, proofs)
    text = "\n".join(f"added: {each}" for each in new) or "nothing new: these certificates are recognized already"
    console.answer({"name": name, "added": [_proof(each) for each in new]}, text)


def remove_certificates(console: Console) -> None:
    """Recognize certificates no more."""
    from smartproxy.backend import partners

    name = console.arguments.name
    with console.changing(f"partner certificate remove {name}") as making:
        gone = partners.remove_proofs(making, name, console.arguments.which)
    text = "\n".join(f"removed: {each}" for each in gone)
    console.answer({"name": name, "removed": [_proof(each) for each in gone]}, text)


def _switch(console: Console, enabled: bool) -> None:
    from smartproxy.backend import partners

    name, word = console.arguments.name, "enable" if enabled else "disable"
    with console.changing(f"partner {word} {name}") as making:
        row = partners.enable(making, name, enabled)
        document = _document(row)
    console.answer(document, f"partner {name} may {'connect' if enabled else 'not connect any more'}")


def _given(console: Console) -> "Entry":
    """What the command line says of a partner."""
    from smartproxy.backend.partners import Entry

    wanted = console.arguments
    level = wanted.lowest_level
    return Entry(
        codes=None if wanted.code is None else tuple(wanted.code),
        lowest_level=None if level is None else LEVELS.get(level) or int(level),
        authentication=wanted.authentication,
        profile=wanted.profile,
        purpose=wanted.purpose,
        proofs=_given_proofs(console) or None,
    )


def _given_proofs(console: Console) -> "tuple[Proof, ...]":
    """How the command line says that certificates are recognized."""
    from smartproxy.backend.partners import Proof

    wanted = console.arguments
    named = [("subject", each) for each in wanted.subject_serial] + [("san", each) for each in wanted.san]
    if bool(named) != (wanted.ca is not None):
        raise WrongUse("--ca goes with --subject-serial or --san, and these need it: which ca certifies him?")
    if wanted.pin_key and not wanted.certificate:
        raise WrongUse("--pin-key goes with --certificate; a hash of a key is given with --key")
    return (
        *(pinned(console, path) for path in wanted.certificate),
        *(Proof(by="certificate", text=plain_sha256(each)) for each in wanted.pin),
        *(Proof(by="key", text=plain_sha256(each)) for each in wanted.key),
        *(Proof(by=by, text=text, authority=wanted.ca) for by, text in named),
    )


def _level(level: int) -> str:
    return next((name for name, value in LEVELS.items() if value == level), str(level))


def _tell(console: Console, row: "PartnerRow") -> None:
    from smartproxy.backend import partners

    console.answer(
        _document(row),
        listing(
            {
                "partner": row.name,
                "enabled": "yes" if row.enabled else "no",
                "codes": list(row.codes),
                "lowest level": _level(row.lowest_level),
                "authentication": row.authentication,
                "profile": row.profile,
                "purpose": row.purpose,
                "certificates": [str(each) for each in partners.proofs_of(row)],
                "outbound": partner_outbound.words(row),
            }
        ),
    )


def _document(row: "PartnerRow") -> dict[str, object]:
    from smartproxy.backend import partners

    return {
        "name": row.name,
        "enabled": row.enabled,
        "codes": list(row.codes),
        "lowest_level": row.lowest_level,
        "authentication": row.authentication,
        "profile": row.profile,
        "purpose": row.purpose,
        "certificates": [_proof(each) for each in partners.proofs_of(row)],
        "outbound": row.outbound,
    }


def _proof(proof: "Proof") -> dict[str, object]:
    key = {"subject": "serial_number", "san": "san"}.get(proof.by, "sha256")
    return {
        "by": proof.by,
        key: proof.text,
        **({} if proof.authority is None else {"authority": proof.authority}),
        **({} if proof.subject is None else {"subject": proof.subject, "not_after": proof.not_after}),
    }
