"""``python -m tests.mutants [FOLDER]``: make each mutation of the table in a copy, and see a test fail.

Duty: copy ``smartproxy``, ``twisted`` and ``tests`` of the checkout FOLDER into a scratch folder; first run the tests
of all rows there unchanged, then apply one row after the other. Ends with status 1 and the survivors' names when a
mutation is not caught, when its text does not stand in its file exactly once, or when a test fails without it.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

RUN_SECONDS_MOST = 600
"""How long the tests of one mutation may take; a mutation that makes them hang is caught, too."""


@attrs.frozen
class Mutation:
    """One row of the table.

    :ivar threat: the row of the list of threats that the broken text protects from.
    :ivar file: the file, below the checkout.
    :ivar text: what stands there exactly once.
    :ivar replacement: what is put in its place.
    :ivar catchers: the test modules of which at least one has to fail.
    """

    threat: str
    file: str
    text: str
    replacement: str
    catchers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.threat} {self.file}: {self.text.strip()!r} -> {self.replacement.strip()!r}"


def table() -> list[Mutation]:
    r"""The rows of ``table.tsv``; a line feed is written there as ``\n``."""
    rows = []
    for row in Path(__file__).with_name("table.tsv").read_text("utf-8").splitlines():
        threat, file, text, replacement, catchers = (cell.replace("\\n", "\n") for cell in row.split("\t"))
        rows.append(Mutation(threat, file, text, replacement, tuple(catchers.split())))
    return rows


def passes(folder: Path, modules: tuple[str, ...]) -> bool:
    """Whether these test modules pass with the sources in this folder."""
    command = [sys.executable, "-B", "-m", "twisted.trial", "--reporter=text", *modules]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=RUN_SECONDS_MOST, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def run(checkout: Path, scratch: Path) -> list[str]:
    """Apply each mutation; what is wrong, one line each."""
    for each in ("smartproxy", "twisted", "tests"):
        if (checkout / each).exists():
            shutil.copytree(checkout / each, scratch / each, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(checkout / "setup.cfg", scratch)
    mutations = table()
    everything = tuple(sorted({catcher for each in mutations for catcher in each.catchers}))
    if not passes(scratch, everything):
        return ["the tests fail without a mutation"]
    wrong = []
    for mutation in mutations:
        path = scratch / mutation.file
        right = path.read_text("utf-8")
        if right.count(mutation.text) != 1:
            wrong.append(f"not there exactly once: {mutation}")
            continue
        path.write_text(right.replace(mutation.text, mutation.replacement), "utf-8")
        survived = passes(scratch, mutation.catchers)
        path.write_text(right, "utf-8")
        print("SURVIVED" if survived else "caught  ", mutation, flush=True)
        if survived:
            wrong.append(f"survived: {mutation}")
    print(f"{len(mutations) - len(wrong)} of {len(mutations)} mutations caught")
    return wrong


def main() -> int:
    """Run the table; the exit status."""
    checkout = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        wrong = run(checkout.resolve(), Path(scratch))
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
