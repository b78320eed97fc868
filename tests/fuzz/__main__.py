"""Run the fuzz targets for a number of executions; exit 1 and print the input on a discrepancy."""

import argparse
import json
import sys
import time
import traceback
from random import Random

from tests.conformance.cuts import Chunks
from tests.fuzz.mutator import corpus, mutated
from tests.fuzz.targets import TARGETS


def run(executions: int, seed: int, target: str, *, progress: bool = False) -> Chunks | None:
    """Run a target on mutated sessions.

    :return: the first input that breaks a promise; ``None`` if there is none.
    """
    rng = Random(seed)
    sessions = corpus(rng)
    began = time.monotonic()
    for number in range(1, executions + 1):
        chunks = mutated(rng.choice(sessions), rng)
        try:
            TARGETS[target](chunks, rng)
        except Exception:
            traceback.print_exc()
            return chunks
        if progress and number % 10000 == 0:
            print(f"{target}: {number} executions, {number / (time.monotonic() - began):.0f} a second", file=sys.stderr)
    return None


EXECUTIONS = {"transport": 100_000}
"""How many inputs a target is given unless told otherwise; what is not here: :data:`USUAL`."""
USUAL = 10_000


def main(arguments: list[str]) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--executions", type=int, help=f"inputs for each target (default: {USUAL}; for the transport 100000)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="the same seed gives the same inputs (default: %(default)s)"
    )
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="may be given again (default: all)")
    options = parser.parse_args(arguments)
    for target in options.target or sorted(TARGETS):
        executions = options.executions or EXECUTIONS.get(target, USUAL)
        found = run(executions, options.seed, target, progress=True)
        if found is not None:
            print(f"target {target}, seed {options.seed}: a promise is broken by")
            for sender, octets in found:
                print(json.dumps({"dir": "i2r" if sender.value == "I" else "r2i", "hex": octets.hex()}))
            return 1
        print(f"{target}: {executions} executions with seed {options.seed}, no discrepancy")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
