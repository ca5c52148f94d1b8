"""Pages load what they use: scripts that the theme brings for others go, and of its icons those stay that are shown.

Called by `pages.py`, on what the theme has written.
"""

from __future__ import annotations

import re
from pathlib import Path

from fontTools import subset

THEME = Path("styles", "pydata-sphinx-theme.css")  # below the static files
FONTS = Path("vendor", "fontawesome", "webfonts")

# What no page uses: icons as a script (they are a font as well), and Thebe, which needs another host.
UNUSED = [
    re.compile(r"\n? *<script[^>]*fontawesome\.js[^>]*></script>"),
    re.compile(r"\n? *<script[^>]*sphinx-thebe\.js[^>]*></script>"),
    re.compile(r"\n? *<link[^>]*sphinx-thebe\.css[^>]*>"),
    re.compile(r"\n? *<script>const THEBE_JS_URL.*?</script>", re.DOTALL),
]
# The index of the search, which only its own page asks.
SEARCH = re.compile(
    r'\n? *<script src="(?:\.\./)*(?:_static/searchtools|_static/language_data|searchindex)\.js"></script>'
)
# Files that browsers never ask for, once the above is gone.
LEFT_OVER = ("**/*.map", "**/fontawesome.js*", "sphinx-thebe.*", "vendor/fontawesome/webfonts/*")

ICON_RULE = re.compile(r'(?:\.fa-[\w-]+:before,?)+\{content:"\\[0-9a-f]+"\}')
FONT_SOURCE = re.compile(r"src:url\((\.\./vendor/fontawesome/webfonts/[\w-]+)\.woff2\)[^}]*")
CODE = re.compile(r'"\\([0-9a-f]{3,5})"')


def without_unused(html: str, searches: bool = False) -> str:
    """Remove the scripts that a page does not use; ``searches`` is true for the search page."""
    for pattern in UNUSED if searches else [*UNUSED, SEARCH]:
        html = pattern.sub("", html)
    # The reader's system decides between light and dark until the reader does; an empty mode is an error of the theme.
    return html.replace('localStorage.getItem("mode") || ""', 'localStorage.getItem("mode") || "auto"')


def icons_of(html: str) -> set[str]:
    """Find the icon classes that a page uses, such as ``fa-bars``."""
    return set(re.findall(r"\bfa-[\w-]+", " ".join(re.findall(r'class="([^"]*\bfa-[^"]*)"', html))))


def keep_icons(static: Path, used: set[str]) -> None:
    """Cut the theme's style sheet and its icon fonts down to the icons that are used.

    Args:
        static: folder of the static files.
        used: classes of icons in the pages. Those that the style sheet shows by itself are kept besides.
    """
    sheet = static / THEME
    if not sheet.is_file() or "fontawesome" not in (css := sheet.read_text(encoding="utf-8")):
        return

    def only_used(rule: re.Match[str]) -> str:
        return rule[0] if used & set(re.findall(r"\.(fa-[\w-]+):before", rule[0])) else ""

    css = FONT_SOURCE.sub(r'src:url(\1.woff) format("woff")', ICON_RULE.sub(only_used, css))
    # The sheets of the theme on top of this one show icons, too.
    sheets = css + "".join(path.read_text(encoding="utf-8") for path in static.rglob("*.css") if path != sheet)
    codes = {int(code, 16) for code in CODE.findall(sheets)}
    cut = [_cut_font(path, codes) for path in sorted((static / FONTS).glob("*.ttf"))]
    for pattern in LEFT_OVER:
        for path in static.glob(pattern):
            path.unlink() if path not in cut else None
    sheet.write_text(css, encoding="utf-8")


def _cut_font(font: Path, codes: set[int]) -> Path:
    """Write ``font`` with the characters ``codes`` alone next to itself, as WOFF."""
    target = font.with_suffix(".woff")
    options = subset.Options(flavor="woff", notdef_outline=False, layout_features=[], hinting=False)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=codes)
    with subset.load_font(str(font), options, lazy=False) as loaded:
        subsetter.subset(loaded)
        subset.save_font(loaded, str(target), options)
    return target
