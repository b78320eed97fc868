"""The page's texts: every one has a translation, with the same values in it; and readers get their language."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract
from twisted.trial.unittest import SynchronousTestCase

import smartproxy.backend.page
from smartproxy.backend.page import texts
from smartproxy.backend.page.form_fields import plain_kind
from smartproxy.backend.page.said import SAID
from smartproxy.policy.alerts import EventScript, Mail
from smartproxy.policy.certificates.causes import CERTIFICATE_CAUSES, OURS
from smartproxy.policy.explanations import EXPLANATIONS, OUR_CALL
from smartproxy.policy.partners import Outbound, Partner, TrustedCa
from smartproxy.policy.schema import Optional, declarations
from smartproxy.policy.sheet_words import WORDS, Language
from smartproxy.policy.values import Member, Whole

FORMS = (Partner, Outbound, TrustedCa)
"""The classes that forms are made of."""
SHOWN = (EventScript, Mail)
"""The classes whose values are shown with what they count."""
PAGE = Path(smartproxy.backend.page.__file__).parent
KEYWORDS = {"_": None, "text": None, "later": None, "ngettext": (1, 2), "counted": (1, 2)}
ONE_WORD = {
    "Überblick": "Übersicht",
    "Einlesen": "Importieren",
    "eingelesen": "importiert",
    r"[Tt]ippen Sie": "Geben Sie … ein",
    "Anforderung": "Antrag",
    "Authentisierung": "Authentifizierung",
    "Voreinstellung|Vorgabewert": "Vorgabe",
    "Maschine": "Rechner",
    "abgelehnt|Ablehnung": "abgewiesen, Abweisung",
    "Daemon": "Dienst",
    "Historie": "Verlauf",
    r"Partnerblatt|\bBlatt\b": "Datenblatt",
    "Kredit": "Credit",
    "OFTP-Version|Release-Level": "Protokollstufe",
    "Autorität|der Site": "Zertifizierungsstelle, des Standorts",
    r"\b([Dd]as|[Ee]in|[Kk]ein|[Dd]em|[Bb]eide) SSID\b": "die SSID, die SSIDs",
    r"[Rr]ückkehr|zurückkehr": "zurücksetzen",
    "braucht Sie": "Hier ist etwas zu tun.",
    r"\bruft die Station ohne TLS\b(?! an)|die API ruf(t|en)": "anrufen, aufrufen",
    "Zertifikat(?!s)[^.]* (gesperrt|Sperrung)": "widerrufen",
    r"/PATH\b": "/PFAD",
    "festgelegtes? Zertifikat|einzeln bekannt|fest hinterlegt": "hinterlegt",
    r"(Im|im|ins|Das|das|sein|den) Protokoll\b(?! verletzt)|Protokolldatei|[Pp]rotokollier": "Log",
    r"Protokollst[aä]nd|\bLevel\b|niedrigere Version": "Protokollstufe",
    r"\bWorker": "Arbeitsprozess",
    r"[Ss]ichere[nr]? Authentifizierung": "Secure Authentication",
    "Nachfrist": "Karenz",
    "Zertifikatsanforderung": "Zertifikatsantrag",
    "Extended Key Usage": "erweiterte Schlüsselverwendung",
    r"\bHosts?\b": "Rechner",
    r"\bGruß\b": "Begrüßung",
    "Probelauf": "Testlauf",
    r"(Dafür fehlt|hat) das Recht|eine Rolle oder Rechte": "Berechtigung",
    "fehlgeschlagen|misslang": "gescheitert",
    r"[Ee]ntsperren": "freigeben",
}
"""Words that the German catalogues do not use, as patterns, and what they say instead: one thing has one word."""
TERMS = {
    "pinned|pin": "hinterleg",
    "logs?(?! in| out)": r"\bLogs?\b|Log-",
    "(lowest|lower|release) levels?": "Protokollstufe",
    "protocol": "[Pp]rotokoll",
    "workers?": "Arbeitsprozess",
    "secure authentication": "Secure Authentication",
    "grace": "Karenz",
    "revocation lists?": "[Ll]iste",
    "audit trail(?! does not go back)": "Prüfprotokoll",
    "certificate request": "Zertifikatsantrag",
    "extended key usage": "[Ee]rweiterten? Schlüsselverwendung",
    "(un)?licen[cs]es?": "[Ll]izenz",
    "identity key": "Identitätsschlüssel",
    "hosts?": "Rechner|RECHNER|HOST|Name",
    "machine": "Rechner",
    "memory": "Arbeitsspeicher",
    "store": "[Ss]peicher",
    "daemons?": "[Dd]ienst",
    "tunnels?": "Tunnel",
    "sessions?": "Sitzung",
    "generations?": "Generation",
    "drain( time)?": "[Aa]usl[aä]uf",
    "ban(s|ned)?": "Sperre|[Gg]esperrt",
    "penalt(y|ies)": "Strafe",
    "change-over": "Wechsel",
    "successor": "Nachfolger",
    "peer": "Gegenstelle",
    "greeting": "Begrüßung",
    "greet(s|ed)?": "grüß",
    "handshakes?": "Handshake",
    "balancers?": "Lastverteiler",
    "end response": "Quittung",
    "trust lists?": "Vertrauensliste",
    "downloads?|downloaded": "[Hh]erunter|Download",
    "test run": "Testlauf",
    "scopes?": "Berechtigung",
    "operations?": "Vorg[aä]ng",
    "bugs?": "Programmfehler",
}
"""Terms of the English texts, as patterns, and the one German word for each."""
COMMANDS = re.compile(
    r"'smartproxy [^']*'|smartproxy [a-z-]+ .*|%\([a-z_]+\)s|`[^`]*`|\b[a-z]+(\.[a-z_]+)+|\bdrain and closing\b"
)
"""What is the same in all languages: commands, values, names of settings and events."""
VALUE = re.compile(r"%\([a-z_]+\)s")


def wanted(folder: Path = PAGE) -> Iterator[tuple[str, str]]:
    """The texts of modules and templates, each with where it stands."""
    for file in sorted([*folder.glob("*.py"), *folder.glob("templates/*.html")]):
        with file.open("rb") as octets:
            if file.suffix == ".py":
                found: list[tuple[int, object]] = [
                    (line, text) for line, text, *_ in extract("python", octets, KEYWORDS)
                ]
            else:
                keys = list(KEYWORDS)
                found = [(line, text) for line, _, text, _ in babel_extract(octets, keys, (), {"trimmed": "true"})]
        for line, text in found:
            for each in text if isinstance(text, tuple) else (text,):
                if isinstance(each, str) and each:
                    yield f"{file.name}:{line}", each


def words_of(cls: type[Any]) -> list[str]:
    """The texts of a class's fields that people read: labels, helps, units, and what nothing is called."""
    found = []
    for each in declarations(cls):
        if each.people.help:
            kind = plain_kind(each.kind)
            found += [each.title, each.people.help]
            found += [each.people.unset] if isinstance(each.kind, Optional) else []
            found += [kind.limit.counted] if isinstance(kind, Whole) and kind.limit.counted else []
            words = [kind.word(one) for one in kind.members] if isinstance(kind, Member) else []
            found += [word for word in words if word.isalpha()]
    return found


