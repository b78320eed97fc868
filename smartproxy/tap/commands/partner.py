"""``smartproxy partner``: who may connect, how it is known, what it may do, and how the station reaches it.

Which settings a partner has is declared by :class:`~smartproxy.policy.partners.Partner` and
:class:`~smartproxy.policy.partners.Outbound`; here is what an operator does with a partner.
"""

import ipaddress
import re
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from smartproxy.oftp2.grammars import IdentificationCode, IdentificationSet
from smartproxy.policy.partners import (
    CODE_OCTETS,
    CertificatePin,
    KeyPin,
    Outbound,
    Partner,
    Rule,
    SanRule,
    SubjectRule,
)
from smartproxy.policy.schema import declarations, write_object
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.arguments import Subparsers, action, days, subject
from smartproxy.tap.commands.certificates import GivenRules, given_rules, rule_arguments
from smartproxy.tap.commands.console import CommandFailed, Console, WrongUse, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.schema import PartnerRow, PinNote

_NAME = r"[^\W_][\w .&+()-]*"
_EXAMPLES = """\
  smartproxy partner add ACME --code O0013000001ACME --certificate acme.pem
  smartproxy partner add ACME --code O0013000001ACME --ca odette --subject-serial O0013000001ACME
  smartproxy partner certificate add ACME --certificate acme-2027.pem      (both are valid: change-over)
  smartproxy partner certificate remove ACME 5f3a90bc"""
_OUTBOUND_EXAMPLES = """\
  smartproxy partner outbound ACME --host oftp.acme.example --listener 3307
  smartproxy partner outbound ACME --verify pin                    (the certificates pinned for its own calls)
  smartproxy partner outbound ACME --verify odette --ca odette --subject-serial O0013000001ACME
  smartproxy partner outbound ACME --source 192.0.2.2 --identity second
  smartproxy partner outbound ACME --never

The station calls the partner through the client: at the port --listener, or at the client's outbound listener (setting
client.outbound.port, 65433) with HTTP CONNECT or SOCKS5 to the partner's host and port, or to its name."""


def register(subparsers: Subparsers) -> None:
    """Declare the actions."""
    actions = subject(subparsers, "partner", "partners: who may connect and how it is known", _EXAMPLES)
    make = action(actions, "add", "Add a partner.", add, _EXAMPLES)
    make.add_argument("name", metavar="NAME")
    _entry(make, defaults=True)
    make.add_argument("--disabled", action="store_true", help="it may not connect until 'partner enable'")
    _forcing(make)
    alter = action(
        actions,
        "change",
        "Change a partner: the given options replace the old values, everything else stays.",
        change,
        "  smartproxy partner change ACME --lowest-level 1.4\n"
        "  smartproxy partner change ACME --code O0013000001ACME --code O0013000001ACMEB   (exactly these two)",
    )
    alter.add_argument("name", metavar="NAME")
    _entry(alter, defaults=False)
    _forcing(alter)
    action(actions, "list", "List partners.", show_all)
    soon = action(
        actions,
        "expiring",
        "List partners whose certificate ends next, or will be refused for another reason: its issuer's certificate "
        "ends, or no newer revocation list is loaded. The first to fail comes first.",
        expiring,
        "  smartproxy partner expiring --days 90",
    )
    soon.add_argument("--days", type=days, default=30, metavar="N", help="look so many days ahead [30]")
    for name, summary, run in (
        ("show", "Show a partner.", show),
        ("enable", "Let a partner connect.", enable),
        ("disable", "Stop a partner from connecting; its running sessions end when they are idle.", disable),
        ("remove", "Remove a partner.", remove),
    ):
        action(actions, name, summary, run).add_argument("name", metavar="NAME")
    call = action(
        actions,
        "outbound",
        "Set how a partner is called: the given options replace the old values, everything else stays.",
        outbound,
        _OUTBOUND_EXAMPLES,
    )
    call.add_argument("name", metavar="NAME")
    declared.add_arguments(call, Outbound)
    rule_arguments(call, (CertificatePin, KeyPin, SubjectRule))
    call.add_argument(
        "--default",
        action="append",
        default=[],
        choices=tuple(_resettable()),
        help="set this option back to its default",
    )
    call.add_argument("--never", action="store_true", help="allow no calls to this partner any more")
    certificate = subject(actions, "certificate", "Add or remove certificates of a partner; several are valid at once.")
    more = action(
        certificate,
        "add",
        "Add certificates by which the partner is recognized; those that it has stay valid.",
        add_certificates,
    )
    more.add_argument("name", metavar="NAME")
    _rules(more)
    less = action(
        certificate,
        "remove",
        "Remove certificates: the partner is not recognized by them any more.",
        remove_certificates,
    )
    less.add_argument("name", metavar="NAME")
    less.add_argument("which", metavar="WHICH", nargs="+", help="SHA-256 (8 digits or more of it), serial or SAN")


