"""How subcommands take certificates, and show them: to people as a table, to scripts as documents."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from smartproxy.policy.partners import CertificatePin, KeyPin, SanRule, SubjectRule
from smartproxy.tap.commands.console import Console, WrongUse, table, when

if TYPE_CHECKING:
    from argparse import ArgumentParser, _ArgumentGroup

    from smartproxy.backend.operations.partner import GivenCertificate
    from smartproxy.backend.operations.shapes import KnownCertificate


def certificates_text(certificates: Sequence["KnownCertificate"], empty: str = "") -> str:
    """Certificates as a table: whose, until when, which."""
    cells = [(each.subject, when(each.not_after), each.sha256) for each in certificates]
    return table(("SUBJECT", "UNTIL", "SHA-256"), cells, empty)


def certificate_documents(certificates: Sequence["KnownCertificate"]) -> list[dict[str, object]]:
    """Certificates for scripts."""
    return [
        {
            "subject": each.subject,
            "issuer": each.issuer,
            "not_before": each.not_before,
            "not_after": each.not_after,
            "sha256": each.sha256,
            "key_sha256": each.key_sha256,
        }
        for each in certificates
    ]


def rule_arguments(group: "ArgumentParser | _ArgumentGroup", classes: Collection[type[Any]]) -> None:
    """Declare the arguments by which a partner's certificate is said to be known, for some kinds of rules."""
    if CertificatePin in classes:
        group.add_argument(
            "--certificate",
            action="append",
            default=[],
            metavar="FILE",
            help="accept exactly this certificate (a PEM or DER file)",
        )
        group.add_argument(
            "--pin", action="append", default=[], metavar="SHA256", help="accept the certificate with this SHA-256"
        )
    if KeyPin in classes:
        group.add_argument(
            "--pin-key", action="store_true", help="with --certificate: accept any certificate with the same key"
        )
        group.add_argument(
            "--key", action="append", default=[], metavar="SHA256", help="accept any certificate with this key"
        )
    if SubjectRule in classes:
        group.add_argument(
            "--subject-serial",
            action="append",
            default=[],
            metavar="TEXT",
            help="accept any certificate of --ca with this serialNumber in its subject (the Odette ID)",
        )
    if SanRule in classes:
        group.add_argument(
            "--san",
            action="append",
            default=[],
            metavar="TYPE:NAME",
            help="accept any certificate of --ca with this name: DNS:x, URI:x or EMAIL:x",
        )


@attrs.frozen(kw_only=True)
class GivenRules:
    """The rules that a command line gives, and certificates in files that are pinned beside them."""

    rules: tuple[Any, ...]
    certificates: tuple["GivenCertificate", ...]

    @property
    def anything(self) -> bool:
        """Whether any were given."""
        return bool(self.rules or self.certificates)


def given_rules(console: Console) -> GivenRules:
    """The rules that the command line gives.

    :raises WrongUse: when arguments do not go together.
    """
    wanted = console.arguments
    subjects, names = wanted.subject_serial, getattr(wanted, "san", [])
    if (subjects or names) and wanted.ca is None:
        raise WrongUse("--subject-serial and --san need --ca: which CA certifies the partner?")
    if wanted.pin_key and not wanted.certificate:
        raise WrongUse("--pin-key goes with --certificate; a hash of a key is given with --key")
    return GivenRules(
        rules=(
            *(CertificatePin(sha256=_plain_sha256(each)) for each in wanted.pin),
            *(KeyPin(sha256=_plain_sha256(each)) for each in wanted.key),
            *(SubjectRule(ca=wanted.ca, serial_number=each) for each in subjects),
            *(SanRule(ca=wanted.ca, san=each) for each in names),
        ),
        certificates=tuple(_pinned(console, path) for path in wanted.certificate),
    )


def _pinned(console: Console, path: str) -> "GivenCertificate":
    """The partner's own certificate of a file, which may hold its chain too; what is left out of the chain is told."""
    from smartproxy.backend.certificates import certificates_to_pem, own_of, short_name, short_names
    from smartproxy.backend.operations.partner import GivenCertificate

    own, others = own_of(console.read(path), path)
    if others:
        console.warn(f"{path}: only {short_name(own)} is pinned; not needed: {short_names(others)}")
    return GivenCertificate(pem=certificates_to_pem([own]), key=console.arguments.pin_key)


def _plain_sha256(text: str) -> str:
    """A SHA-256 as it is stored; it may have been copied with colons and in capital letters."""
    return text.replace(":", "").replace(" ", "").lower()
