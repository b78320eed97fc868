"""The page's own files: style, scripts and pictures, each at an address that names its content.

Read once, when the page is made; compressed then, too. An address never has another content, so browsers keep it for a
year. Nothing comes from another host.
"""

import gzip
from hashlib import sha256
from pathlib import Path

import attrs

FOLDER = Path(__file__).parent / "static"
ROOT = "/static/"
_DIGITS = 12
_MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@attrs.frozen
class StaticFile:
    """A file.

    :ivar place: its address, with a part made of its content.
    """

    place: str
    media: str
    octets: bytes
    zipped: bytes


class StaticFiles:
    """All files of a folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._by_name: dict[str, StaticFile] = {}
        for file in sorted(folder.iterdir()):
            octets = file.read_bytes()
            place = f"{ROOT}{sha256(octets).hexdigest()[:_DIGITS]}/{file.name}"
            media = _MEDIA[file.suffix]
            self._by_name[file.name] = StaticFile(place, media, octets, gzip.compress(octets, mtime=0))
        self._by_place = {each.place: each for each in self._by_name.values()}

    def place(self, name: str) -> str:
        """Where a file is served."""
        return self._by_name[name].place

    def find(self, place: str) -> StaticFile | None:
        """The file of an address."""
        return self._by_place.get(place)
