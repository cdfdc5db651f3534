"""The programs in tools/, and what .ci/run runs."""

import ctypes
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ssh_fixtures import OUTER, need

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / "tools"
SET_CHILD_SUBREAPER = 36  # of prctl(2)
PATIENCE = 60.0


def is_shell(path: Path) -> bool:
    return path.suffix == ".sh" or path.read_bytes().startswith(b"#!/usr/bin/env bash\n")


SHELL_TOOLS = [
    path
    for path in (*sorted(TOOLS.iterdir()), ROOT / ".ci" / "run")
    if path.is_file() and is_shell(path)
]


def run(
    *command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


# --- arguments --------------------------------------------------------------------------------


def test_there_are_shell_tools():
    assert {path.name for path in SHELL_TOOLS} == {
        "demo",
        "environment.sh",
        "fuzz",
        "peers",
        "run",
        "test",
        "vm",
    }


@pytest.mark.parametrize("path", SHELL_TOOLS, ids=lambda path: path.name)
def test_bash_can_read_a_tool(path: Path):
    done = run("bash", "-n", path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("name", ["demo", "peers", "test", "vm"])
def test_help_is_what_stands_at_the_top_from_wherever_it_is_asked_for(name: str, option: str):
    comment = [
        line.removeprefix("#").removeprefix(" ")
        for line in (TOOLS / name).read_text().split("\n\n")[0].splitlines()[1:]
    ]
    for cwd, command in ((ROOT, f"tools/{name}"), (TOOLS, f"./{name}"), (Path("/"), TOOLS / name)):
        done = run(command, option, cwd=cwd)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == comment


@pytest.mark.parametrize("arguments", [["x"], ["--verbose"], [""], ["", "x"], ["-h", "x"]])
def test_a_demo_takes_no_arguments(arguments: list[str]):
    done = run(TOOLS / "demo", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tools/demo takes no arguments; see --help\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "wants a command"),
        (["--seconds", "5"], "wants a command"),
        (["--no-such"], "does not know --no-such"),
    ],
)
def test_a_virtual_machine_wants_a_command(arguments: list[str], said: str):
    done = run(TOOLS / "vm", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tools/vm {said}; see --help\n"


@pytest.mark.parametrize("arguments", [["x"], ["--other"], [""], ["--again", "x"]])
def test_peers_takes_no_other_arguments(arguments: list[str]):
    done = run(TOOLS / "peers", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tools/peers takes no arguments but --again; see --help\n"


def test_the_first_process_of_the_virtual_machine_can_be_read_by_its_shell():
    need("busybox")
    done = run("busybox", "sh", "-n", TOOLS / "vm-init")
    assert (done.returncode, done.stderr) == (0, "")


# --- setting up -------------------------------------------------------------------------------


class Checkout:
    """A copy of the shell tools, in which other programs are replaced by ones that take notes."""

    def __init__(self, path: Path) -> None:
        self.path, self.bin, self.notes = path, path / "bin", path / "notes"
        shutil.copytree(TOOLS, path / "tools", ignore=lambda *_: [])
        shutil.copytree(ROOT / ".ci", path / ".ci")
        shutil.copy(ROOT / "setup.cfg", path)
        self.bin.mkdir()
        (path / "tmp").mkdir()
        for name in ("bash", "dirname", "env", "mktemp", "tail", "rm", "touch", "mkdir", "cp"):
            (self.bin / name).symlink_to(shutil.which(name))

    def program(self, name: str, *lines: str) -> Path:
        """Make a program that notes how it is called, and then does these lines."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        note = f'echo "{path.name}${{*:+ }}$*" >>{self.notes}'
        path.write_text("\n".join(("#!/bin/sh", note, *lines, "")))
        path.chmod(0o755)
        return path

    def run(self, *command: str | Path) -> "subprocess.CompletedProcess[str]":
        env = {"PATH": str(self.bin), "TMPDIR": str(self.path / "tmp"), "HOME": str(self.path)}
        return run(*command, cwd=self.path, env=env)

    def source(self, *lines: str) -> "subprocess.CompletedProcess[str]":
        """Run lines of shell after tools/environment.sh."""
        return self.run("bash", "-c", "\n".join((". tools/environment.sh", *lines)))

    def noted(self) -> list[str]:
        notes = self.notes.read_text().splitlines() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return notes


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


WANTED = ("need no-such-program some-package", "need_file '/no/such/*.so' other-package")


def test_sourcing_twice_does_no_harm(checkout: Checkout):
    done = checkout.source(". tools/environment.sh", "install_needed", "pwd")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{checkout.path}\n", "")


def test_what_is_there_is_not_installed(checkout: Checkout):
    checkout.program("bin/apt-get")
    done = checkout.source("need bash bash", f"need_file '{ROOT}/setup.*' file", "install_needed")
    assert (done.returncode, done.stderr, checkout.noted()) == (0, "", [])


def test_without_apt_the_packages_are_named(checkout: Checkout):
    done = checkout.source(*WANTED, "install_needed")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Please install these first, by the means of your system: some-package other-package\n"
    )


def test_what_is_missing_is_installed_by_root(checkout: Checkout):
    checkout.program("bin/id", "echo 0")
    checkout.program("bin/apt-get")
    done = checkout.source(*WANTED, "install_needed", "install_needed")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Installing from the distribution: some-package other-package\n"
    install = "apt-get install -q -y --no-install-recommends some-package other-package"
    assert [n for n in checkout.noted() if n.startswith("apt")] == ["apt-get update -q", install]
    assert list((checkout.path / "tmp").iterdir()) == []


def test_who_is_not_root_installs_by_sudo(checkout: Checkout):
    checkout.program("bin/id", "echo 1000")
    checkout.program("bin/sudo", '"$@"')
    checkout.program("bin/apt-get")
    assert checkout.source(*WANTED, "install_needed").returncode == 0
    assert [n for n in checkout.noted() if n.startswith("sudo")] == [
        "sudo apt-get update -q",
        "sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "
        "some-package other-package",
    ]


def test_who_is_neither_root_nor_has_sudo_is_told_what_to_do(checkout: Checkout):
    checkout.program("bin/id", "echo 1000")
    checkout.program("bin/apt-get")
    done = checkout.source(*WANTED, "install_needed")
    assert done.returncode == 1
    assert "This has to be done as root: apt-get update -q\n" in done.stderr
    assert [note for note in checkout.noted() if note.startswith("apt")] == []


def test_a_failed_installation_is_told_with_its_last_lines(checkout: Checkout):
    checkout.program("bin/id", "echo 0")
    checkout.program("bin/apt-get", 'echo "E: no network" >&2', "exit 100")
    done = checkout.source(*WANTED, "install_needed", "echo goes on")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == [
        "E: no network",
        "The installation failed; the last lines above say why.",
    ]
    assert list((checkout.path / "tmp").iterdir()) == []


def test_before_a_server_is_installed_it_says_what_that_does(checkout: Checkout):
    checkout.program("bin/id", "echo 0")
    checkout.program("bin/apt-get")
    done = checkout.source("need no-sshd openssh-server", "install_needed")
    assert "also starts an SSH server of this machine" in done.stderr


@pytest.mark.parametrize(
    ("pythons", "found"),
    [
        ({"python3": True, "python3.12": True}, "python3"),
        ({"python3": False, "python3.12": True}, "python3.12"),
        ({"python3": False, "python3.11": True, "python3.13": True}, "python3.13"),
        ({"python3.11": True}, "python3.11"),
    ],
)
def test_a_python_that_is_new_enough_is_found(
    checkout: Checkout, pythons: dict[str, bool], found: str
):
    for name, new in pythons.items():
        checkout.program(f"bin/{name}", f"exit {0 if new else 1}")
    assert checkout.source("find_python").stdout == f"{found}\n"


@pytest.mark.parametrize("pythons", [[], ["python3"]])
def test_without_a_python_that_is_new_enough_it_says_which_is(
    checkout: Checkout, pythons: list[str]
):
    for name in pythons:
        checkout.program(f"bin/{name}", "exit 1")
    done = checkout.source("make_venv run")
    assert done.returncode == 1
    assert done.stderr == "tpmwire needs Python 3.11 or later.\n"


@pytest.fixture
def with_python(checkout: Checkout) -> Checkout:
    """A checkout with a Python, the virtual environments of which have a pip."""
    pip = checkout.program("pip")
    make = f"mkdir -p .venv/bin && cp {pip} .venv/bin/pip"
    checkout.program("bin/python3", f'[ "$*" != "-m venv .venv" ] || {{ {make}; }}')
    return checkout


INSTALL = "pip install -q --disable-pip-version-check -e"


@pytest.mark.parametrize(("extra", "spec"), [("run", "."), ("test", ".[test]"), ("dev", ".[dev]")])
def test_a_virtual_environment_is_made_once(with_python: Checkout, extra: str, spec: str):
    done = with_python.source(f"make_venv {extra}")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "Making a virtual environment in .venv",
        f"Installing tpmwire with what it needs ({extra}) into .venv",
    ]
    assert [n for n in with_python.noted() if n.startswith("pip")] == [f"{INSTALL} {spec}"]
    done = with_python.source(f"make_venv {extra}")
    assert (done.returncode, done.stderr, with_python.noted()) == (0, "", [])


def test_an_environment_for_development_is_one_for_everything(with_python: Checkout):
    with_python.source("make_venv dev")
    with_python.noted()
    done = with_python.source("make_venv run", "make_venv test")
    assert (done.returncode, done.stderr, with_python.noted()) == (0, "", [])


def test_an_environment_for_use_is_none_for_development(with_python: Checkout):
    with_python.source("make_venv run")
    with_python.noted()
    done = with_python.source("make_venv dev")
    assert "Making" not in done.stderr
    assert [n for n in with_python.noted() if n.startswith("pip")] == [f"{INSTALL} .[dev]"]


def test_other_requirements_are_installed_anew(with_python: Checkout):
    with_python.source("make_venv run")
    with_python.noted()
    mark = (with_python.path / ".venv" / ".tpmwire-run").stat()
    os.utime(with_python.path / "setup.cfg", (mark.st_atime + 1, mark.st_mtime + 1))
    with_python.source("make_venv run")
    assert [n for n in with_python.noted() if n.startswith("pip")] == [f"{INSTALL} ."]


def test_what_could_not_be_installed_is_tried_again(with_python: Checkout):
    with_python.program("pip", "exit 1")
    assert with_python.source("make_venv run").returncode != 0
    with_python.noted()
    with_python.program(".venv/bin/pip")
    assert with_python.source("make_venv run").returncode == 0
    assert [n for n in with_python.noted() if n.startswith("pip")] == [f"{INSTALL} ."]


# --- tools/test and .ci/run -------------------------------------------------------------------


@pytest.fixture
def testable(checkout: Checkout) -> Checkout:
    """A checkout in which nothing is missing for tools/test."""
    programs = ("swtpm", "tpm2_create", "ssh", "sshd", "git", "openssl")
    for name in (*programs, "tcsh", "zsh", "fish", "man", "mandoc", "cpio", "qemu-system-x86_64"):
        checkout.program(f"bin/{name}")
    environment = checkout.path / "tools" / "environment.sh"
    with environment.open("a") as file:
        file.write("need_file() { :; }\n")
    for name in ("ruff", "mypy", "python", "sphinx-build"):
        checkout.program(f".venv/bin/{name}")
    checkout.program("tools/fuzz")
    checkout.program("tools/vm")
    (checkout.path / ".venv" / ".tpmwire-dev").touch()
    return checkout


LINT = ["ruff check .", "ruff format --check --quiet ."]
PYTEST = "python -m pytest --cov --cov-report=term"
ON_DEVICE = "pytest tests/device --device /dev/tpmrm0 --destructive -p no:cacheprovider"
DOCS = [
    "sphinx-build -q -W --keep-going -b html docs build/docs",
    "sphinx-build -q -W -b doctest docs build/doctest",
]
DEVICE = f"vm .venv/bin/python -m {ON_DEVICE}"
FUZZ = "fuzz --if-possible --seconds 20"


def test_all_is_tested_in_order_and_pytest_gets_the_rest(testable: Checkout):
    done = testable.run("tools/test")
    assert (done.returncode, done.stderr) == (
        0,
        "== lint\n== types\n== tests\n== docs\n== device\n== fuzz\n",
    )
    assert testable.noted() == [*LINT, "mypy", PYTEST, *DOCS, DEVICE, FUZZ]
    assert testable.run("tools/test", "-k", "a name").returncode == 0
    assert testable.noted() == [*LINT, "mypy", f"{PYTEST} -k a name", FUZZ]


@pytest.mark.parametrize(
    ("failing", "noted"),
    [
        ("ruff", LINT[:1]),
        ("mypy", [*LINT, "mypy"]),
        ("python", [*LINT, "mypy", PYTEST]),
        ("sphinx-build", [*LINT, "mypy", PYTEST, DOCS[0]]),
        ("../../tools/vm", [*LINT, "mypy", PYTEST, *DOCS, DEVICE]),
        ("../../tools/fuzz", [*LINT, "mypy", PYTEST, *DOCS, DEVICE, FUZZ]),
    ],
)
def test_the_first_failure_ends_the_tests(testable: Checkout, failing: str, noted: list[str]):
    testable.program(f".venv/bin/{failing}", "exit 3")
    assert testable.run("tools/test").returncode == 3
    assert testable.noted() == noted


def test_a_change_has_to_pass_the_tests_and_then_the_demo(checkout: Checkout):
    checkout.program("tools/test")
    checkout.program("tools/demo")
    assert checkout.run(".ci/run").returncode == 0
    assert checkout.noted() == ["test", "demo"]
    checkout.program("tools/demo", "exit 4")
    assert checkout.run(".ci/run").returncode == 4
    checkout.noted()
    checkout.program("tools/test", "exit 3")
    assert checkout.run(".ci/run").returncode == 3
    assert checkout.noted() == ["test"]


# --- tools/peers ------------------------------------------------------------------------------


@pytest.fixture
def fetching(checkout: Checkout) -> Checkout:
    """A checkout with an apt-get that has the packages, and a C library that runs what it is told.

    The loader of the packages prints its arguments, so that one sees what would be run.
    """
    for name in ("cat", "chmod", "mv"):
        (checkout.bin / name).symlink_to(shutil.which(name))
    environment = checkout.path / "tools" / "environment.sh"
    with environment.open("a") as file:
        file.write("need_file() { :; }\n")
    checkout.program("bin/apt-get", 'case "$*" in *download*) : >a.deb; : >b.deb ;; esac')
    loader = "printf '#!/bin/sh\\necho \"$@\"\\n' >$3/usr/lib/here/ld-linux-here.so.2"
    made = "mkdir -p $3/usr/lib/here", loader, "chmod +x $3/usr/lib/here/ld-linux-here.so.2"
    checkout.program("bin/dpkg-deb", *made)
    return checkout


def test_peers_are_got_once_and_nothing_is_installed(fetching: Checkout):
    done = fetching.run("tools/peers")
    cache = fetching.path / ".cache/tpmwire"
    assert (done.returncode, done.stdout) == (0, f"{cache}/peers/run\n")
    update, download, *unpack = fetching.noted()
    assert update.endswith(" update")
    assert download.endswith(" download ssh-tpm-agent libc6")
    for call in (update, download):
        assert "-o Dir::Etc::sourceparts=- " in call
        assert f"-o Dir::State::lists={cache}/peers." in call
    assert [line.split()[:2] for line in unpack] == [["dpkg-deb", "-x"]] * 2
    done = fetching.run("tools/peers")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{cache}/peers/run\n", "")
    assert fetching.noted() == []
    assert [path.name for path in cache.iterdir()] == ["peers"]
    assert fetching.run("tools/peers", "--again").returncode == 0
    assert len(fetching.noted()) == 4


def test_a_peer_is_run_with_the_library_from_beside_it(fetching: Checkout):
    program = fetching.run("tools/peers").stdout.strip()
    root = fetching.path / ".cache/tpmwire/peers/root/usr"
    done = fetching.run(program, "ssh-tpm-add", "a b", "c")
    assert done.stdout == (
        f"--library-path {root}/lib/here --argv0 ssh-tpm-add {root}/bin/ssh-tpm-add a b c\n"
    )


def test_peers_that_cannot_be_got_leave_the_old_ones(fetching: Checkout):
    fetching.run("tools/peers")
    fetching.program("bin/apt-get", 'echo "E: no network" >&2', "exit 100")
    done = fetching.run("tools/peers", "--again")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == [
        "E: no network",
        "They could not be got; the last lines above say why.",
    ]
    assert [path.name for path in (fetching.path / ".cache/tpmwire").iterdir()] == ["peers"]
    assert fetching.run("tools/peers").returncode == 0


def test_without_apt_there_are_no_peers(checkout: Checkout):
    done = checkout.run("tools/peers")
    assert (done.returncode, done.stdout) == (1, "")
    assert "by apt-get, which is not here" in done.stderr


# --- the demo ---------------------------------------------------------------------------------


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """Variables for a demo in a home and a temporary directory of its own, on an emulator."""
    need("swtpm", "sshd", "ssh")
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    outer = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
    places = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    return outer | places | {"TPMWIRE_TCTI": "embedded"}


@contextmanager
def nothing_left_running() -> Iterator[None]:
    """Check that processes which lose their parent, and so become ours, come to an end."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    before = children()
    assert prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
        for pid in children() - before:
            process = os.pidfd_open(pid)
            ended = select.select([process], [], [], PATIENCE)[0]
            os.close(process)
            assert ended, Path(f"/proc/{pid}/cmdline").read_bytes()
            os.waitpid(pid, 0)
    finally:
        prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def children() -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(path.parent.name))
    return found


def left_in(env: dict[str, str]) -> list[Path]:
    return [path for place in ("HOME", "TMPDIR") for path in Path(env[place]).rglob("*")]


def test_the_demo_shows_a_login_and_leaves_nothing(surroundings: dict[str, str]):
    with nothing_left_running():
        done = run(TOOLS / "demo", env=surroundings)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout.splitlines()
    assert "demo-key (ECDSA)" in done.stdout
    assert [line for line in shown if line.startswith("Logged in as ")]
    assert "refused, as it should be" in shown
    assert [line for line in shown if line.startswith('Good "file" signature for me with ECDSA')]
    assert "Could not verify signature." in shown
    assert "no hardware behind them" in done.stderr
    assert left_in(surroundings) == []


@pytest.mark.parametrize(
    ("step", "kill", "number"),
    [
        ("# A login", os.kill, signal.SIGTERM),
        ("# The same without the key", os.kill, signal.SIGHUP),
        ("# A signed file", os.killpg, signal.SIGINT),  # what Control-C does
    ],
)
def test_an_interrupted_demo_leaves_nothing(
    surroundings: dict[str, str], step: str, kill: Callable[[int, int], None], number: int
):
    with nothing_left_running():
        demo = subprocess.Popen(
            [TOOLS / "demo"],
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        with demo:
            try:
                assert any(line.startswith(step) for line in demo.stdout)
                kill(demo.pid, number)
                demo.communicate(timeout=PATIENCE)
            finally:
                demo.kill()
    assert demo.returncode == 1
    assert left_in(surroundings) == []


def test_a_demo_ends_no_agent_but_its_own(surroundings: dict[str, str]):
    with subprocess.Popen(["sleep", "300"]) as other:
        try:
            env = surroundings | {"SSH_AGENT_PID": str(other.pid), "PATH": "/usr/bin:/bin"}
            env |= {"TPMWIRE_TCTI": "nonsense"}
            done = run(TOOLS / "demo", env=env)
            assert done.returncode == 2
            assert "'nonsense' is no way to a TPM" in done.stderr
            assert other.poll() is None
        finally:
            other.kill()
    assert left_in(surroundings) == []
