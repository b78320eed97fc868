"""Runs tests in several processes, a class at a time: ``python -m tests.side_by_side JOBS NAME ...``.

trial's own ``--jobs`` deals out single tests. Tests of whole daemons share a site within their class, and making one
takes longer than most tests; so a process takes a whole class here, and the next when it is done. Ports are free ones
and folders a process's own, so that nothing else is shared. Name what takes longest first: the ends are even then.
A failure is told at once; before trial's last line stands which classes took longest.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from twisted.trial._dist.disttrial import DistTrialRunner
from twisted.trial.reporter import TextReporter
from twisted.trial.runner import TestLoader

LONGEST = 25


def by_class(cases: Iterable[Any]) -> Iterator[list[Any]]:
    """The tests of each class; one that was named twice is where it was named first."""
    classes: dict[type, dict[str, Any]] = {}
    for case in cases:
        classes.setdefault(type(case), {}).setdefault(case.id(), case)
    return iter([list(each.values()) for each in classes.values()])


@attrs.define
class ByClass(DistTrialRunner):
    """Hands out classes of tests."""

    _classes: Iterator[list[Any]] | None = None
    _seconds: dict[str, float] = attrs.field(factory=dict)

    async def _driveWorker(self, result: Any, testCases: Iterable[Any], worker: Any) -> None:
        """Let one process run the tests of a class, in their order, for as long as there are classes."""
        if self._classes is None:
            self._classes = by_class(testCases)
        for cases in self._classes:
            began = time.monotonic()
            await super()._driveWorker(result, cases, worker)
            of = type(cases[0])
            self._seconds[f"{of.__module__}.{of.__qualname__}"] = time.monotonic() - began

    def writeResults(self, result: Any) -> None:
        """Say which classes took longest, in seconds, and then what trial says."""
        print("\n\nThese took longest:")
        for name, seconds in sorted(self._seconds.items(), key=lambda each: -each[1])[:LONGEST]:
            print(f"{seconds:8.1f} s  {name}")
        super().writeResults(result)


def main() -> None:
    """Run the named modules or packages; the exit status tells whether all passed."""
    jobs, *names = sys.argv[1:]
    suite = TestLoader().loadByNames(names, True)
    runner = ByClass(reporterFactory=TextReporter, maxWorkers=int(jobs), workerArguments=[], realTimeErrors=True)
    sys.exit(not runner.run(suite).wasSuccessful())


if __name__ == "__main__":
    main()
