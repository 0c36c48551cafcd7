"""How Sphinx builds these pages: `make docs` does it."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import conduit  # noqa: E402

highlight_language = "none"
project = "Conduit"
author = "Conduit contributors"
copyright = "Conduit contributors, ISC licence"
version = release = conduit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "docstrings", "homes"]
exclude_patterns = ["_ext", "_static"]
source_suffix = {".md": "markdown"}

# Markdown. The anchors of headings are those that GitHub makes, so links work there as well.
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
suppress_warnings: list[str] = []

# Docstrings. What stands in single backticks is code, and a link where it is a name of ours.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 60
add_module_names = False
smartquotes_action = "D"  # quotes stay as they are, since many are of code
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),  # most of what is code in a docstring is no name
    (
        r"py:.*",
        r"(asyncio|collections|contextlib|datetime|ipaddress|os|ssl|socket|types|typing)\..*",
    ),
    (r"py:.*", r"(abc|cryptography|enum)\..*"),
    # Type variables, aliases, and bases that are nobody's business.
    (r"py:.*", r"(.*\.)?(T|Sexp|IPAddress|Place|Path|Password|Trust|Shape|Chained|Record)"),
]

# What is copied from a block with a prompt are the commands.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"

html_theme = "furo"
html_title = f"Conduit {release}"
html_static_path = ["_static"]
html_css_files = ["conduit.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
