"""A Sphinx extension: the help texts of the programs, asked from the programs.

``.. help-of:: smartproxy`` shows the command with every subject and action, ``.. help-of:: smartproxy.testing`` the
test kit's, ``.. help-of:: smartproxy-server`` a daemon's switches, and so for the other daemons.
"""

import argparse
import importlib
import os
from collections.abc import Callable, Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import smartproxy.tap.command
import smartproxy.testing.__main__

WIDTH = "100"
PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "smartproxy": smartproxy.tap.command.parser,
    "smartproxy.testing": smartproxy.testing.__main__.parser,
}


def command_help(command: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """The help texts of a command and of all its subcommands, with what each is called."""
    yield command.prog, command.format_help()
    for action in command._actions:  # argparse has no public way to its subcommands
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from command_help(child)


def daemon_help(name: str) -> str:
    """A daemon's switches."""
    options = importlib.import_module(f"smartproxy.tap.{name.removeprefix('smartproxy-').replace('-', '_')}").Options()
    return str(options.getUsage(int(WIDTH)))


class HelpOf(SphinxDirective):
    """``.. help-of:: PROGRAM``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Show the help texts."""
        os.environ["COLUMNS"] = WIDTH  # what argparse takes for the width of the terminal
        name = self.arguments[0]
        if name not in PARSERS:
            return [nodes.literal_block(text=daemon_help(name), language="none")]
        shown: list[nodes.Node] = []
        for title, words in command_help(PARSERS[name]()):
            section = nodes.section(ids=[nodes.make_id(title)], names=[nodes.fully_normalize_name(title)])
            section += [nodes.title(text=title), nodes.literal_block(text=words, language="none")]
            shown.append(section)
        return shown


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx about the directive."""
    app.add_directive("help-of", HelpOf)
    return {"parallel_read_safe": True}