def declared() -> Iterator[tuple[str, str]]:
    """The texts of the declarations that forms are made of, and what partners are told."""
    for cls in FORMS:
        for text in words_of(cls):
            yield cls.__name__, text
    for shown in SHOWN:
        units = [each.kind.limit.counted for each in declarations(shown) if isinstance(each.kind, Whole)]
        yield from ((shown.__name__, unit) for unit in units if unit)
    for key, each in EXPLANATIONS.items():
        yield from ((key, each.happened), (key, each.remedy))
    for cause, row in CERTIFICATE_CAUSES.items():
        yield from ((cause, text) for text in (row.title, *row.steps, row.called.title, *row.called.steps) if text)
    yield from (("ours", OURS), ("our call", OUR_CALL))


def untranslated(language: str) -> list[str]:
    """The texts that a catalogue lacks, or has with other values in them."""
    with (texts.LOCALE / f"{language}.po").open("rb") as octets:
        catalogue = read_po(octets, locale=language)
    known: dict[str, list[str]] = {}
    for message in catalogue:
        ids = message.id if isinstance(message.id, list | tuple) else (message.id,)
        strings = message.string if isinstance(message.string, list | tuple) else (message.string,)
        if message.id and all(strings) and not message.fuzzy:
            for each in ids:
                known[each] = [string for string in strings if string]
    wrong = []
    for where, text in (*wanted(), *declared()):
        values = sorted(VALUE.findall(text))
        if text not in known:
            wrong.append(f"{where}: {text!r} has no translation")
        elif any(sorted(VALUE.findall(each)) != values for each in known[text]):
            wrong.append(f"{where}: {text!r} is translated with other values in it")
    return wrong


