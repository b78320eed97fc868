"""A Sphinx extension: what scrolls sideways can be reached with the keyboard, and readers' programs know the headings.

Blocks of code and wide tables scroll within themselves; a browser scrolls only what can have the focus. Sphinx writes
the captions of the list of pages as headings without a level, which ARIA demands.
"""

from typing import Any

from sphinx.application import Sphinx

_HEADING = ('role="heading"', 'role="heading" aria-level="2"')
CHANGES = {
    "body": (
        _HEADING,
        ("<pre>", '<pre tabindex="0">'),
        ('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    ),
    "furo_navigation_tree": (_HEADING,),
}
"""What is written instead, in each part of a page."""


def change(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """Change the parts of a page that are there."""
    for part, changes in CHANGES.items():
        for old, new in changes:
            if part in context:
                context[part] = context[part].replace(old, new)


def setup(app: Sphinx) -> dict[str, bool]:
    """Have pages changed after the theme has made them."""
    app.connect("html-page-context", change, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
