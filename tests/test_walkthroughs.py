"""What the pages for users show on a terminal happens, from the first command to the last."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, start_swtpm
from ssh_fixtures import Home, Server, need
from walkthrough import agrees, perform, steps

DOCS = Path(__file__).parent.parent / "docs"
GIT = "[user]\nname = Ada\nemail = ada@example.com\n"


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[Swtpm]:
    """A TPM that nobody has used before."""
    need("swtpm")
    (tmp_path / "chip").mkdir()
    started = start_swtpm(tmp_path / "chip")
    yield started
    started.process.kill()
    started.process.wait()


@pytest.fixture
def home(chip: Swtpm, tmp_path: Path) -> Iterator[Home]:
    """The reader's home, and the server babbage.example, where a password has let him in before."""
    need("ssh", "sshd", "ssh-add", "ssh-keygen", "ssh-agent", "git", "openssl")
    (tmp_path / "home" / "bin").mkdir(parents=True)
    (tmp_path / "home" / ".ssh").mkdir(mode=0o700)
    home = Home(tmp_path / "home", chip.conf)
    server = Server(home, "")
    config = (home.path / "ssh_config").read_text().replace("Host server", "Host babbage.example")
    home.write("ssh_config", config)
    home.write(".gitconfig", GIT)
    ssh = f'exec /usr/bin/ssh -F {home.path}/ssh_config "$@"'
    home.write("bin/ssh", f"#!/bin/sh\n{ssh}\n", 0o700)
    copy = 'test "$1 $2 $4" = "-f -i babbage.example" && cat "$3" >> $HOME/authorized_keys'
    home.write("bin/ssh-copy-id", f"#!/bin/sh\n{copy}\n", 0o700)
    home.env["PATH"] = f"{home.path}/bin:{home.env['PATH']}"
    home.env |= home.askpass("my PIN")
    yield home
    server.close()


def check(page: str, home: Home) -> None:
    """Run all that a page shows; a command of which it shows no output has to succeed."""
    shown = list(steps(page))
    assert len(shown) > 5
    done = perform(home, [step.command for step in shown])
    assert len(done) == len(shown)
    for step, (printed, code) in zip(shown, done, strict=True):
        as_shown = agrees(step.shown, printed, home.path) if step.shown else code == 0
        assert as_shown, f"{step.command}: {code}\n{printed}"


def test_the_tutorial_leads_to_a_login(home: Home):
    check((DOCS / "tutorial.rst").read_text(), home)


def test_what_is_shown_about_ssh_happens(home: Home):
    home.run("tpmwire-keygen", "-q", "-f", ".ssh/work")
    check((DOCS / "ssh.rst").read_text(), home)


@pytest.mark.parametrize(
    ("shown", "printed", "agree"),
    [
        ("hello", "hello\n", True),
        ("hello", "hello\nand more\n", False),
        ("hello\n...", "hello\nand more\n", True),
        ("in /home/ada/.ssh", "in HOME/.ssh\n", True),
        ("Agent pid 4711", "Agent pid 99\n", True),
        ("SHA256:... (RSA)", f"SHA256:{'x' * 43} (ECDSA)\n", False),
    ],
)
def test_dots_and_who_it_is_make_no_difference_all_else_does(
    shown: str, printed: str, agree: bool, tmp_path: Path
):
    assert agrees(shown, printed.replace("HOME", str(tmp_path)), tmp_path) == agree
