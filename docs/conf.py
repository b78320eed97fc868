"""How Sphinx builds the documents. Nothing is fetched from the network while they are built or read."""

import sys
from pathlib import Path

from smartproxy import __version__

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

project = "SmartProxy"
author = "the SmartProxy authors"
project_copyright = "the SmartProxy authors; Apache License 2.0"
version = release = __version__

extensions = ["command_lines", "consoles", "keyboard", "measured", "myst_parser", "pictures", "rooms", "tables"]
exclude_patterns = ["_build"]
nitpicky = True
highlight_language = "console"

html_theme = "furo"
html_title = f"SmartProxy {__version__}"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-dark"
html_theme_options = {
    # The colours of the pictures are here because Furo puts these variables under its switch between light and dark.
    "light_css_variables": {
        "color-brand-primary": "#0b5394",
        "color-brand-content": "#0b5394",
        "color-brand-visited": "#6a3d9a",
        "color-background-border": "#d5dae0",
        "color-foreground-muted": "#5c6370",
        "color-inline-code-background": "#eef1f5",
        "color-code-background": "#f4f6f9",
        "color-code-output": "#3d4450",
        "color-code-prompt": "#5c6370",
        "picture-ink": "#1f2d3d",
        "picture-quiet": "#55616e",
        "picture-line": "#4a6076",
        "picture-box": "#e6eef7",
        "picture-chip": "#ffffff",
        "picture-band": "#f4f6f9",
        "picture-edge": "#8ba0b5",
        "picture-rule": "#d0d7de",
        "picture-one": "#0b5394",
        "picture-two": "#b45309",
        "picture-three": "#1b7f4b",
        "picture-four": "#8e44ad",
        "scroll-shadow": "#0000004d",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7db7f0",
        "color-brand-content": "#7db7f0",
        "color-brand-visited": "#c3a6f0",
        "color-background-border": "#3a414a",
        "color-foreground-muted": "#9aa3ae",
        "color-inline-code-background": "#22272e",
        "color-code-background": "#1c2026",
        "color-code-output": "#c3c9d1",
        "color-code-prompt": "#9aa3ae",
        "picture-ink": "#e8edf3",
        "picture-quiet": "#a9b4c0",
        "picture-line": "#8fa7bf",
        "picture-box": "#22364a",
        "picture-chip": "#14202c",
        "picture-band": "#1a1e24",
        "picture-edge": "#5b7085",
        "picture-rule": "#3a414a",
        "picture-one": "#7db7f0",
        "picture-two": "#f0a35e",
        "picture-three": "#6fd29b",
        "picture-four": "#d3a6f0",
        "scroll-shadow": "#ffffff4d",
    },
}
html_favicon = "../smartproxy/backend/page/static/mark.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
smartquotes = False
