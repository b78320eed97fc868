"""The page behind a reverse proxy: its headers count from known addresses only, wherever an address counts."""

from smartproxy.backend import settings, users
from smartproxy.backend.page_reach import PageReach
from smartproxy.backend.rounds import STORE_LOOK_SECONDS
from smartproxy.policy import limits
from smartproxy.policy.page_access import PageAccess, ProxyHeader
from tests.adapters.api_site import AtOnce
from tests.adapters.page_site import PASSWORD, PageCase
from tests.unit.sites import NOW

PEER = "127.0.0.1"
"""Where the requests of these tests are from."""
BROWSER = "192.0.2.7"


class Proxies(PageCase):
    """What the headers of a proxy do, and those of anybody else do not."""

    def known(self, header: ProxyHeader = ProxyHeader.X_FORWARDED) -> None:
        """Let requests come from a known proxy."""
        self.access = PageAccess(proxies=(f"{PEER}/32",), proxy_header=header)

    def peers(self, name: str) -> list[object]:
        """The addresses that events of a name tell."""
        return [each.get("peer") for each in self.told_of(name)]

    def test_true_address(self) -> None:
        """Logins, refused logins, refused changes and the list of logins have the browser's address."""
        self.known()
        browser = self.browser("vera", X_Forwarded_For=f"127.0.0.1, {BROWSER}", X_Forwarded_Proto="https")
        with self.store.reading() as session:
            self.assertEqual([each.address for each in users.logins(session, NOW)], [BROWSER])
        browser.post("/settings/backend.keep_events_days", {"value": "3", "csrf": "forged"})
        self.browser(X_Forwarded_For=BROWSER).log_in("vera", "wrong")
        for name in ("page.login", "page.login_refused", "page.refused"):
            self.assertEqual(self.peers(name), [BROWSER], name)

    def test_forged(self) -> None:
        """From an address that is none of a proxy every such header is ignored."""
        for networks in ((), ("192.0.2.0/24",)):
            self.access = PageAccess(proxies=networks)
            self.browser("vera", X_Forwarded_For=BROWSER, X_Forwarded_Proto="http", Forwarded=f"for={BROWSER}")
        self.known(ProxyHeader.FORWARDED)
        self.browser("vera", X_Forwarded_For=BROWSER, X_Forwarded_Proto="http")
        self.assertEqual(self.peers("page.login"), [PEER] * 3)

    def test_forwarded(self) -> None:
        """Forwarded counts where it is configured."""
        self.known(ProxyHeader.FORWARDED)
        self.browser("vera", Forwarded=f'for="{BROWSER}:4711";proto=https;host=backend.example')
        self.assertEqual(self.peers("page.login"), [BROWSER])

    def test_slowed_down_apart(self) -> None:
        """Who guesses behind the proxy slows itself down, and nobody else behind it."""
        self.known()
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        for number in range(limits.GUESSES_FREE + 1):
            guesser = self.browser(X_Forwarded_For=BROWSER)
            guesser.get("/login")
            body = f"csrf={guesser.token}&name=nobody{number}&password=x".encode()
            waiting = guesser.start("POST", "/login", body, **form)
            self.agent.flush()
        self.assertNoResult(waiting)
        self.assertEqual(self.browser(X_Forwarded_For="192.0.2.8").log_in("vera").status, 303)
        self.clock.advance(limits.GUESS_SECONDS_MOST)
        self.agent.flush()
        self.assertEqual(self.successResultOf(waiting).status, 403)

    def test_host(self) -> None:
        """A form is ours if it comes from the host that the browser called; the proxy says which one that is."""
        outside = {"Origin": "https://page.example", "X_Forwarded_Host": "page.example"}
        for networks, status in (((f"{PEER}/32",), 303), ((), 403)):
            self.access = PageAccess(proxies=networks)
            browser = self.browser()
            browser.get("/login")
            self.assertEqual(
                browser.post("/login", {"name": "vera", "password": PASSWORD}, **outside).status, status, networks
            )

    def test_plain(self) -> None:
        """A browser that spoke http with the proxy is told to use https; its cookies stay for https alone."""
        self.known()
        browser = self.browser(X_Forwarded_Proto="http", X_Forwarded_For=BROWSER)
        answer = browser.get("/login")
        self.assertEqual(answer.status, 403)
        self.assertIn("https", answer.body.decode())
        self.assertEqual([each["cause"] for each in self.told_of("page.refused")], ["page.plain"])
        secure = self.browser(X_Forwarded_Proto="https").get("/login").headers["set-cookie"]
        self.assertTrue(secure.startswith("__Host-smartproxy=") and "secure" in secure.lower(), secure)

    def test_settings(self) -> None:
        """The settings are in force a second after they are saved."""
        reach = PageReach(self.store, AtOnce(), self.events, self.clock)
        reach.start()
        self.addCleanup(reach.stop)
        self.assertFalse(reach.proxies.has(PEER))
        with self.change() as change:
            settings.put(change, "backend.page.proxies", [f"{PEER}/32"])
        self.clock.advance(STORE_LOOK_SECONDS)
        self.assertTrue(reach.proxies.has(PEER))
