"""Names of classes, files and folders by which a page, a shell or a spreadsheet would run what it should show."""

HOSTILE = (
    "<script>window.owned = 1</script>",
    "<img src=x onerror='window.owned = 1'>",
    '"><svg onload="window.owned = 1">',
    "--><script>window.owned = 1</script><!--",
    "</title></style></textarea><script>window.owned = 1</script>",
    "[x](javascript:window.owned=1)",
    "{{ config.owned }} {% raw %}",
    "```{raw} html\n<script>window.owned = 1</script>\n```",
    "$\\frac{1}{$ \\input{/etc/passwd} $$x",
    "$(touch owned); `touch owned`; 'touch owned' && touch owned",
    '=HYPERLINK("http://example.invalid","x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "[bold]x[/italic]",
    "two\nlines, \"quotes\" and 'more'",
    "zero​width, \u202eright to left, 🙂, é",
    "__import__('os').system('touch owned')",
    "a|b|c*d_e~f#g>h",
)
"""Meant for a page, Markdown, mathematics, a shell, a spreadsheet, a terminal and Python."""
FILE_NAMES = tuple(name.replace("/", "∕") for name in HOSTILE)
"""The same as names of files, which hold no slash."""
