"""The pictures of the page that stand in the documents, in both themes: ``make page-pictures`` writes them.

A customer's site is shown, each page from its top as far as a window reaches. This module is no part of the tests.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import select

from smartproxy.backend.schema import EventRow
from smartproxy.backend.session_tables import SessionFileRow
from smartproxy.backend.store import Store
from smartproxy.policy.permissions import AdminRole
from tests.process.browsers import Eyes, Window
from tests.process.screenshots import Customer

PICTURES: Final = Path(__file__).resolve().parents[2] / "docs" / "static" / "page"
WIDTH: Final = 1280
HEIGHTS: Final = {"overview": 1120, "session": 730, "refusal": 640, "partner": 700, "generation": 420, "nodes": 660}
"""How much of each page is shown, in pixels."""


class Documents(Customer):
    """The pictures of the documents."""

    of = "documents"

    def places(self, store: Store) -> dict[str, str]:
        """Where each picture is taken: a session with a drawing in it, and the newest refusal."""
        drawing = select(SessionFileRow.session).where(SessionFileRow.dataset.startswith("ENG"))
        refused = select(EventRow.id).where(EventRow.name == "certificate.refused")
        with store.reading() as session:
            shown = session.scalars(drawing.order_by(SessionFileRow.id.desc())).first()
            number = session.scalars(refused.order_by(EventRow.id.desc())).first()
        return {
            "overview": "/",
            "session": f"/sessions/{shown}",
            "refusal": f"/refusals/{number}",
            "partner": "/partners/Brandner%20Pressteile",
            "generation": "/history/32",
            "nodes": "/nodes",
        }

    async def test_pictures(self) -> None:
        """Six pages, in the light and in the dark."""
        PICTURES.mkdir(exist_ok=True)
        places = await self.in_store(self.places)
        for theme in ("light", "dark"):
            await self.refresh()
            reader = await self.reader(AdminRole.ADMINISTRATOR, Eyes(theme=theme, width=WIDTH, height=900))
            for name, path in places.items():
                picture, height = PICTURES / f"{name}-{theme}.png", HEIGHTS[name]

                def taken(window: Window, path: str = path, picture: Path = picture, height: int = height) -> None:
                    window.page.set_viewport_size({"width": WIDTH, "height": height})
                    window.go(path).screenshot(path=picture, animations="disabled")

                await reader.does(taken)
