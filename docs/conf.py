"""How Sphinx makes the site: `.venv/bin/sphinx-build docs build/docs`; `tools/test` does it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

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

# Each page of examples has a TPM of its own, an emulator that ends with it.
doctest_global_setup = """
import os, tempfile
_state = tempfile.TemporaryDirectory(prefix="tpmwire-docs.")
os.environ["TPMWIRE_TCTI"] = f"embedded:dir={_state.name}"
"""
doctest_global_cleanup = "_state.cleanup()"
doctest_test_doctest_blocks = ""


class Figures(SphinxDirective):
    """What tools/bench has measured: the circumstances, the table, and the plots.

    They are in figures.json and in figures/ beside this file, as its --json and --plot write them.
    """

    DIRECTORY = Path(__file__).parent

    def run(self) -> list[nodes.Node]:
        """Make what stands in the place of the directive."""
        file = self.DIRECTORY / "figures.json"
        self.env.note_dependency(str(file))
        if not file.exists():
            said = "No figures have been measured for this version."
            return [nodes.paragraph(text=said)]
        return self.parse_text_to_nodes("\n".join(page(json.loads(file.read_text()))))


def page(report: dict[str, Any]) -> Iterator[str]:
    """Write a report as restructured text."""
    yield from (f":{name}: {value}" for name, value in report.items() if name != "figures")
    yield from ("", ".. list-table::", "   :header-rows: 1", "   :widths: 40 14 14 12 20", "")
    for row in (("A / B", "A", "B", "A / B", "remark"), *map(row_of, report["figures"])):
        yield from (f"   {' ' if number else '*'} - {cell}" for number, cell in enumerate(row))
    for plot in sorted((Figures.DIRECTORY / "figures").glob("*.svg")):
        yield from ("", f".. image:: figures/{plot.name}", f"   :alt: {plot.stem}")


def row_of(figure: dict[str, Any]) -> tuple[str, ...]:
    """Write a figure as the cells of a table."""
    name, unit = figure["name"].strip(), figure["unit"]
    if figure["ratio"] is None:
        return name, "", "", "", f"left out: {figure['verdict']}"
    ratio = f"{figure['ratio']:.2f}"
    return name, f"{figure['over']} {unit}", f"{figure['under']} {unit}", ratio, figure["verdict"]


def setup(app: Sphinx) -> None:
    """Let pages have figures."""
    app.add_directive("figures", Figures)
