"""How Sphinx builds these pages, see `make docs`: no network, and each warning is an error."""

import polyhead

project = "polyhead"
release = polyhead.__version__
html_title = f"polyhead {release}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"  # no web fonts, no scripts of other servers
html_copy_source = False

nitpicky = True  # a link that leads nowhere is a warning, too
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other libraries, whose pages are not here
myst_heading_anchors = 3
default_role = "code"  # docstrings write `name`
autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature shows them