def _entry(parser: ArgumentParser, *, defaults: bool) -> None:
    declared.add_arguments(parser.add_argument_group("the partner"), Partner, defaults=defaults)
    _rules(parser)


def _forcing(parser: ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="take a name or a code that is refused as a mistake")


def _rules(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "its certificates", "Each may be repeated; each certificate named here is valid, several at once."
    )
    group.add_argument("--ca", dest="ca", metavar="NAME", help="the CA for --subject-serial and --san")
    rule_arguments(group, (CertificatePin, KeyPin, SubjectRule, SanRule))


def _resettable() -> dict[str, str]:
    """The fields of how a partner is called that have defaults, by what the command line calls them."""
    return {
        each.option.removeprefix("--").replace("-", "_"): each.name
        for each in declarations(Outbound)
        if each.default is not attrs.NOTHING
    }


def add(console: Console) -> None:
    """Add a partner."""
    from smartproxy.backend import partners

    wanted = console.arguments
    if not wanted.codes:
        raise WrongUse("partner add: give at least one --code, the SSIDCODE that the partner uses")
    certificates = _given_rules(console)
    if not certificates.rules:
        raise WrongUse(
            "partner add: say how its certificate is recognized: --certificate FILE, --pin or --key SHA256, or "
            "--ca NAME with --subject-serial or --san"
        )
    _doubt_name(console, wanted.name)
    _doubt_codes(console, wanted.codes)
    values = declared.given(wanted, Partner)
    partner = Partner(name=wanted.name, enabled=not wanted.disabled, certificates=certificates.rules, **values)
    with console.changing(f"partner add {wanted.name}") as making:
        row = partners.add(making, partner, certificates.notes)
    _tell(console, row)


def _doubt_name(console: Console, name: str) -> None:
    """Refuse a name that commands would take for something else, or that has to be quoted, unless it is forced."""
    try:
        known = "a number" if name.isdecimal() else f"an address of IPv{ipaddress.ip_address(name).version}"
    except ValueError:
        known = "no name for commands and logs" if re.fullmatch(_NAME, name) is None else ""
    if known and not console.arguments.force:
        raise CommandFailed(
            f"{name!r} is {known}: a partner's name has letters, digits, blanks and . _ - & + ( ), and begins with a "
            "letter or a digit; give --force to take it all the same"
        )


def _doubt_codes(console: Console, codes: Iterable[str]) -> None:
    """Refuse a code that no SSID can contain, unless it is forced; warn of one of an unusual form (RFC 5024 5.4)."""
    for code in codes:
        octets = code.encode("ascii", "replace")
        if IdentificationSet().fault(octets, CODE_OCTETS) is not None:
            if not console.arguments.force:
                upper = f"; is it {code.upper()}?" if code != code.upper() else ""
                raise CommandFailed(
                    f"{code!r} is no SSIDCODE, which has only capital letters, digits, blanks and / - . & ( ){upper}; "
                    "give --force to take it all the same"
                )
        elif not code.startswith("O") or IdentificationCode().fault(octets, CODE_OCTETS) is not None:
            console.warn(
                f"the code {code} does not have the usual form of an SSIDCODE: O, the four digits of its issuer, the "
                "company's code, as in O0013000001ACME; it has to be exactly what the partner sends"
            )


def change(console: Console) -> None:
    """Change a partner."""
    from smartproxy.backend import partners

    certificates = _given_rules(console)
    values = declared.given(console.arguments, Partner)
    if certificates.rules:
        values["certificates"] = certificates.rules
    if not values:
        raise WrongUse("partner change: nothing to change was given")
    _doubt_codes(console, values.get("codes", ()))
    with console.changing(f"partner change {console.arguments.name}") as making:
        row = partners.alter(making, console.arguments.name, certificates.notes, **values)
    _tell(console, row)


def show_all(console: Console) -> None:
    """List partners."""
    from smartproxy.backend import partners

    with console.reading() as session:
        rows = partners.listed(session)
        documents = [_document(row) for row in rows]
        cells = [declared.cells(row.entry) for row in rows]
    heads = declared.heads(Partner)
    console.answer(documents, table(heads, cells, "there is no partner yet; add one: smartproxy partner add --help"))


