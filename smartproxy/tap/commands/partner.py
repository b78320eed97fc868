"""``smartproxy partner``: who may connect, how it is known, what it may do, and how the station reaches it.

Which settings a partner has is declared by :class:`~smartproxy.policy.partners.Partner` and
:class:`~smartproxy.policy.partners.Outbound`; here is what an operator does with a partner.
"""

from argparse import ArgumentParser
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

from smartproxy.policy import limits
from smartproxy.policy.partners import (
    CertificatePin,
    KeyPin,
    Outbound,
    Partner,
    Rule,
    SanRule,
    SubjectRule,
)
from smartproxy.policy.schema import declarations, write_object
from smartproxy.tap.commands import declared, proposals, sheet, watching
from smartproxy.tap.commands.arguments import Subparsers, action, days, subject
from smartproxy.tap.commands.certificates import GivenRules, given_rules, rule_arguments
from smartproxy.tap.commands.console import Console, WrongUse, listing, table, when

if TYPE_CHECKING:
    from smartproxy.backend.operations.partner import KnownPartner
    from smartproxy.backend.operations.shapes import Named
    from smartproxy.backend.schema import PinNote

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
    make = action(actions, "add", "Add a partner.", add, _EXAMPLES, changes=True, tried=True)
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
        changes=True,
        tried=True,
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
    ahead = limits.DAYS_AHEAD.default
    soon.add_argument("--days", type=days, default=ahead, metavar="N", help=f"look so many days ahead [{ahead}]")
    for name, summary, run in (
        ("show", "Show a partner.", show),
        ("enable", "Let a partner connect and be called.", enable),
        (
            "disable",
            "Stop a partner from connecting and from being called; its running sessions end when they are idle.",
            disable,
        ),
        ("remove", "Remove a partner.", remove),
    ):
        changes = run is not show
        one = action(actions, name, summary, run, changes=changes, tried=changes)
        one.add_argument("name", metavar="NAME")
    call = action(
        actions,
        "outbound",
        "Set how a partner is called: the given options replace the old values, everything else stays.",
        outbound,
        _OUTBOUND_EXAMPLES,
        changes=True,
        tried=True,
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
        changes=True,
        tried=True,
    )
    more.add_argument("name", metavar="NAME")
    _rules(more)
    less = action(
        certificate,
        "remove",
        "Remove certificates: the partner is not recognized by them any more.",
        remove_certificates,
        changes=True,
        tried=True,
    )
    less.add_argument("name", metavar="NAME")
    less.add_argument("which", metavar="WHICH", nargs="+", help="SHA-256 (8 digits or more of it), serial or SAN")
    sheet.register(actions)
    proposals.register(actions)
    watching.register(actions)


def _entry(parser: ArgumentParser, *, defaults: bool) -> None:
    declared.add_arguments(parser.add_argument_group("the partner"), Partner, defaults=defaults)
    _rules(parser)


def _forcing(parser: ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="accept a name or code that looks like a mistake")


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
    from smartproxy.backend.operations import partner as operations

    wanted = console.arguments
    if not wanted.codes:
        raise WrongUse("partner add: give at least one --code, the SSIDCODE that the partner uses")
    given = _given_rules(console)
    if not given.anything:
        raise WrongUse(
            "partner add: say how its certificate is recognized: --certificate FILE, --pin or --key SHA256, or "
            "--ca NAME with --subject-serial or --san"
        )
    values = {"name": wanted.name, "enabled": not wanted.disabled, **declared.given(wanted, Partner)}
    addition = operations.PartnerAddition(
        partner=values | _rules_of(given), pinned=given.certificates, force=wanted.force
    )
    _tell(console, console.call(operations.add, addition))


def change(console: Console) -> None:
    """Change a partner."""
    from smartproxy.backend.operations import partner as operations

    wanted = console.arguments
    given = _given_rules(console)
    values = declared.given(wanted, Partner) | _rules_of(given)
    if not values and not given.anything:
        raise WrongUse("partner change: nothing to change was given")
    alteration = operations.PartnerAlteration(
        name=wanted.name, partner=values, pinned=given.certificates, force=wanted.force
    )
    _tell(console, console.call(operations.alter, alteration))


def show_all(console: Console) -> None:
    """List partners."""
    from smartproxy.backend.operations import partner as operations

    found = console.every(operations.listed)
    documents = [_document(each) for each in found]
    cells = [declared.cells(each.partner) for each in found]
    heads = declared.heads(Partner)
    console.answer(documents, table(heads, cells, "there is no partner yet; add one: smartproxy partner add --help"))


def expiring(console: Console) -> None:
    """List partners whose certificate fails next."""
    from smartproxy.backend.operations import partner as operations

    found = console.call(operations.expiring, operations.Ahead(days=console.arguments.days)).items
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
    from smartproxy.backend.operations import partner as operations

    _tell(console, console.call(operations.show, _named(console)))


