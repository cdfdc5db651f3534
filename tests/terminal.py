"""Dialogues on a pseudo-terminal, written down as the screen shows them.

A shell runs on the terminal.  A script is what the screen has to show, to the letter, and in it
what the user types:

    $ command        typed at the shell's prompt
    Name? <ada>      typed, then Enter; the screen shows it as every terminal does
    PIN: <*1234>     typed, then Enter; the screen must not show it
    PIN: <*^C>       Control and a letter, without Enter; <^C> if the screen shows it
    took [...] s     any characters within a line

At the end the shell has to prompt for another command.
"""

import os
import re
import select
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 60.0
"""Seconds after which something that should be on the screen is given up."""

PROMPT = "$ "
_ANYTHING = r"[^\n]*?"
_TYPED = re.compile(r"^\$ (?P<command>.*)$|<(?P<unseen>\*?)(?P<text>\^?[^<>\n]*)>", re.M)


class Terminal:
    """A terminal with a shell on it, in a directory and with an environment of its own."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        shell = ["setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"]
        self._shell = subprocess.Popen(
            shell,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=directory,
            env=env | {"PS1": PROMPT, "TERM": "xterm"},
        )
        os.close(slave)
        self.screen = ""
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._see(re.escape(PROMPT))
        finally:
            os.close(self._master)  # the shell and what runs on it get a SIGHUP
            self._shell.wait(PATIENCE)

    def play(self, script: str) -> None:
        """Play a script, or go on with it where the last one ended."""
        for shown, typed in _steps(textwrap.dedent(script).removeprefix("\n")):
            self._see(shown)
            os.write(self._master, typed)

    def _see(self, pattern: str) -> None:
        """Wait until the screen goes on as the pattern says, and with nothing else before it."""
        end = time.monotonic() + PATIENCE
        while not (found := re.compile(pattern).match(self.screen, self._read)):
            if not self._receive(end - time.monotonic()):
                wanted = re.sub(r"\\(.)", r"\1", pattern)
                raise AssertionError(f"wanted: {wanted!r}, on the screen:\n{self.screen}")
        self._read = found.end()

    def _receive(self, timeout: float) -> bool:
        if not select.select([self._master], [], [], max(timeout, 0))[0]:
            return False
        try:
            octets = os.read(self._master, 4096)
        except OSError:  # nobody is on the terminal any more
            return False
        self.screen = (self.screen + octets.decode()).replace("\r\n", "\n")
        return True


def _steps(script: str) -> Iterator[tuple[str, bytes]]:
    """Part a script into what is shown, as a pattern, and what is typed thereupon."""
    shown, start = "", 0
    for found in _TYPED.finditer(script):
        shown += _pattern(script[start : found.start()])
        start = found.end()
        if found["command"] is not None:
            yield shown + re.escape(PROMPT), found["command"].encode() + b"\r"
            shown = re.escape(found["command"])
        else:
            yield shown, _keys(found["text"])
            shown = "" if found["unseen"] else re.escape(found["text"])
    yield shown + _pattern(script[start:]), b""


def _keys(text: str) -> bytes:
    if re.fullmatch(r"\^[A-Z]", text):
        return bytes([ord(text[1]) - 64])
    return text.encode() + b"\r"


def _pattern(text: str) -> str:
    pattern = re.escape(text).replace(re.escape("[...]"), _ANYTHING)
    return pattern + r"(?=\n)" if pattern.endswith(_ANYTHING) else pattern