def translated() -> Iterator[tuple[str, str]]:
    """The texts of the page and of what daemons say, each with its German."""
    for path in (texts.LOCALE / "de.po", SAID / "de.po"):
        with path.open("rb") as octets:
            for message in read_po(octets, locale="de"):
                ids = message.id if isinstance(message.id, list | tuple) else (message.id,)
                strings = message.string if isinstance(message.string, list | tuple) else (message.string,)
                for text, german in zip(ids, strings, strict=True):
                    if text and german:
                        yield text, german


class Texts(SynchronousTestCase):
    """The catalogues."""

    def test_complete(self) -> None:
        """Every text is translated into every language."""
        for language in texts.catalogues():
            if language != texts.SOURCE:
                self.assertEqual([], untranslated(language), language)

    def test_one_word(self) -> None:
        """In German, one thing has one word in all texts, of the page and of what daemons say."""
        everything = [german for _, german in translated()] + list(attrs.astuple(WORDS[Language.DE]))
        found = [
            f"{each} ({better})"
            for pattern, better in ONE_WORD.items()
            for each in everything
            if re.search(pattern, each)
        ]
        self.assertEqual([], found)

    def test_terms(self) -> None:
        """A technical term of the English texts is one and the same German word wherever it stands."""
        wrong = []
        for text, german in translated():
            said = COMMANDS.sub("", text)
            wrong += [
                f"{german} (no {word} for {term!r} in {text!r})"
                for term, word in TERMS.items()
                if re.search(rf"(?<![.\w-])({term})\b", said, re.IGNORECASE) and not re.search(word, german)
            ]
        self.assertEqual([], wrong)

    def test_others(self) -> None:
        """One more is one more, and not several."""
        german, text = texts.catalogues()["de"], "%(name)s and %(count)s more"
        told = [german.ngettext(text, text, count) % {"name": "inside", "count": count} for count in (1, 2)]
        self.assertEqual(told, ["inside und 1 weiterer", "inside und 2 weitere"])

    def test_once(self) -> None:
        """A text is translated in one place: the second of two would be lost silently."""
        for path in sorted((PAGE / "locale").rglob("*.po")):
            ids = [block.partition("msgstr")[0] for block in path.read_text(encoding="utf-8").split("\n\n")]
            ids = [each[each.index("msg") :] for each in ids if "msg" in each]
            self.assertEqual([each for each, count in Counter(ids).items() if count > 1], [], path.name)

    def test_found(self) -> None:
        """Texts of templates, of modules and of declarations are among those that are looked for."""
        found = {text for _, text in wanted()}
        self.assertLessEqual({"Log in", "You are logged out.", "Who and what"}, found)

    def test_language(self) -> None:
        """The reader's choice comes first, then the browser's languages in their order, then English."""
        known = texts.catalogues()
        for chosen, accepted, language in (
            ("de", "en", "de"),
            ("xx", "de", "de"),
            ("", "de-AT,en;q=0.5", "de"),
            ("", "fr,de;q=0.5,en;q=0.9", "en"),
            ("", "de;q=0,en", "en"),
            ("", "de;q=x,../de,*", "en"),
            ("", "", "en"),
        ):
            self.assertEqual(texts.language_of(chosen, accepted, known), language, (chosen, accepted))
