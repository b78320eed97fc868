"""Pictures of every page, in both themes, on a narrow and a usual screen, with nothing in the store and full of data.

``make screenshots`` runs this module, which is no part of the tests: people look at what it makes.
"""

import re
import shutil
from pathlib import Path
from typing import ClassVar

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred

from smartproxy.backend.store import Store
from smartproxy.policy.permissions import AdminRole
from smartproxy.testing.site import SITE_NAME, Site
from tests.process.browsers import Eyes, Window
from tests.process.page_calls import PageCaller, examples, whole_pages
from tests.process.page_sites import LookingCase, known
from tests.process.sites import stop
from tests.process.test_page_everywhere import EverywhereCase

FOLDER = Path(__file__).resolve().parents[2] / "build" / "screenshots"
SIZES = ((390, 844), (1440, 900))
LOGIN, NOTHING = "/login", "/nothing-here"


def picture_of(path: str, eyes: Eyes, of: str) -> Path:
    """The file of a picture."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-") or "overview"
    return FOLDER / of / f"{words}-{eyes.theme}-{eyes.width}.png"


class PicturesCase(LookingCase):
    """Takes the pictures.

    :cvar of: what is in the store.
    """

    of: ClassVar[str] = ""

    async def take(self, paths: list[str]) -> None:
        """Take the pictures of some pages."""
        shutil.rmtree(FOLDER / self.of, ignore_errors=True)
        for theme in ("light", "dark"):
            for width, height in SIZES:
                eyes = Eyes(theme=theme, width=width, height=height)
                user, stranger = await self.reader(AdminRole.ADMINISTRATOR, eyes), await self.reader(None, eyes)
                for path in paths:
                    picture = picture_of(path, eyes, self.of)

                    def taken(window: Window, path: str = path, picture: Path = picture) -> None:
                        window.go(path).screenshot(path=picture, full_page=True, animations="disabled")
                        if path == NOTHING:
                            window.wrong.clear()

                    await (stranger if path == LOGIN else user).does(taken)


class Full(PicturesCase, EverywhereCase):
    """A site that is full of data."""

    of = "full"

    async def test_pictures(self) -> None:
        """All pages."""
        await self.take([*self.paths, LOGIN, NOTHING])


class Empty(PicturesCase):
    """A site that has just been made."""

    of = "empty"

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Make the site."""
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        """Have a backend whose store has nothing but an authority."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.site = Site(installed_reactor, folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(stop(self.site.programs)))
        ca = str(self.site.certificates / "backend.crt")
        await self.site.smartproxy("authority", "create", "--site", SITE_NAME, "--name", "127.0.0.1", "-o", ca)
        await self.site.start_backend()
        self.look_at(self.site.state, self.site.backend_port)

    def pages(self, store: Store) -> list[str]:
        """What pages there are."""
        ca, cookie = str(self.site.certificates / "backend.crt"), known(store, AdminRole.ADMINISTRATOR)
        caller = PageCaller(self.site.backend_port, ca, cookie, host="127.0.0.1")
        try:
            return list(whole_pages(caller, examples(store)))
        finally:
            caller.close()

    async def test_pictures(self) -> None:
        """All pages."""
        await self.take(await self.in_store(self.pages))
