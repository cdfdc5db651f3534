"""ssh-tpm-agent and its tools, where tools/peers has put them."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_fixtures import PATIENCE, Home

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
RUN = CACHE / "tpmwire" / "peers" / "run"

needs_peers = pytest.mark.skipif(
    not RUN.exists(), reason="ssh-tpm-agent is not there: tools/peers gets it"
)


@contextlib.contextmanager
def their_agent(home: Home, *options: str | Path, **env: str) -> Iterator[dict[str, str]]:
    """Run ssh-tpm-agent; yield the variables by which clients find it."""
    path = home.path / "theirs.sock"
    # What it logs is little, and stays in the pipe until the end.
    with home.start(RUN, "ssh-tpm-agent", "-l", path, *options, **env) as running:
        try:
            end = time.monotonic() + PATIENCE
            while not path.exists():
                assert running.poll() is None, "their agent has ended"
                assert time.monotonic() < end, "their agent does not begin"
                time.sleep(0.02)
            yield {"SSH_AUTH_SOCK": str(path)}
        finally:
            running.terminate()
            running.communicate(timeout=PATIENCE)
    path.unlink(missing_ok=True)


def signs(home: Home, name: str, **env: str) -> bool:
    """Whether ssh-keygen gets a signature by a key, and verifies it."""
    home.write("text", "hello")
    (home.path / "text.sig").unlink(missing_ok=True)
    sign = ("ssh-keygen", "-Y", "sign", "-n", "file", "-f", f"{name}.pub", "text")
    if home.attempt(*sign, **env).returncode != 0:
        return False
    check = ("ssh-keygen", "-Y", "check-novalidate", "-n", "file", "-s", "text.sig")
    return "Good" in home.run(*check, given="hello")
