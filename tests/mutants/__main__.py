"""Break protections on purpose, one at a time, and expect a test to notice each.

``python -m tests.mutants CHECKOUT [THREAT...]``

Copy the sources of the checkout, which is the current folder unless named, into a scratch folder; first run the tests
of all rows there unchanged, then apply one row after the other. A mutation is caught when each test or test module
that its row names fails by an assertion: a test that cannot be imported, or that ends in another exception, has shown
nothing. Ends with status 1 and the survivors' names when a mutation is not caught, when its text does not stand in its
file exactly once, or when a test fails without it.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import attrs

RUN_SECONDS_MOST = 600
"""How long the tests of one mutation may take; a mutation that makes them hang is not caught by an assertion."""

AND = " && "
"""Stands between the texts of a mutation that breaks a file in several places, and between their replacements."""

_LINE = re.compile(r"^\[(?P<kind>[A-Z]+)\]$|^(?P<test>tests\.[\w.]+)$|^builtins\.AssertionError\b")
"""What matters of trial's list of failures: the head of an entry, its tests, and an assert statement."""


@attrs.frozen
class Mutation:
    """One row of the table.

    :ivar threat: the row of the list of threats that the broken text protects from.
    :ivar file: the file, below the checkout.
    :ivar text: what stands there exactly once, or several such texts.
    :ivar replacement: what is put in its place.
    :ivar catchers: the tests, or modules with such a test, that have to fail.
    """

    threat: str
    file: str
    text: str
    replacement: str
    catchers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.threat} {self.file}: {self.text.strip()!r} -> {self.replacement.strip()!r}"

    def applied(self, source: str) -> str | None:
        """The source with the mutation; ``None`` if its text does not stand there exactly once."""
        for text, replacement in zip(self.text.split(AND), self.replacement.split(AND), strict=True):
            if source.count(text) != 1:
                return None
            source = source.replace(text, replacement)
        return source

    def caught(self, failed: Collection[str]) -> bool:
        """Whether each of its catchers is among the tests that failed by an assertion."""
        return all(any(f"{each}.".startswith(f"{catcher}.") for each in failed) for catcher in self.catchers)


def table() -> list[Mutation]:
    r"""The rows of ``table.tsv``; a line feed is written there as ``\n``."""
    rows = []
    for row in Path(__file__).with_name("table.tsv").read_text("utf-8").splitlines():
        threat, file, text, replacement, catchers = (cell.replace("\\n", "\n") for cell in row.split("\t"))
        rows.append(Mutation(threat, file, text, replacement, tuple(catchers.split())))
    return rows


@attrs.frozen
class Outcome:
    """How a run of tests ended.

    :ivar passed: whether all passed.
    :ivar failed: the tests that failed by an assertion.
    :ivar output: what was printed.
    """

    passed: bool
    failed: frozenset[str]
    output: str


def failed_by_assertion(output: str) -> frozenset[str]:
    """The tests that trial's text reporter lists as failed, those that ended in another exception left out."""
    asserted = False
    failed = set()
    for line in output.splitlines():
        match _LINE.match(line):
            case re.Match() as found if found["kind"]:
                # Trial counts as FAIL what its own assertions raise, and as ERROR what an assert statement raises.
                asserted = found["kind"] == "FAIL"
            case re.Match() as found if found["test"]:
                failed |= {found["test"]} if asserted else set()
            case re.Match():
                asserted = True
    return frozenset(failed)


def tried(folder: Path, tests: Sequence[str]) -> Outcome:
    """Run tests with the sources in this folder."""
    command = [sys.executable, "-B", "-m", "twisted.trial", "--reporter=text", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=RUN_SECONDS_MOST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(False, frozenset(), f"no end within {RUN_SECONDS_MOST} s")
    return Outcome(done.returncode == 0, failed_by_assertion(done.stdout), done.stdout)


def run(checkout: Path, scratch: Path, chosen: Collection[str] = ()) -> list[str]:
    """Apply each mutation; what is wrong, one line each.

    :param chosen: the threats whose mutations are applied; all without it.
    """
    for each in ("smartproxy", "twisted", "tests"):
        if (checkout / each).exists():
            shutil.copytree(checkout / each, scratch / each, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(checkout / "setup.cfg", scratch)
    mutations = [each for each in table() if not chosen or each.threat in chosen]
    everything = sorted({catcher for each in mutations for catcher in each.catchers})
    unchanged = tried(scratch, everything)
    if not unchanged.passed:
        return [unchanged.output, "the tests fail without a mutation"]
    wrong = []
    for mutation in mutations:
        path = scratch / mutation.file
        right = path.read_text("utf-8")
        broken = mutation.applied(right)
        if broken is None:
            wrong.append(f"not there exactly once: {mutation}")
            continue
        path.write_text(broken, "utf-8")
        outcome = tried(scratch, mutation.catchers)
        path.write_text(right, "utf-8")
        caught = mutation.caught(outcome.failed)
        print("caught  " if caught else "SURVIVED", mutation, flush=True)
        if not caught:
            how = "all passed" if outcome.passed else f"failed by an assertion: {sorted(outcome.failed) or 'none'}"
            wrong.append(f"survived: {mutation}; of {', '.join(mutation.catchers)}: {how}")
    print(f"{len(mutations) - len(wrong)} of {len(mutations)} mutations caught")
    return wrong


def main() -> int:
    """Run the table; the exit status."""
    checkout = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        wrong = run(checkout.resolve(), Path(scratch), sys.argv[2:])
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
