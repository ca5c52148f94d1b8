"""Render a staged book: ``python book/_make/render.py SOURCE OUTPUT --jobs 2``, with every warning an error.

It is what ``jupyter-book build`` does, which has no option for the number of processes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jupyter_book.sphinx import build_sphinx


def main() -> None:
    """Command line of the module; the exit code is Sphinx's."""
    parser = argparse.ArgumentParser(description="Render a staged book, with every warning an error.")
    parser.add_argument("source", type=Path, help="folder of the sources, with _config.yml and _toc.yml")
    parser.add_argument("output", type=Path, help="folder of the pages")
    parser.add_argument("--jobs", type=int, default=1, help="processes that read and write pages (default: 1)")
    options = parser.parse_args()
    status = build_sphinx(
        options.source,
        options.output,
        use_external_toc=True,
        noconfig=True,
        path_config=str(options.source / "_config.yml"),
        confoverrides={"nitpicky": True, "latex_individualpages": False},
        builder="html",
        warningiserror=True,
        keep_going=True,
        quiet=True,
        jobs=options.jobs,
    )
    if isinstance(status, Exception):
        raise status
    sys.exit(status)


if __name__ == "__main__":
    main()
