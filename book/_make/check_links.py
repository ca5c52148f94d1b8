"""Whether the links of the built book to other hosts still answer: ``python book/_make/check_links.py``.

For a job that runs now and then, with a network; a build does not depend on other hosts.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from browse import built_site
from sigcam_core.common.errors import CommandLine, fail, run_command_line

LINK = re.compile(r'<a [^>]*href="(https?://[^"#]+)')
# Publishers that refuse programs, whatever they ask for: an answer of theirs, even a refusal, is one.
REFUSALS = {401, 403, 405, 418, 429}


def links_of(site: Path) -> dict[str, str]:
    """Every address on another host that a page links to, with one of the pages that do."""
    found: dict[str, str] = {}
    for path in sorted(site.rglob("*.html")):
        if "_static" not in path.parts:
            for link in LINK.findall(path.read_text(encoding="utf-8")):
                found.setdefault(link.replace("&amp;", "&"), str(path.relative_to(site)))
    return found


def fault_of(link: str) -> str:
    """Say what is wrong with a link; empty if it answers."""
    try:
        answer = requests.get(link, timeout=30, stream=True, headers={"User-Agent": "Mozilla/5.0"})
    except requests.RequestException as error:
        return type(error).__name__
    return "" if answer.ok or answer.status_code in REFUSALS else str(answer.status_code)


def main() -> None:
    """Try every link of the built book to another host, and name those that do not answer."""
    parser = CommandLine(description=main.__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build"))
    links = links_of(built_site(parser.parse_args().work_dir))
    with ThreadPoolExecutor(8) as pool:
        faults = dict(zip(links, pool.map(fault_of, links), strict=True))
    broken = [f"{link} ({fault}), on {links[link]}" for link, fault in faults.items() if fault]
    if broken:
        fail("these links do not answer:\n" + "\n".join(broken))
    print(f"{len(links)} links answer")


if __name__ == "__main__":
    run_command_line(main)
