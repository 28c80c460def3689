"""The documentation as a site: `make docs` builds it in build/docs."""

import sys
from pathlib import Path

from mcp_actors import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "mcp_actors"
copyright = "the authors of mcp_actors"  # noqa: A001 - the name that Sphinx reads
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "generated", "repository", "markdown_copies"]
exclude_patterns = ["_ext"]

html_theme = "furo"
html_title = "mcp_actors"
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_heading_anchors = 5
copybutton_prompt_text = "$ "

autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_typehints_format = "short"
