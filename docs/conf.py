"""How Sphinx builds the documents; everything comes with Sphinx, nothing from the network."""

import sys
from pathlib import Path

from smartproxy import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "SmartProxy"
author = "the SmartProxy authors"
project_copyright = "the SmartProxy authors; Apache License 2.0"
version = release = __version__

extensions = ["command_lines", "myst_parser", "tables"]
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "alabaster"
html_theme_options = {
    "description": "A security proxy for OFTP2 (RFC 5024)",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "font_family": "sans-serif",
    "head_font_family": "sans-serif",
}
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sourcelink = False
smartquotes = False
