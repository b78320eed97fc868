"""Differences of the configuration for people and for scripts: one line for each value that differs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from smartproxy.backend.setting_values import value_text
from smartproxy.logs.render import escape
from smartproxy.tap.commands import declared
from smartproxy.tap.commands.console import Console

if TYPE_CHECKING:
    from smartproxy.backend.operations.shapes import Foreseen
    from smartproxy.backend.states import Difference

_LINE_MOST = 500
_WORDS = {"list": "revocation list", "withdrawn": "withdrawn client"}
_SECRETS = {
    "site": "other private keys",
    "identity": "another private key",
    "client": "another token",
    "licence": "signed anew",
}


def difference_lines(differences: Iterable["Difference"]) -> list[str]:
    """What differs, for people; safe on any terminal."""
    return [escape(line, _LINE_MOST) for each in differences for line in _lines(each)]


def tell_foreseen(console: Console, foreseen: "Foreseen", beside: str | None = None) -> None:
    """Tell what a change would do that was only tried.

    :param beside: what it would do that is no entry of the configuration, if there may be such a thing.
    """
    differences = [each.difference() for each in foreseen.differences]
    refused = [{"partner": each.partner, "why": each.why} for each in foreseen.refusals]
    document: dict[str, object] = {
        "dry_run": True,
        "differences": [each.told() for each in differences],
        "refused": refused,
        "warnings": list(foreseen.warnings),
    }
    for each in foreseen.warnings:
        console.warn(each)
    lines = difference_lines(differences)
    if beside is not None and not differences:
        document["beside"] = beside
        lines = [f"no entry of the configuration would change; the command would do this: {escape(beside, _LINE_MOST)}"]
    lines = lines or ["nothing would change"]
    named = [("everybody" if each.partner == "*" else each.partner, each.why) for each in foreseen.refusals]
    whom = [f"would refuse {partner}: {why}" for partner, why in named]
    console.answer(
        document, "\n".join([*lines, *(escape(each, _LINE_MOST) for each in whom), "nothing is changed yet"])
    )


def entry_title(difference: "Difference") -> str:
    """Which entry it is, for people: ``partner ACME``."""
    place = difference.place
    if place.subject == "setting":
        return place.name
    return f"{_WORDS.get(place.subject, place.subject)} {place.name}".rstrip()


def _lines(difference: "Difference") -> Iterator[str]:
    title, subject = entry_title(difference), difference.place.subject
    if subject == "setting":
        yield f"{title}: {_setting(title, difference.before)} -> {_setting(title, difference.after)}"
        return
    before, after = _values(difference, difference.before), _values(difference, difference.after)
    if before is None or after is None:
        values = [f"{name} {_value(value)}" for name, value in (before or after or {}).items() if value not in ("", [])]
        yield f"{title}: {'added' if before is None else 'removed'}{': ' if values else ''}{'; '.join(values)}"
        return
    for name in before | after:
        yield from (f"{title}: {line}" for line in _changed(name, before.get(name, "none"), after.get(name, "none")))
    if difference.secret:
        yield f"{title}: {_SECRETS.get(subject, 'a secret, which is not shown')}"


def _changed(name: str, before: object, after: object) -> Iterator[str]:
    if isinstance(before, list) and isinstance(after, list):
        yield from (f"{name}: removed {each}" for each in before if each not in after)
        yield from (f"{name}: added {each}" for each in after if each not in before)
    elif before != after:
        yield f"{name} {_value(before)} -> {_value(after)}"


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _setting(name: str, content: Any) -> str:
    from smartproxy.backend import settings
    from smartproxy.backend.errors import NotFound

    if content is not None:
        return value_text(content["value"])
    try:
        return f"{value_text(settings.default_of(name))} (the default)"
    except NotFound:
        return "not set"


def _values(difference: "Difference", content: Any) -> dict[str, Any] | None:
    """The values of an entry by what people call them."""
    from smartproxy.backend import consequences, partners
    from smartproxy.backend.certificates import certificate_pin, read_certificates, subject_text
    from smartproxy.policy.partners import TrustedCa
    from smartproxy.policy.schema import read_object

    if content is None:
        return None
    match difference.place.subject.value:
        case "partner":
            entry, notes = consequences.entry_of(content)
            called = ["never"] if entry.outbound is None else declared.changed_lines(entry.outbound)
            rules = [partners.rule_text(each, notes) for each in entry.certificates]
            return _without_name(declared.pairs(entry, certificates=rules, outbound=called))
        case "ca":
            ca = read_object(TrustedCa, content)
            held = read_certificates(ca.certificates.encode("ascii"), ca.name)
            texts = [f"{subject_text(each)} (SHA-256 {certificate_pin(each)})" for each in held]
            return _without_name({**declared.pairs(ca), "certificates": texts})
        case _:
            return dict(_flat(content, ""))


def _without_name(pairs: dict[str, object]) -> dict[str, object]:
    pairs.pop("name")
    return pairs


def _flat(content: Mapping[str, Any], before: str) -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        title = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{title} ")
        elif key != "name" or before or value:
            yield title, value_text(value)
