"""The pages that are made from the code, and what others say of it.

`tools/test` makes the whole site, and runs the examples of docs/library.rst.
"""

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_readme import known_options, options

import tpmwire
from tpmwire.commands import COMMANDS
from tpmwire.scripts.main import SUBCOMMANDS

ROOT = Path(__file__).parent.parent


def test_the_table_of_commands_is_what_the_declarations_say(tmp_path: Path):
    """If not: .venv/bin/python tools/command-table."""
    made = tmp_path / "commands.rst"
    subprocess.run([sys.executable, ROOT / "tools" / "command-table", made], check=True)
    assert made.read_text() == (ROOT / "docs" / "commands.rst").read_text()


def test_the_table_of_commands_has_every_command_once():
    lines = (ROOT / "docs" / "commands.rst").read_text().splitlines()
    codes = [line for line in lines if line.startswith("     - 0x")]
    assert sorted(codes) == [f"     - 0x{code:03X}" for code in sorted(COMMANDS)]


def below(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_man_pages_and_completions_are_what_the_parsers_say(tmp_path: Path):
    """If not: .venv/bin/python tools/share."""
    subprocess.run([sys.executable, ROOT / "tools" / "share", tmp_path / "share"], check=True)
    made = below(tmp_path / "share")
    assert len(made) > 15
    assert made == below(ROOT / "share")


def test_man_pages_and_completions_are_installed_where_they_are_looked_for():
    setup = configparser.ConfigParser(delimiters="=")
    setup.optionxform = str  # type: ignore[assignment]
    setup.read(ROOT / "setup.cfg")
    files = [
        (f"{place}/{file.name}", file)
        for place, pattern in setup["options.data_files"].items()
        for file in ROOT.glob(pattern)
    ]
    assert sorted(place for place, _ in files) == sorted(
        f"share/{name}" for name in below(ROOT / "share")
    )
    assert all(file == ROOT / place for place, file in files)


# --- the reference ----------------------------------------------------------------------------

OURS = {"tpmwire.exchange"}
"""What the reference leaves out: the inside of `Tpm.execute`."""


def test_the_reference_has_each_module_that_is_for_others_once():
    pages = (ROOT / "docs" / "api").glob("*.rst")
    named = [
        n for p in pages for n in re.findall(r"^\.\. automodule:: (\S+)$", p.read_text(), re.M)
    ]
    package = Path(tpmwire.__file__).parent
    modules = {f"tpmwire.{path.stem}" for path in package.glob("[!_]*.py")}
    types = {f"tpmwire.types.{path.stem}" for path in (package / "types").glob("[!_]*.py")}
    assert len(named) == len(set(named))
    assert (modules - OURS) | types <= {*named}


# --- command lines ----------------------------------------------------------------------------

GUIDES = "\n".join(
    (ROOT / "docs" / f"{n}.rst").read_text() for n in ("tutorial", "ssh", "security")
)


@pytest.mark.parametrize("program", ["keygen", "agent"])
def test_options_of_the_programs_in_the_guides_exist(program: str):
    lines = re.findall(rf"tpmwire-{program}\b([^)#`|\n]*)", GUIDES)
    used = set().union(*map(options, lines))
    assert len(used) > 3
    assert used <= known_options(program)


@pytest.mark.parametrize("name", ["sign", "verify", "doctor", "inspect", "info"])
def test_options_of_the_subcommands_in_the_guides_exist(name: str):
    assert name in SUBCOMMANDS
    lines = re.findall(rf"tpmwire {name}\b([^)#`|\n]*)", GUIDES)
    assert lines
    assert set().union(*map(options, lines)) <= known_options("main", name)


# --- figures ----------------------------------------------------------------------------------


def test_plots_are_made_of_what_grows_and_of_nothing_else(tmp_path: Path):
    pytest.importorskip("matplotlib")
    figures = [
        {"name": "no growth", "over": 1.0, "unit": "ms", "growth": None},
        *({"over": 1.0 * n, "unit": "ms", "growth": ["clients", n]} for n in (1, 8)),
        *({"over": 2.0 * n, "unit": unit, "growth": ["pairs", n]} for n in (1, 9) for unit in "s"),
        *({"over": 30.0, "unit": "MB", "growth": ["pairs", n]} for n in (1, 9)),
    ]
    (tmp_path / "figures.json").write_text(json.dumps({"figures": figures}))
    command = [sys.executable, ROOT / "tools" / "bench", "--plot-only", tmp_path / "figures.json"]
    subprocess.run([*command, "--plot", tmp_path / "plots"], check=True, timeout=120)
    made = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert made == ["clients-time.svg", "pairs-memory.svg", "pairs-time.svg"]
    assert all(b"</svg>" in path.read_bytes() for path in (tmp_path / "plots").iterdir())
