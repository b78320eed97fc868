"""A Sphinx extension: how a session at a terminal is coloured.

``console`` is the language of every block that names no other. A line that begins with a prompt (``$``, ``#``,
``inside$``, ``dmz$``, ``acme$``) is a command, and every other line is output. Pygments' own lexer of that name does
not know prompts that are a name.
"""

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Generic, Text, Whitespace
from sphinx.application import Sphinx


class Console(RegexLexer):
    """Prompts, commands and output."""

    name = "console"
    aliases: ClassVar = ["console"]
    tokens: ClassVar = {
        "root": [
            (r"^((?:inside|dmz|acme)?[$#])([ \t]+)", bygroups(Generic.Prompt, Whitespace), "command"),
            (r"[^\n]*\n", Generic.Output),
        ],
        "command": [
            (r"[^\\\n]+", Generic.Strong),
            (r"\\\n", Generic.Strong),
            (r"\\", Generic.Strong),
            (r"\n", Text, "#pop"),
        ],
    }


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx about the lexer."""
    app.add_lexer("console", Console)
    return {"parallel_read_safe": True}
