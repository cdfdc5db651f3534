"""Pages that show a terminal: what their commands print is held against what they show."""

import doctest
import getpass
import re
import socket
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ssh_fixtures import Home

BLOCK = re.compile(r"^( *)\.\. code-block:: console\n\n((?:\1 +.*\n|\n)+)", re.M)
READER, HERE = "ada", "ada@analytical"


class Step(NamedTuple):
    """A command, and what the page shows of its output."""

    command: str
    shown: str


def steps(page: str) -> Iterator[Step]:
    """Read what follows each prompt in the blocks of a page."""
    for found in BLOCK.finditer(page):
        for part in re.split(r"^\$ ", textwrap.dedent(found[2]), flags=re.M)[1:]:
            command, _, shown = part.strip("\n").partition("\n")
            yield Step(command, shown)


def perform(home: Home, commands: list[str], **env: str) -> list[tuple[str, int]]:
    """Run commands in one shell; return what each has printed, and its exit code."""
    marked = (f'{command}\necho "@ $?"\n' for command in commands)
    home.write("session", "exec 2>&1 </dev/null\n" + "".join(marked))
    printed = home.run("bash", "session", **env)
    parts = re.split(r"^@ (\d+)\n", printed, flags=re.M)
    return [(out, int(code)) for out, code in zip(parts[:-1:2], parts[1::2], strict=True)]


def anonymous(text: str, home: Path) -> str:
    """Put the reader of the pages in the place of who runs the tests."""
    text = text.replace(str(home), f"/home/{READER}")
    text = text.replace(f"{getpass.getuser()}@{socket.gethostname()}", HERE)
    text = re.sub(r"SHA256:([\w+/]{43}|\.\.\.)", "SHA256:", text)
    return re.sub(r"Agent pid \d+", "Agent pid", text)


def agrees(shown: str, printed: str, home: Path) -> bool:
    """Tell whether a page shows what was printed, with dots for what it leaves out."""
    both = (f"{anonymous(text, home).strip()}\n" for text in (shown, printed))
    return doctest.OutputChecker().check_output(*both, doctest.ELLIPSIS)
