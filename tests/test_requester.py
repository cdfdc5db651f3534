"""Who asks for a signature, told from what the system knows of real processes."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpmwire.scripts import requester
from tpmwire.scripts.requester import describe, harmless, introduce, short_name
from tpmwire.ssh.occasion import UNKNOWN, Occasion, Peer

WAITS = "import os,sys; print(os.getpid(), flush=True); sys.stdin.read()"
"""What a process does that tells its number, and ends with its standard input."""

NESTS = """
import os, subprocess, sys
n = int(sys.argv[1])
if n: subprocess.run([sys.executable, "-c", os.environ["NESTS"], str(n - 1)])
else: print(os.getpid(), flush=True); sys.stdin.read()
"""


@contextlib.contextmanager
def process(*command: str, **env: str) -> Iterator[int]:
    """Have a process running; yield the number that it tells."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*command], env={**os.environ, **env}, **pipes) as running:
        line = running.stdout.readline()
        try:
            yield int(line)
        finally:
            running.stdin.close()


def test_a_process_is_told_with_its_arguments_and_what_started_it():
    with process(sys.executable, "-c", WAITS, "fetch") as pid:
        first, second = describe(Peer(pid)).split(", from ")[:2]
    line = f"{sys.executable} -c {WAITS} fetch"
    assert first == (line if len(line) <= 100 else f"{line[:97]}...") + f" ({pid})"
    assert second.endswith(f" ({os.getpid()})")


def test_there_are_at_most_four_ancestors():
    with process(sys.executable, "-c", NESTS, "6", NESTS=NESTS) as pid:
        told = describe(Peer(pid))
    numbers = re.findall(r"\((\d+)\)(?:,|$)", told)
    assert numbers[0] == str(pid)
    assert len(numbers) == 1 + requester.MOST_ANCESTORS


def test_the_process_that_starts_everything_is_not_an_ancestor():
    family = [*requester._family(os.getpid())]
    assert family[0] == os.getpid()
    assert not {0, 1} & {*family}


def test_what_a_terminal_might_heed_is_shown_harmlessly():
    evil = "\x1b[2J\r\nPIN for TPM key root: \x07\u202e\x9b"
    with process(sys.executable, "-c", WAITS, evil) as pid:
        told = describe(Peer(pid)).split(", from ")[0]
    assert told.isprintable()
    assert harmless(evil, 100) == "?[2J??PIN for TPM key root: ???"


def test_octets_that_are_no_text_are_shown_as_such():
    with process("sh", "-c", "echo $$; read x", os.fsdecode(b"caf\xe9")) as pid:
        assert "caf\N{REPLACEMENT CHARACTER} (" in describe(Peer(pid))


def test_a_long_command_line_is_cut():
    with process(sys.executable, "-c", WAITS, *["x" * 1000] * 50) as pid:
        told = describe(Peer(pid))
    assert len(told) < 100 + 4 * 40 + 5 * 20 + 1


def test_a_program_may_have_parentheses_in_its_name(tmp_path: Path):
    """They are around the name in /proc/PID/stat."""
    program = tmp_path / ") 1 (1"
    shutil.copy(shutil.which("cat"), program)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as running:
        told = describe(Peer(running.pid))
        running.stdin.close()
    assert f"({running.pid}), from " in told
    assert f" ({os.getpid()})" in told


def test_a_process_that_has_ended_is_told_to_have():
    with process(sys.executable, "-c", WAITS) as pid:
        pass
    assert describe(Peer(pid)) == f"[a process that has ended] ({pid})"
    assert short_name(Peer(pid)) == "a process tha..."


def test_the_name_for_the_log_has_no_arguments():
    with process(sys.executable, "-c", WAITS, "--password=secret") as pid:
        assert short_name(Peer(pid)) == Path(f"/proc/{pid}/comm").read_text().strip()


@pytest.mark.parametrize(
    ("occasion", "lines"),
    [
        (UNKNOWN, ["PIN: "]),
        (Occasion(purpose="log in\n as ada"), ["To log in? as ada", "PIN: "]),
        (
            Occasion(Peer(os.getpid()), "x"),
            [f"Asked by {describe(Peer(os.getpid()))}", "To x", "PIN: "],
        ),
    ],
    ids=["unknown", "purpose", "both"],
)
def test_a_question_is_introduced_by_who_asks_and_what_for(occasion: Occasion, lines: list[str]):
    assert introduce("PIN: ", occasion).split("\n") == lines
