"""The agent as systemd starts it: its units, and the socket that it is handed."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded
from ssh_fixtures import PATIENCE, Home, need

from tpmwire.scripts import units

LAUNCH = """
import os, socket, sys
listener = socket.socket(*eval(os.environ.pop("KIND")))
if listener.family == socket.AF_UNIX:
    listener.bind("sock")
    os.chmod("sock", 0o600)
if os.environ.pop("LISTENS") == "1":
    listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""What systemd does: makes a socket, and starts a program with it as descriptor 3."""

UNIX = "socket.AF_UNIX, socket.SOCK_STREAM"


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    home.run("tpmwire-keygen", "-q", "-N", "", "-C", "ada", "-f", "ada")
    return home.path


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm, made: Path) -> Iterator[Home]:
    need("ssh-add")
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    yield Home(tmp_path, swtpm.conf)
    assert left_loaded(swtpm) == ()


@contextlib.contextmanager
def launched(
    home: Home, *arguments: str, kind: str = UNIX, listens: str = "1", **env: str
) -> Iterator["subprocess.Popen[str]"]:
    """Start an agent as systemd does."""
    env = {"LISTEN_FDS": "1", "KIND": kind, "LISTENS": listens} | env
    command = (sys.executable, "-c", LAUNCH, "tpmwire-agent", "-D", *arguments)
    with home.start(*command, **env) as process:
        try:
            yield process
        finally:
            process.kill()


def signs(home: Home) -> bool:
    end = time.monotonic() + PATIENCE
    while not (home.path / "sock").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    sock = str(home.path / "sock")
    return home.attempt("ssh-add", "-T", "ada.pub", SSH_AUTH_SOCK=sock).returncode == 0


def test_an_agent_listens_on_the_socket_that_it_was_started_with(home: Home):
    with launched(home, "ada.tpm", LISTEN_FDNAMES="tpmwire-agent.socket") as process:
        assert signs(home)
        assert signs(home)
        process.terminate()
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 0
    # The socket stays, for the one who made it may start another agent with it.
    assert (home.path / "sock").exists()


def test_systemd_itself_starts_it_when_the_first_client_comes(home: Home):
    need("systemd-socket-activate")
    command = ("systemd-socket-activate", "--fdname=x", "-l", home.path / "sock")
    passed = [f"-E{name}" for name in ("HOME", "PATH", "TPMWIRE_TCTI", "PYTHONPATH", "TMPDIR")]
    with home.start(*command, *passed, "tpmwire-agent", "-D", "ada.tpm") as process:
        try:
            assert signs(home)
            assert signs(home)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(
    "env", [{"LISTEN_PID": "1"}, {"LISTEN_PID": "x"}, {"LISTEN_PID": ""}], ids=lambda env: str(env)
)
def test_a_socket_that_is_meant_for_another_process_is_not_taken(home: Home, env: dict[str, str]):
    with launched(home, "-a", "own", "ada.tpm", **env) as process:
        assert process.stdout.readline().startswith("SSH_AUTH_SOCK=")
        own = str(home.path / "own")
        assert home.attempt("ssh-add", "-T", "ada.pub", SSH_AUTH_SOCK=own).returncode == 0
        process.terminate()
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"LISTEN_FDS": "2"}, "LISTEN_FDS is '2', but one socket is wanted"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS is '-1', but one socket is wanted"),
        ({"LISTEN_FDS": "x"}, "LISTEN_FDS is 'x', but one socket is wanted"),
        ({"listens": "0"}, "descriptor 3 is no Unix socket that listens"),
        (
            {"kind": "socket.AF_UNIX, socket.SOCK_DGRAM", "listens": "0"},
            "descriptor 3 is no Unix socket that listens",
        ),
        (
            {"kind": "socket.AF_INET, socket.SOCK_STREAM"},
            "descriptor 3 is no Unix socket that listens",
        ),
    ],
    ids=["two", "negative", "no number", "does not listen", "datagrams", "internet"],
)
def test_what_is_handed_over_and_cannot_be_used_ends_the_agent(
    home: Home, change: dict[str, str], said: str
):
    with launched(home, "ada.tpm", **change) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (1, "", f"tpmwire-agent: {said}\n")


def test_no_program_that_the_agent_starts_gets_the_socket_or_hears_of_it(home: Home):
    home.run("tpmwire-keygen", "-q", "-N", "1234", "-f", "pin")
    program = home.write(
        "askpass",
        "#!/bin/sh\nenv >env; for f in /proc/$$/fd/*; do readlink $f; done >fds; echo 1234\n",
        0o700,
    )
    env = {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}
    with launched(home, "ada.tpm", "pin.tpm", LISTEN_FDNAMES="x", **env) as process:
        assert signs(home)
        sock = str(home.path / "sock")
        assert home.attempt("ssh-add", "-T", "pin.pub", SSH_AUTH_SOCK=sock).returncode == 0
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert "LISTEN_" not in (home.path / "env").read_text()
    assert "socket:" not in (home.path / "fds").read_text()


# --- units ------------------------------------------------------------------------------------


def test_the_units_of_a_user_are_written_and_say_what_to_do(home: Home):
    said = home.run("tpmwire-agent", "--install-user-units")
    place = home.path / ".config/systemd/user"
    names = ["tpmwire-agent.service", "tpmwire-agent.socket"]
    assert sorted(path.name for path in place.iterdir()) == names
    assert "systemctl --user enable --now tpmwire-agent.socket" in said
    program = shutil.which("tpmwire-agent", path=home.env["PATH"])
    assert f'ExecStart="{program}" -D\n' in (place / names[0]).read_text()
    assert (place / names[0]).stat().st_mode & 0o777 == 0o644
    # A second time, and after a change, the same.
    (place / names[0]).write_text("old")
    home.run("tpmwire-agent", "--install-user-units")
    assert "ExecStart=" in (place / names[0]).read_text()


def test_the_place_of_the_users_configuration_is_heeded(home: Home):
    home.run("tpmwire-agent", "--install-user-units", XDG_CONFIG_HOME=str(home.path / "conf"))
    assert (home.path / "conf/systemd/user/tpmwire-agent.socket").exists()
    assert not (home.path / ".config").exists()


def test_the_units_of_the_system_are_written_and_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(units, "SYSTEM_PLACE", str(tmp_path / "system"))
    monkeypatch.setattr(units.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert units.install_for_system("tpmwire-agent") == 0
    service = (tmp_path / "system/tpmwire-agent.service").read_text()
    assert 'ExecStart="/usr/bin/tpmwire-agent" -D --key-dir /etc/ssh' in service
    assert "HostKeyAgent /run/tpmwire-agent.sock" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["user", "system"])
def test_systemd_finds_nothing_wrong_with_the_units(kind: str, tmp_path: Path):
    need("systemd-analyze")
    program = tmp_path / "a program 100%"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    for name in ("tpmwire-agent.socket", "tpmwire-agent.service"):
        (tmp_path / name).write_text(units.unit(kind, name, str(program)))
    done = subprocess.run(
        ["systemd-analyze", f"--{kind}", "--man=no", "verify", *tmp_path.glob("tpmwire-agent.*")],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_of_the_system_is_hardened_well():
    """systemd's own measure goes from 0 to 10; below 2 is better than most of what it ships."""
    need("systemd-analyze")
    text = units.unit("system", "tpmwire-agent.service", "/bin/true")
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"tpmwire-agent-{os.getpid()}.service"
    path.write_text(text)
    try:
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", path],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    finally:
        path.unlink()
    level = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
    assert level
    assert float(level[1]) < 2


def test_the_units_are_part_of_the_package():
    """A source tree has them anyway; what is built has what setup.cfg names."""
    import configparser

    setup = configparser.ConfigParser()
    root = Path(units.__file__).parent
    setup.read(root.parent.parent / "setup.cfg")
    pattern = setup["options.package_data"]["tpmwire.scripts"]
    assert len([*root.glob(pattern)]) == 4
