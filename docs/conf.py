"""How Sphinx makes the site; `tools/test` does it, and runs the examples.

.venv/bin/sphinx-build -W docs build/docs
"""

import tpmwire

project = "tpmwire"
author = copyright = "The tpmwire developers"
version = release = tpmwire.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest"]
default_role = "code"
# The type of some parameters is `type`, which is also the name of a field in the TCG's tables.
suppress_warnings = ["ref.python"]

html_theme = "alabaster"
html_theme_options = {"fixed_sidebar": True, "page_width": "64rem"}
html_show_sourcelink = False
html_show_copyright = False

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_display_short_literal_types = True

# Each page of examples has a TPM of its own, an emulator that ends with it.
doctest_global_setup = """
import os, tempfile
_state = tempfile.TemporaryDirectory(prefix="tpmwire-docs.")
os.environ["TPMWIRE_TCTI"] = f"embedded:dir={_state.name}"
"""
doctest_global_cleanup = "_state.cleanup()"
doctest_test_doctest_blocks = ""
