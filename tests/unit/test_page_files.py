"""The page's own files, and what others wrote of them: exactly what was released."""

from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend.page.static_files import FOLDER, StaticFiles

VENDORED = {
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-sse.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
    "htmx.LICENSE.txt": "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
}
"""The files of the npm package htmx.org 4.0.1 (dist, dist/ext), by their SHA-256."""
FIRST_PAGE_MOST = 100_000


class Files(SynchronousTestCase):
    """What stands in ``static``."""

    def test_vendored(self) -> None:
        """What others wrote is as they released it, with its licence."""
        for name, digest in VENDORED.items():
            self.assertEqual(sha256((FOLDER / name).read_bytes()).hexdigest(), digest, name)

    def test_addresses(self) -> None:
        """Another content has another address; an address that was never given leads nowhere."""
        first, second = self.mktemp(), self.mktemp()
        places = []
        for folder, content in ((first, b"a"), (second, b"b")):
            path = FOLDER.__class__(folder)
            path.mkdir()
            (path / "x.css").write_bytes(content)
            files = StaticFiles(path)
            places.append(files.place("x.css"))
            found = files.find(places[-1])
            self.assertEqual((found and found.octets, found and found.media), (content, "text/css; charset=utf-8"))
            self.assertIsNone(files.find("/static/x.css"))
            self.assertIsNone(files.find("/static/../x.css"))
        self.assertNotEqual(*places)

    def test_small(self) -> None:
        """What the first page loads is no more than a slow line carries in a second."""
        files = StaticFiles()
        wanted = ("look.css", "htmx.min.js", "page.js", "mark.svg")
        found = [files.find(files.place(name)) for name in wanted]
        self.assertLess(sum(len(each.octets) for each in found if each), FIRST_PAGE_MOST)
