"""Checks the news fragments: ``python tests/fragments.py``; the exit status tells.

A fragment is one file of ``newsfragments/``, ``NAME.TYPE.md`` with a type of ``pyproject.toml``; NAME is an issue's
number, or ``+`` and a word where there is none. It says in whole sentences what changes for those who use SmartProxy.
"""

import re
import sys
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "newsfragments"
LONGEST = 1000


def types(root: Path = ROOT) -> list[str]:
    """The kinds of news that there are."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return [each["directory"] for each in settings["tool"]["towncrier"]["type"]]


def faults(name: str, text: str, kinds: Collection[str]) -> Iterator[str]:
    """What is wrong with a fragment."""
    if not re.fullmatch(rf"(\d+|\+[a-z0-9-]+)\.({'|'.join(kinds)})(\.\d+)?\.md", name):
        yield f"the name is NUMBER.TYPE.md or +word.TYPE.md, with a type of {', '.join(kinds)}"
    if not text.strip():
        yield "it says nothing"
    elif not text.strip().endswith("."):
        yield "it does not end with a full stop"
    if len(text) > LONGEST:
        yield f"it has more than {LONGEST} characters"


def main() -> None:
    """Check all of them."""
    kinds = types()
    wrong = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path in sorted(FOLDER.iterdir())
        if path.name != ".gitignore"
        for fault in faults(path.name, path.read_text(encoding="utf-8"), kinds)
    ]
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
