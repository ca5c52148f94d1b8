"""``python -m tests.fuzz --minutes N``: mutate the files of every reader in turn, until the time is up."""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from sigcam_core.common.files import write_json
from sigcam_core.common.provenance import provenance

from .cases import Tally, lines_of, run_batch
from .readers import MODULES, READERS

CASES_A_BATCH = 40


def record(tallies: dict[str, Tally], seed: int, seconds: float) -> dict[str, Any]:
    """What the pages say of the cases so far."""
    whole = Tally()
    for tally in tallies.values():
        whole.add(tally)
    coverage = {}
    for module in MODULES:
        lines = lines_of(module)
        coverage[module] = {"lines": len(lines), "reached": len(lines & whole.reached.get(module, set()))}
    readers = {
        name: {"cases": tally.cases, "valid": tally.valid, "refused": tally.refused, "findings": tally.findings}
        for name, tally in tallies.items()
    }
    return {"seed": seed, "seconds": seconds, "readers": readers, "coverage": coverage} | {"provenance": provenance()}


def main() -> None:
    """Run the batches, and write what came of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/faults/fuzz.json"))
    options = parser.parse_args()
    tallies = {name: Tally() for name in READERS}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        for batch in count():
            numbers = range(batch * CASES_A_BATCH, (batch + 1) * CASES_A_BATCH)
            for index, name in enumerate(READERS):
                if (seconds := time.monotonic() - start) > 60 * options.minutes:
                    write_json(options.out, record(tallies, options.seed, seconds))
                    print(f"{sum(one.cases for one in tallies.values()):,} cases, saved to {options.out}")
                    return
                tallies[name].add(run_batch(name, numbers, options.seed, Path(temporary, str(index))))
                for finding, where in tallies[name].findings.items():
                    print(f"{name}: {finding} ({where})", flush=True)


if __name__ == "__main__":
    main()