def enable(console: Console) -> None:
    """Let a partner connect and be called."""
    from smartproxy.backend.operations import partner as operations

    known = console.call(operations.enable, _named(console))
    console.answer(_document(known), f"partner {known.partner.name} may connect and be called")


def disable(console: Console) -> None:
    """Stop a partner from connecting and from being called."""
    from smartproxy.backend.operations import partner as operations

    known = console.call(operations.disable, _named(console))
    console.answer(_document(known), f"partner {known.partner.name} may not connect or be called any more")


def remove(console: Console) -> None:
    """Remove a partner."""
    from smartproxy.backend.operations import partner as operations

    name = console.call(operations.remove, _named(console)).name
    console.answer({"name": name, "removed": True}, f"partner {name} is removed")


def add_certificates(console: Console) -> None:
    """Recognize further certificates."""
    from smartproxy.backend.operations import partner as operations
    from smartproxy.backend.partners import rule_text

    given = _given_rules(console)
    if not given.anything:
        raise WrongUse("partner certificate add: give --certificate, --pin, --key, --subject-serial or --san")
    addition = operations.RuleAddition(name=console.arguments.name, rules=given.rules, pinned=given.certificates)
    done = console.call(operations.add_rules, addition)
    for warning in done.warnings:
        console.warn(warning)
    text = "\n".join(f"added: {rule_text(each, done.notes)}" for each in done.rules)
    answer = {"name": done.name, "added": [_rule(each, done.notes) for each in done.rules]}
    console.answer(answer, text or "nothing new: these certificates are recognized already")


def remove_certificates(console: Console) -> None:
    """Remove certificates: the partner is not recognized by them any more."""
    from smartproxy.backend.operations import partner as operations
    from smartproxy.backend.partners import rule_text

    removal = operations.RuleRemoval(name=console.arguments.name, which=tuple(console.arguments.which))
    done = console.call(operations.remove_rules, removal)
    text = "\n".join(f"removed: {rule_text(each, done.notes)}" for each in done.rules)
    console.answer({"name": done.name, "removed": [_rule(each, done.notes) for each in done.rules]}, text)


def outbound(console: Console) -> None:
    """Say how a partner is called."""
    from smartproxy.backend.operations import partner as operations

    wanted = console.arguments
    given = given_rules(console)
    values = declared.given(wanted, Outbound) | _rules_of(given)
    if given.anything:
        # It says which ca certifies the Odette IDs.
        values.pop("ca", None)
    defaults = {each.name: each.default for each in declarations(Outbound)}
    values |= {name: defaults[name] for name in (_resettable()[each] for each in wanted.default)}
    if wanted.never == (bool(values) or given.anything):
        raise WrongUse("partner outbound: say how it is called (--host ...), or that it is not (--never)")
    alteration = operations.CallingAlteration(
        name=wanted.name, outbound=None if wanted.never else values, pinned=given.certificates
    )
    known = console.call(operations.outbound, alteration)
    entry = known.partner
    for warning in known.warnings:
        console.warn(warning)
    called = _outbound_document(entry.outbound)
    text = listing({"partner": entry.name, "called": _outbound_lines(entry.outbound)})
    console.answer({"name": entry.name, "outbound": called}, text)


def _named(console: Console) -> "Named":
    from smartproxy.backend.operations.shapes import Named

    return Named(name=console.arguments.name)


def _given_rules(console: Console) -> GivenRules:
    """How the command line says that certificates are recognized."""
    found = given_rules(console)
    named = any(isinstance(each, SubjectRule | SanRule) for each in found.rules)
    if console.arguments.ca is not None and not named:
        raise WrongUse("--ca goes with --subject-serial or --san, and these need it: which CA certifies the partner?")
    return found


def _rules_of(given: GivenRules) -> dict[str, object]:
    """The rules as a field of an entry, if there are any beside the certificates themselves."""
    return {"certificates": given.rules} if given.rules else {}


def _tell(console: Console, known: "KnownPartner") -> None:
    from smartproxy.backend.partners import rule_text

    for warning in known.warnings:
        console.warn(warning)
    entry = known.partner
    certificates = [rule_text(each, known.notes) for each in entry.certificates]
    shown = declared.pairs(entry, certificates=certificates, outbound=_outbound_lines(entry.outbound))
    console.answer(_document(known), listing({"partner": shown.pop("name"), **shown}))


def _document(known: "KnownPartner") -> dict[str, object]:
    return declared.document(
        known.partner,
        certificates=[_rule(each, known.notes) for each in known.partner.certificates],
        outbound=_outbound_document(known.partner.outbound),
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
