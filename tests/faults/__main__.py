"""``python -m tests.faults``: inject every fault at up to 50 seeded moments, and write what came of it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT / "workflow")]

from sigcam_core.common.files import read_object, write_json  # noqa: E402
from sigcam_core.common.provenance import provenance  # noqa: E402

from .injections import added, as_record, inject_all  # noqa: E402
from .kinds import KINDS, MOMENTS, SLOW  # noqa: E402
from .line import Undisturbed  # noqa: E402


def main() -> None:
    """Inject, count, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--moments", type=int, default=MOMENTS, help="of each kind (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=600.0, help="after which no more begin")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), metavar="KIND", help="default: all")
    parser.add_argument("--quick", action="store_true", help="all kinds but those that start other programs")
    parser.add_argument(
        "--add", action="store_true", help="add to what the file has counted, which was of other moments"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first moment")
    parser.add_argument("--out", type=Path, default=Path("results/faults/faults.json"))
    options = parser.parse_args()
    names = options.kinds or [name for name in KINDS if not (options.quick and name in SLOW)]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        line = Undisturbed(Path(folder))
        print(f"the undisturbed line took {time.monotonic() - start:.0f} s", flush=True)
        counts = inject_all(
            line, names, options.moments, lambda: time.monotonic() - start > 60 * options.minutes, options.seed
        )
    known = read_object(options.out) if options.add else {"seconds": 0.0, "kinds": {}}
    seconds = time.monotonic() - start
    made = provenance()
    kinds = added(known["kinds"], as_record(counts))
    kinds |= {name: kinds[name] | {"commit": made["commit"]} for name in counts}
    facts = {
        "seed": options.seed,
        "seconds": known["seconds"] + seconds,
        "kinds": {name: kinds[name] for name in KINDS if name in kinds},
    }
    write_json(options.out, facts | {"earlier": known.get("earlier", []), "provenance": made})
    print(f"{sum(one.injected for one in counts.values())} faults in {seconds:.0f} s, saved to {options.out}")


if __name__ == "__main__":
    main()
