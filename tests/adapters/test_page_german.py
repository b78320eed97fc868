"""The page in German beside the page in English, on a customer's site: what is the same in both is a name."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

from smartproxy.backend import history, users
from smartproxy.backend.operations.shapes import EntryDifference
from smartproxy.backend.page.differences import rows_of
from smartproxy.backend.page.pages import ROUTES
from smartproxy.backend.page.texts import catalogues
from smartproxy.backend.states import EntryKind
from smartproxy.logs.catalogue import EVENTS
from smartproxy.policy.alerts import IgnoreRule
from smartproxy.policy.permissions import AdminRole
from smartproxy.policy.schema import declarations
from smartproxy.policy.settings import ClientEntry
from tests.adapters.page_site import PASSWORD, PageCase
from tests.customer import CLIENTS, PROXY_ID, SERVER, SITE, CustomerSite
from tests.customer_sessions import CA_NAME, COMPANIES
from tests.process.page_calls import examples, path_of
from tests.unit.sites import NOW

PRODUCT: Final = {"SmartProxy", "Proxy", "Backends", "Client", "Clients", "Daemon", "Station", "Generation"}
"""The product, and its parts as German operators call them."""
STANDARD: Final = {
    *("TLS", "TCP", "IP", "https", "SHA", "CA", "CAs", "CSV", "JSON", "SQLite", "PostgreSQL", "rsa", "ec"),
    *("CD", "DATA", "EERP", "EFID", "EFPA", "ESID", "RTR", "SFID", "SFPA", "SSID", "SSRM", "Credit"),
}
"""What standards name, RFC 5024 among them."""
ALIKE: Final = {"Partner", "Rate", "Mail", "Text", "Version", "Code", "Codes", "Name", "Port", "Browser", "Token"}
"""German words that are written as the English ones."""
ALIKE_IN_DIFFERENCES: Final = {
    "https",
    "text",
    "name",
    "partner",
    "client",
    "site",
    "port",
    "code",
    "codes",
    "token sha256",
}
"""The same of what values are called; and a digest of a token, which no difference shows."""
LANGUAGES: Final = {"English", "Deutsch", "DE"}
"""Languages are called what their speakers call them."""
TYPED: Final = {"server_auth"}
"""What is typed, also in the command."""
NAMES: Final = PRODUCT | STANDARD | ALIKE | LANGUAGES | TYPED
DATA: Final = sorted(
    {
        *(text for each in COMPANIES for text in (each.name, each.code, each.host)),
        *(
            CA_NAME,
            PROXY_ID,
            f"{PROXY_ID[:16]}…",
            SITE,
            "Muster GmbH",
            SERVER.partition(":")[0],
            "main",
            "own scanner",
            *CLIENTS,
            *EVENTS,
        ),
        *("alice", "k.lang", "m.berger", "s.nowak", "revision", "test", "erp-export", "monitoring"),
    },
    key=len,
    reverse=True,
)
"""What the site's own people named, and events."""
SPOKEN: Final = frozenset({"alt", "aria-label", "placeholder", "title"})
UNSPOKEN: Final = frozenset({"bdi", "code", "kbd", "pre", "script", "style", "time"})
"""Elements with names and texts of peers in them; a sentence that no catalogue knows is marked as English, too."""
VOID: Final = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "wbr"})
_FIGURE: Final = re.compile(r"\d+ ?(B|kB|MB|GB|TB|ms|min|h|s)(/s)?\b|[0-9a-f]{16,}|[a-z_]+(\.[a-z_]+)+|[a-z]+:[a-z*]+")
"""Figures with units, hashes, settings, and scopes."""
_SUBJECT: Final = re.compile(r"CN=\S+")
_WORD: Final = re.compile(r"[A-Za-zÄÖÜäöüß_]{2,}")


class Read(HTMLParser):
    """What is read on a page.

    :ivar texts: all texts but names and what peers wrote.
    :ivar foreign: texts that are marked as English.
    """

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.texts: set[str] = set()
        self.foreign: set[str] = set()
        self._within: list[tuple[str, str]] = []
        self.feed(page.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Read what an element's attributes say, and what its texts are."""
        given = dict(attrs)
        for name in SPOKEN & given.keys():
            self._read(given[name] or "")
        if tag in VOID:
            return
        classes = (given.get("class") or "").split()
        foreign = tag == "bdi" and given.get("lang") == "en"
        silent = tag in UNSPOKEN or {"mono", "quote"} & set(classes) or (given.get("lang") and tag != "html")
        self._within.append((tag, "foreign" if foreign else "silent" if silent else ""))

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        while self._within and self._within.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Read a text."""
        looks = {look for _, look in self._within}
        if "foreign" in looks:
            self.foreign.add(" ".join(data.split()))
        elif "silent" not in looks:
            self._read(data)

    def _read(self, text: str) -> None:
        self.texts.add(" ".join(text.split()))


def words_of(text: str) -> set[str]:
    """The words of a text that are no names and no data."""
    text = _SUBJECT.sub(" ", text)
    for each in DATA:
        text = text.replace(each, " ")
    return set(_WORD.findall(_FIGURE.sub(" ", text))) - NAMES


class German(PageCase):
    """Every page in both languages."""

    founded = False

    def in_both(self) -> Iterator[tuple[str, Read, Read]]:
        """Each page in English and in German."""
        english, german = (self.browser("alice", Accept_Language=each) for each in ("en", "de"))
        parts = examples(self.store)
        for route in ROUTES:
            if route.method == "GET" and "stream" not in route.path:
                path = path_of(route, parts)
                answer = german.get(path)
                if answer.headers.get("content-type", "").startswith("text/html"):
                    yield path, Read(english.get(path).body), Read(answer.body)

    def test_names(self) -> None:
        """What is the same in both languages is a name; no sentence of a daemon or an operation stays English."""
        CustomerSite(self.store, NOW, days=2).build()
        with self.change() as change:
            users.add(change, "alice", AdminRole.ADMINISTRATOR, PASSWORD)
        found = []
        for path, english, german in self.in_both():
            self.assertTrue(german.texts or german.foreign or not english.texts, path)
            found += [(path, each) for each in sorted(german.foreign)]
            found += [(path, each) for each in sorted(english.texts & german.texts) if words_of(each)]
        self.assertEqual([], found)

    def test_differences(self) -> None:
        """Whatever differs between two generations is called by a German name, whether a form asks for it or not."""
        CustomerSite(self.store, NOW, days=2).build()
        german, unknown = catalogues()["de"], set()

        def translate(text: str) -> str:
            found = german.gettext(text)
            if found == text and text not in ALIKE_IN_DIFFERENCES:
                unknown.add(text)
            return found

        kept: list[EntryDifference] = []
        with self.store.reading() as session:
            for generation in history.listed(session, 1000):
                kept += (EntryDifference.of(each) for each in history.differences_of(session, generation.number))
        for kind, cls in ((EntryKind.CLIENT, ClientEntry), (EntryKind.IGNORE, IgnoreRule)):
            entry = {each.key: "-" for each in declarations(cls)}
            kept.append(EntryDifference(subject=kind, name="x", before=None, after=entry, secret=False))
        self.assertLess(30, len(rows_of(kept, translate=translate)))
        self.assertEqual(set(), unknown)
