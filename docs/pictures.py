"""A Sphinx extension: pictures that follow the page's colours, light or dark.

An ``.. image::`` of an SVG file stays what it is where the repository is read; in HTML the file's text takes its place,
so that the colours are those of the page (``--picture-...`` in conf.py) and not of the reader's system.
"""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx


def framed(svg: str) -> list[nodes.Node]:
    """An SVG as a part of the page, in a frame that scrolls on narrow screens."""
    return [nodes.raw("", f'<div class="picture" tabindex="0">{svg}</div>', format="html")]


def _inline(app: Sphinx, doctree: nodes.document) -> None:
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].endswith(".svg"):
            image.replace_self(framed(Path(app.srcdir, image["uri"]).read_text(encoding="utf-8")))


def setup(app: Sphinx) -> dict[str, bool]:
    """Put the files in when a page was read, before Sphinx collects images."""
    app.connect("doctree-read", _inline, priority=100)
    return {"parallel_read_safe": True}
