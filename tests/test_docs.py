"""The pages that are made from the code."""

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