def expiring(console: Console) -> None:
    """List partners whose certificate fails next."""
    from datetime import timedelta

    from smartproxy.backend import forecasts

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

    certificates = _given_rules(console)
    if not certificates.rules:
        raise WrongUse("partner certificate add: give --certificate, --pin, --key, --subject-serial or --san")
    name = console.arguments.name
    with console.changing(f"partner certificate add {name}") as making:
        new = partners.add_rules(making, name, certificates.rules, certificates.notes)
        row = partners.find(making.session, name)
    text = "\n".join(f"added: {partners.rule_text(each, row.notes)}" for each in new)
    answer = {"name": name, "added": [_rule(each, row.notes) for each in new]}
    console.answer(answer, text or "nothing new: these certificates are recognized already")


def remove_certificates(console: Console) -> None:
    """Remove certificates: the partner is not recognized by them any more."""
    from smartproxy.backend import partners

    name = console.arguments.name
    with console.changing(f"partner certificate remove {name}") as making:
        notes = partners.find(making.session, name).notes
        gone = partners.remove_rules(making, name, console.arguments.which)
    text = "\n".join(f"removed: {partners.rule_text(each, notes)}" for each in gone)
    console.answer({"name": name, "removed": [_rule(each, notes) for each in gone]}, text)


def outbound(console: Console) -> None:
    """Say how a partner is called."""
    from smartproxy.backend import partners

    wanted = console.arguments
    certificates = given_rules(console)
    values = declared.given(wanted, Outbound)
    if certificates.rules:
        values["certificates"] = certificates.rules
        # It says which ca certifies the Odette IDs.
        values.pop("ca", None)
    defaults = {each.name: each.default for each in declarations(Outbound)}
    values |= {name: defaults[name] for name in (_resettable()[each] for each in wanted.default)}
    if wanted.never == bool(values):
        raise WrongUse("partner outbound: say how it is called (--host ...), or that it is not (--never)")
    with console.changing(f"partner outbound {wanted.name}") as making:
        if values:
            row = partners.alter_outbound(making, wanted.name, **values)
        else:
            row = partners.alter(making, wanted.name, outbound=None)
    called = _outbound_document(row.entry.outbound)
    text = listing({"partner": row.name, "called": _outbound_lines(row.entry.outbound)})
    console.answer({"name": row.name, "outbound": called}, text)


def _switch(console: Console, enabled: bool) -> None:
    from smartproxy.backend import partners

    name, word = console.arguments.name, "enable" if enabled else "disable"
    with console.changing(f"partner {word} {name}") as making:
        row = partners.alter(making, name, enabled=enabled)
        document = _document(row)
    console.answer(document, f"partner {name} may {'connect' if enabled else 'not connect any more'}")


def _given_rules(console: Console) -> GivenRules:
    """How the command line says that certificates are recognized."""
    found = given_rules(console)
    named = any(isinstance(each, SubjectRule | SanRule) for each in found.rules)
    if console.arguments.ca is not None and not named:
        raise WrongUse("--ca goes with --subject-serial or --san, and these need it: which CA certifies the partner?")
    return found


def _tell(console: Console, row: "PartnerRow") -> None:
    from smartproxy.backend import partners

    entry = row.entry
    certificates = [partners.rule_text(each, row.notes) for each in entry.certificates]
    shown = declared.pairs(entry, certificates=certificates, outbound=_outbound_lines(entry.outbound))
    console.answer(_document(row), listing({"partner": shown.pop("name"), **shown}))


def _document(row: "PartnerRow") -> dict[str, object]:
    return declared.document(
        row.entry,
        certificates=[_rule(each, row.notes) for each in row.entry.certificates],
        outbound=_outbound_document(row.entry.outbound),
    )


def _rule(rule: Rule, notes: Iterable["PinNote"]) -> dict[str, object]:
    """A rule for scripts; of a pinned certificate that is known, with what stands in it."""
    pin = getattr(rule, "sha256", None)
    note = next((each for each in notes if each.sha256 == pin), None)
    about = {} if note is None else {"subject": note.subject, "not_after": note.not_after}
    return {"by": rule.by, **write_object(rule), **about}


def _outbound_document(outbound: Outbound | None) -> dict[str, object] | None:
    return None if outbound is None else declared.changed(outbound)


def _outbound_lines(outbound: Outbound | None) -> list[str]:
    """How a partner is called, for people."""
    if outbound is None:
        return ["never"]
    return [outbound.address, *declared.changed_lines(outbound, "host", "port")]
