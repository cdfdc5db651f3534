"""The pages that are made from the code."""

import configparser
import subprocess
import sys
from pathlib import Path

from tpmwire.commands import COMMANDS

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
