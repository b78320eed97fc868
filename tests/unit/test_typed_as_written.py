"""Commands of the documents, typed as they stand there, in their order, in one folder."""

import os
import re
import shlex
from pathlib import Path

from tests.unit.commands import CommandCase
from tests.unit.sites import PROXY_ID

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plain.rst"


class PlainPair(CommandCase):
    """Those of ``docs/plain.rst``, up to a client that is shut out and let in again."""

    founded = False

    def test_commands(self) -> None:
        """Each works after those before it, and leaves the files that it names."""
        typed = re.findall(r"^   inside\$ smartproxy (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
        self.assertEqual(len(typed), 6)
        self.addCleanup(os.chdir, Path.cwd())
        self.state = self.state.absolute()
        os.chdir(self.folder)
        left: dict[str, list[bytes]] = {}
        for words in map(shlex.split, typed):
            self.do(*(PROXY_ID if each == "PROXY-ID" else each for each in words))
            if "-o" in words:
                name = words[words.index("-o") + 1]
                left.setdefault(name, []).append(Path(name).read_bytes())
        self.assertEqual([(name, len(set(each))) for name, each in left.items()], [(each, 2) for each in left])
