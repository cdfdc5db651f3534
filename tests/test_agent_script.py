"""tpmwire-agent, run as its users run it."""

import os
import re
import select
import shlex
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded, start_swtpm
from ssh_fixtures import Daemon, Home, Watch, agent, need
from terminal import Terminal

from tpmwire.constants import TPM_CC
from tpmwire.keyfile import KeyFile
from tpmwire.scripts.keyfiles import Contents

PIN = "correct horse"


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files of the TPM, made once: one without a PIN, one with, and an RSA key."""
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    home.run("tpmwire-keygen", "-q", "-N", "", "-C", "ada", "-f", "ada")
    home.run("tpmwire-keygen", "-q", "-N", PIN, "-C", "with PIN", "-f", "pin")
    home.run("tpmwire-keygen", "-q", "-N", "", "-C", "rsa", "-t", "rsa", "-f", "rsa")
    return home.path


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm, made: Path) -> Iterator[Home]:
    """A home directory with these keys in it; nothing may stay loaded in the TPM."""
    need("ssh-add")
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    home = Home(tmp_path, swtpm.conf)
    home.env.pop("SHELL", None)
    yield home
    assert left_loaded(swtpm) == ()


def comments(home: Home, daemon: Daemon) -> list[str]:
    """The comments of the keys that ssh-add lists, in order."""
    done = home.attempt("ssh-add", "-L", **daemon.env)
    return [line.split(" ", 2)[2] for line in done.stdout.splitlines() if "AAAA" in line]


def signs(home: Home, public: str, path: Path | str) -> bool:
    """Let ssh-add have something signed by the agent at a socket, and verify it."""
    return home.attempt("ssh-add", "-T", public, SSH_AUTH_SOCK=str(path)).returncode == 0


class Foreground:
    """An agent in the foreground, and its log."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        line = process.stdout.readline()
        found = re.fullmatch(r"SSH_AUTH_SOCK=(\S+); export SSH_AUTH_SOCK;\n", line)
        assert found, line
        self.path = Path(found[1])

    def log(self) -> str:
        """Wait for the next line of the log."""
        return self.process.stderr.readline()


@contextmanager
def bounded(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """Give a process a minute, so that nobody waits for ever for what it prints."""
    timer = threading.Timer(60, process.kill)
    timer.start()
    with process:
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()


@contextmanager
def foreground(home: Home, *arguments: str, **env: str) -> Iterator[Foreground]:
    with bounded(home.start("tpmwire-agent", "-D", *arguments, **env)) as process:
        started = Foreground(process)
        yield started
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert not started.path.exists()


# --- in the background ------------------------------------------------------------------------


def test_a_shell_evaluates_what_the_agent_prints_and_ssh_add_finds_it(home: Home):
    script = """
        eval "$(tpmwire-agent ada.tpm)" && ssh-add -l && ssh-add -T ada.pub
        echo "$SSH_AUTH_SOCK" "$SSH_AGENT_PID" >variables
        eval "$(tpmwire-agent -k)"
        echo "${SSH_AUTH_SOCK-none} ${SSH_AGENT_PID-none}"
    """
    fingerprint = home.run("ssh-keygen", "-l", "-f", "ada.pub")
    printed = home.run("sh", "-c", script).splitlines()
    path, pid = (home.path / "variables").read_text().split()
    assert printed == [
        f"Agent pid {pid}",
        fingerprint.strip(),
        f"Agent pid {pid} killed",
        "none none",
    ]
    ended(int(pid))
    assert not Path(path).exists()
    assert not Path(path).parent.exists()


def ended(pid: int) -> None:
    """Wait for a process to end that is not our child."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], 60)[0], "the agent does not end"
    finally:
        os.close(process)


def words(line: str) -> list[str]:
    """Part a line of a C shell, without its end."""
    assert line.endswith(";")
    return shlex.split(line[:-1])


def test_a_c_shell_gets_what_it_understands(home: Home):
    lines = home.run("tpmwire-agent", "-c", "ada.tpm").splitlines()
    (_, _, path), (_, _, pid), _ = map(words, lines)
    assert [words(line) for line in lines] == [
        ["setenv", "SSH_AUTH_SOCK", path],
        ["setenv", "SSH_AGENT_PID", pid],
        ["echo", "Agent", "pid", pid],
    ]
    assert signs(home, "ada.pub", path)
    lines = home.run("tpmwire-agent", "-c", "-k", SSH_AGENT_PID=pid).splitlines()
    assert [words(line) for line in lines] == [
        ["unsetenv", "SSH_AUTH_SOCK"],
        ["unsetenv", "SSH_AGENT_PID"],
        ["echo", "Agent", "pid", pid, "killed"],
    ]
    ended(int(pid))


def test_a_c_shell_evaluates_it(home: Home):
    need("tcsh")
    home.write("ask", "eval `tpmwire-agent -c ada.tpm`\nssh-add -T ada.pub\n")
    home.write("end", "set pid=$SSH_AGENT_PID\neval `tpmwire-agent -k`\necho $pid $?SSH_AUTH_SOCK")
    printed = home.run("tcsh", "-f", "-c", "source ask; source end", SHELL="/bin/tcsh")
    first, second, third = printed.splitlines()
    assert (first + " killed", third) == (second, f"{first.split()[-1]} 0")
    ended(int(first.split()[-1]))


@pytest.mark.parametrize(
    ("shell", "options", "csh"),
    [
        ("/bin/tcsh", [], True),
        ("/usr/bin/csh", [], True),
        ("/bin/bash", [], False),
        ("/bin/tcsh", ["-s"], False),
        ("/bin/bash", ["-c"], True),
        ("", [], False),
    ],
)
def test_the_shell_is_known_by_its_variable(home: Home, shell: str, options: list[str], csh: bool):
    with home.start("cat") as process:
        env = {"SHELL": shell, "SSH_AGENT_PID": str(process.pid)}
        printed = home.run("tpmwire-agent", "-k", *options, **env)
        assert process.wait(60) == -signal.SIGTERM
    assert printed.startswith("unsetenv" if csh else "unset ")


def test_a_path_that_a_shell_would_misread_is_quoted(home: Home):
    path = home.path / "it's a $HOME" / "sock"
    path.parent.mkdir()
    with agent(home, "-a", path, "ada.tpm") as daemon:
        assert daemon.path == path
        assert signs(home, "ada.pub", path)


def test_the_daemon_is_in_a_session_of_its_own_without_a_terminal(home: Home):
    with agent(home, "ada.tpm") as daemon:
        assert os.getsid(daemon.pid) == daemon.pid
        fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
        assert fields[4] == "0"  # tty_nr


def test_the_daemon_keeps_nothing_open_that_its_parent_had(home: Home):
    reader, writer = os.pipe()
    high = os.dup2(writer, 200)
    try:
        script = """
            exec 3>&200
            eval "$(tpmwire-agent ada.tpm)" >&2; echo $SSH_AUTH_SOCK; echo $SSH_AGENT_PID
        """
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=home.path,
            env=home.env,
            pass_fds=(writer, high),
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writer)
        os.close(high)
    path, pid = done.stdout.split()
    with closing(Daemon(path, int(pid))) as daemon:
        # The pipe ends for us when nobody has its other end any more.
        assert select.select([reader], [], [], 60)[0]
        assert os.read(reader, 1) == b""
        os.close(reader)
        assert signs(home, "ada.pub", daemon.path)
        if os.geteuid() != 0:  # the process keeps to itself
            return
        directory = Path(f"/proc/{daemon.pid}/fd")
        places = {int(entry.name): os.readlink(entry) for entry in directory.iterdir()}
        assert [places[number] for number in (0, 1, 2)] == [os.devnull] * 3
        assert [target.partition(":")[0] for target in places.values()].count("pipe") == 0
        assert all(target.startswith("socket:") for n, target in places.items() if n > 2)


def test_the_daemon_outlives_the_terminal_it_was_started_from(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ eval "$(tpmwire-agent -a sock ada.tpm)"
            Agent pid [...]
            $ ssh-add -T ada.pub; echo $?
            0
        """)
    pid = re.search(r"Agent pid (\d+)", terminal.screen)
    assert pid
    with closing(Daemon(str(home.path / "sock"), int(pid[1]))) as daemon:
        assert signs(home, "ada.pub", daemon.path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_daemon(home: Home, number: int):
    with agent(home, "ada.tpm") as daemon:
        daemon.signal(number)
        daemon.wait()
        assert not daemon.path.exists()


def test_a_socket_can_be_chosen_and_is_the_users_alone(home: Home):
    with agent(home, "-a", "sock", "ada.tpm") as daemon:
        assert daemon.path == home.path / "sock"
        assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o600
        assert comments(home, daemon) == ["ada"]
        done = home.attempt("tpmwire-agent", "-a", "sock", "rsa.tpm")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"tpmwire-agent: {daemon.path}: another agent listens there\n"
        assert comments(home, daemon) == ["ada"]


# --- ending it --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pid", "said"),
    [
        (None, "SSH_AGENT_PID is not set, so there is no agent to end"),
        ("", "SSH_AGENT_PID is not set, so there is no agent to end"),
        ("0", "SSH_AGENT_PID is '0', which is no process of an agent"),
        ("1", "SSH_AGENT_PID is '1', which is no process of an agent"),
        ("-1", "SSH_AGENT_PID is '-1', which is no process of an agent"),
        ("12ab", "SSH_AGENT_PID is '12ab', which is no process of an agent"),
        ("9" * 5000, f"SSH_AGENT_PID is '{'9' * 5000}', which is no process of an agent"),
        ("2147483647", "process 2147483647: No such process"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_agent_is_not_ended(home: Home, pid: str | None, said: str):
    home.env |= {} if pid is None else {"SSH_AGENT_PID": pid}
    # In a process group of its own, which is what the number 0 would mean.
    done = home.attempt("setsid", "--wait", "tpmwire-agent", "-k")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tpmwire-agent: {said}\n"


# --- which keys -------------------------------------------------------------------------------


def test_key_files_are_named_or_found_in_a_directory(home: Home):
    (home.path / "dir").mkdir()
    home.run("cp", "pin.tpm", "pin.pub", "rsa.tpm", "rsa.pub", "dir")
    (home.path / ".ssh").mkdir()
    home.run("cp", "rsa.tpm", "rsa.pub", ".ssh")
    with agent(home, "ada.tpm", "pin.tpm") as daemon:
        assert comments(home, daemon) == ["ada", "with PIN"]
    with agent(home, "--key-dir", "dir") as daemon:
        assert comments(home, daemon) == ["with PIN", "rsa"]
    with agent(home, "--key-dir", "dir", "ada.tpm") as daemon:
        assert comments(home, daemon) == ["ada", "with PIN", "rsa"]


def test_without_a_name_the_keys_of_the_ssh_directory_are_used(home: Home):
    (home.path / ".ssh").mkdir()
    home.run("cp", "ada.tpm", "ada.pub", ".ssh")
    with agent(home) as daemon:
        assert comments(home, daemon) == ["ada"]


def test_an_agent_without_keys_says_so_and_goes_on(home: Home):
    with foreground(home) as started:
        assert started.log() == (
            f"tpmwire-agent: no key files (*.tpm) in {home.path}/.ssh; tpmwire-keygen makes some\n"
        )
        listing = home.attempt("ssh-add", "-l", SSH_AUTH_SOCK=str(started.path))
    assert listing.stdout == "The agent has no identities.\n"


def test_a_directory_is_taken_by_its_name_and_not_as_a_pattern(home: Home):
    (home.path / "[ar]*").mkdir()
    home.run("cp", "rsa.tpm", "rsa.pub", "[ar]*")
    with agent(home, "--key-dir", "[ar]*") as daemon:
        assert comments(home, daemon) == ["rsa"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--key-dir", "none"], "none: No such file or directory"),
        (["--key-dir", "ada.tpm"], "ada.tpm: Not a directory"),
        (["none.tpm"], "none.tpm: No such file or directory"),
        (["."], ".: Is a directory"),
        (["ada.pub"], "ada.pub: no TSS2 PRIVATE KEY in it"),
        (["ada.tpm", "garbage"], "garbage: the TSS2 PRIVATE KEY is not base64"),
        (["-a", "ada.tpm", "ada.tpm"], "{home}/ada.tpm: there is something that is no socket"),
    ],
)
@pytest.mark.parametrize("mode", [[], ["-D"]], ids=["daemon", "foreground"])
def test_what_is_named_and_cannot_be_used_ends_the_agent(
    home: Home, mode: list[str], arguments: list[str], said: str
):
    home.write("garbage", "-----BEGIN TSS2 PRIVATE KEY-----\n???\n-----END TSS2 PRIVATE KEY-----\n")
    done = home.attempt("tpmwire-agent", *mode, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tpmwire-agent: {said.format(home=home.path)}\n"
    assert [path.name for path in home.path.glob("tpmwire-*")] == []


def test_what_cannot_be_used_in_a_directory_is_passed_over_with_a_word(home: Home):
    directory = home.path / "dir"
    directory.mkdir()
    home.run("cp", "ada.tpm", "ada.pub", "dir")
    home.write("dir/b.tpm", "garbage")
    (directory / "c.tpm").mkdir()
    os.mkfifo(directory / "d.tpm")
    (directory / "e.tpm").symlink_to("nowhere")
    home.write("dir/f.tpm", "", 0)
    command = without_privileges("tpmwire-agent", "-D", "--key-dir", "dir")
    with bounded(home.start(*command)) as process:
        started = Foreground(process)
        listed = home.run("ssh-add", "-L", SSH_AUTH_SOCK=str(started.path))
        process.terminate()
        said = process.communicate(timeout=60)[1]
    assert listed == (home.path / "ada.pub").read_text()
    assert said.splitlines() == [
        "tpmwire-agent: dir/b.tpm: no TSS2 PRIVATE KEY in it; passed over",
        "tpmwire-agent: dir/c.tpm: not an ordinary file; passed over",
        "tpmwire-agent: dir/d.tpm: not an ordinary file; passed over",
        "tpmwire-agent: dir/e.tpm: not an ordinary file; passed over",
        "tpmwire-agent: dir/f.tpm: Permission denied; passed over",
    ]


def without_privileges(*command: str) -> list[str]:
    """Make a command heed the permissions of files, even if root runs it."""
    if os.geteuid() != 0:
        return [*command]
    need("setpriv")
    less = "-dac_override,-dac_read_search"
    return ["setpriv", "--bounding-set", less, "--inh-caps", less, *command]


def test_a_key_is_called_by_its_public_file_or_description_or_name(home: Home):
    path = home.path / "other.tpm"
    shutil.copy(home.path / "ada.tpm", path)
    public = (home.path / "ada.pub").read_text()
    plain = KeyFile.from_pem(path.read_bytes())
    described = plain.replace(description="described")

    def called(keyfile: KeyFile) -> str:
        return Contents.read(str(path)).comment(str(path), keyfile)

    assert called(plain) == str(path)
    home.write("other.pub", public.replace(" ada", " my own words"))
    assert called(described) == "my own words"
    of_another_key = (home.path / "rsa.pub").read_text()
    for useless in ("", "no key\n", "ssh-rsa %%% ada\n", public.split()[0], of_another_key):
        home.write("other.pub", useless)
        assert called(plain) == str(path)
        assert called(described) == "described"
    with agent(home, "other.tpm") as daemon:
        assert comments(home, daemon) == ["other.tpm"]


def test_a_name_that_is_no_text_spoils_no_list(home: Home):
    name = os.fsdecode(b"caf\xe9.tpm")
    shutil.copy(home.path / "ada.tpm", home.path / name)
    with agent(home, name, "rsa.tpm") as daemon:
        assert comments(home, daemon) == ["caf\N{REPLACEMENT CHARACTER}.tpm", "rsa"]


def test_a_key_file_may_come_through_a_pipe(home: Home):
    line = 'timeout 60 tpmwire-agent -D -a sock <(cat ada.tpm) & trap "kill $!" EXIT; read line'
    with bounded(home.start("bash", "-c", line)) as process:
        assert process.stdout.readline().startswith("SSH_AUTH_SOCK=")
        assert signs(home, "ada.pub", home.path / "sock")
        process.communicate("\n", timeout=60)


# --- signing ----------------------------------------------------------------------------------


def test_an_agent_in_the_foreground_signs_and_ends_on_request(home: Home):
    with foreground(home, "-a", "sock", "ada.tpm", "rsa.tpm") as started:
        assert started.path == home.path / "sock"
        assert signs(home, "ada.pub", "sock")
        assert not signs(home, "pin.pub", "sock")
        assert "no such key here" in started.log()


def test_a_key_of_another_tpm_is_explained_in_the_log_and_the_agent_goes_on(
    home: Home, tmp_path: Path
):
    directory = tmp_path / "other"
    directory.mkdir()
    other = start_swtpm(directory)
    try:
        home.run("tpmwire-keygen", "-q", "-N", "", "-f", "own", TPMWIRE_TCTI=other.conf)
        with foreground(home, "--tpm", other.conf, "ada.tpm", "own.tpm") as started:
            assert not signs(home, "ada.pub", started.path)
            log = started.log()
            assert log.startswith("tpmwire-agent: sign failed: ")
            assert "another TPM" in log
            assert signs(home, "own.pub", started.path)
            assert left_loaded(other) == ()
    finally:
        other.process.kill()
        other.process.wait()


def test_a_tpm_that_is_not_there_is_told_at_once_and_used_when_it_is(home: Home, tmp_path: Path):
    directory = tmp_path / "tpm"
    directory.mkdir()
    with running(directory) as conf:
        home.run("tpmwire-keygen", "-q", "-N", "", "-f", "own", "--tpm", conf)
    missing = f"{conf}: No such file or directory"
    with foreground(home, "--tpm", conf, "own.tpm") as started:
        assert started.log() == f"tpmwire-agent: {missing}; no signatures until that changes\n"
        assert not signs(home, "own.pub", started.path)
        assert missing in started.log()
        with running(directory):
            assert signs(home, "own.pub", started.path)


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Have a swtpm running on its state in a directory."""
    swtpm = start_swtpm(directory)
    try:
        yield swtpm.conf
    finally:
        swtpm.process.kill()
        swtpm.process.wait()
        swtpm.path.unlink()
        Path(f"{swtpm.path}.ctrl").unlink()


def test_a_pin_is_asked_for_by_the_askpass_program(home: Home):
    with agent(home, "pin.tpm", **home.askpass(PIN)) as daemon:
        assert signs(home, "pin.pub", daemon.path)
        assert signs(home, "pin.pub", daemon.path)
    asked = (home.path / "prompts").read_text()
    assert asked.count("Asked by ssh-add -T pin.pub (") == 2
    assert asked.count("\nTo sign something unknown\nPIN for TPM key with PIN: \n") == 2


def test_a_pin_is_remembered_for_as_long_as_was_said(home: Home):
    with agent(home, "--pin-timeout", "600", "pin.tpm", **home.askpass(PIN)) as daemon:
        assert signs(home, "pin.pub", daemon.path)
        assert signs(home, "pin.pub", daemon.path)
    assert (home.path / "prompts").read_text().count("PIN for TPM key") == 1


def waiting_askpass(home: Home) -> dict[str, str]:
    """Make a program that notes its number and question, and gives the PIN when it is told to."""
    lines = (
        "#!/bin/sh",
        'printf "%s " $$ >>"$HOME/waiting"',
        "mkfifo $$.answer && read answer <$$.answer",
        'echo "$answer"',
    )
    program = home.write("waits", "\n".join(lines) + "\n", 0o700)
    return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}


def waiting(home: Home, count: int) -> list[int]:
    """Wait until so many programs wait for a PIN; return their numbers."""
    end = time.monotonic() + 60
    path = home.path / "waiting"
    while not path.exists() or len(path.read_text().split()) < count:
        assert time.monotonic() < end, "nobody asks"
        time.sleep(0.02)
    return [int(number) for number in path.read_text().split()]


def answer(home: Home, pid: int) -> None:
    path = home.path / f"{pid}.answer"
    while not path.exists():
        time.sleep(0.02)
    path.write_text(f"{PIN}\n")


def test_a_question_ends_with_the_client_and_another_one_gets_its_signature(home: Home):
    with foreground(home, "-a", "sock", "pin.tpm", **waiting_askpass(home)) as started:
        with asking(home) as client:
            (first,) = waiting(home, 1)
            client.kill()
        ended(first)
        assert started.log() == (
            "tpmwire-agent: sign failed: with PIN: "
            "the client went away while somebody was asked for it\n"
        )
        with asking(home) as client:
            answer(home, waiting(home, 2)[1])
            assert client.wait(60) == 0


def test_programs_that_ask_for_two_keys_run_side_by_side(home: Home):
    home.run("tpmwire-keygen", "-q", "-N", PIN, "-C", "second", "-f", "second")
    with (
        foreground(home, "-a", "sock", "pin.tpm", "second.tpm", **waiting_askpass(home)),
        asking(home) as client,
    ):
        first = waiting(home, 1)[0]
        with asking(home, "second.pub") as other:
            answer(home, waiting(home, 2)[1])
            assert other.wait(60) == 0
        assert client.poll() is None
        answer(home, first)
        assert client.wait(60) == 0


def test_a_daemon_without_an_askpass_program_asks_nobody(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ eval "$(tpmwire-agent pin.tpm)"
            Agent pid [...]
            $ ssh-add -T pin.pub; echo $?
            Agent signature failed for pin.pub: [...]
            1
            $ eval "$(tpmwire-agent -k)"
            Agent pid [...] killed
        """)


def asking(home: Home, public: str = "pin.pub") -> "subprocess.Popen[str]":
    return home.start("ssh-add", "-T", public, SSH_AUTH_SOCK=str(home.path / "sock"))


ASKED = (
    "Asked by ssh-add -T pin.pub ([...]), from [...]\n"
    "To sign something unknown\n"
    "PIN for TPM key with PIN: "
)
START = """
    $ tpmwire-agent -D -a sock pin.tpm ada.tpm
    SSH_AUTH_SOCK=[...]/sock; export SSH_AUTH_SOCK;
"""


def test_an_agent_in_the_foreground_asks_at_its_terminal(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play(START)
        for _ in range(2):
            with asking(home) as client:
                terminal.play(f"{ASKED}<*{PIN}>\n")
                assert client.wait(60) == 0
        terminal.play("<^C>")
        terminal.play("$ echo $?\n0\n")
    assert not (home.path / "sock").exists()


def test_no_pin_is_no_signature_and_the_agent_goes_on(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play(START)
        with asking(home) as client:
            terminal.play(f"{ASKED}<*^D>\n")
            terminal.play("tpmwire-agent: sign failed: with PIN: the PIN was not given\n")
            assert client.wait(60) == 1
        with asking(home, "ada.pub") as client:
            assert client.wait(60) == 0
        terminal.play("<^C>")


def test_an_agent_that_ends_while_it_asks_leaves_the_terminal_as_it_was(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play(START)
        with asking(home) as client:
            terminal.play(f"{ASKED}<*^C>")
            terminal.play("$ echo this is shown again\nthis is shown again\n")
            assert client.wait(60) == 1
    assert not (home.path / "sock").exists()


def test_a_question_at_the_terminal_ends_when_the_client_hangs_up(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play(START)
        with asking(home) as client:
            terminal.play(ASKED)
            client.kill()
            terminal.play("\n\ntpmwire-agent: sign failed: with PIN: the client went away [...]\n")
        with asking(home) as client:
            terminal.play(f"{ASKED}<*{PIN}>\n")
            assert client.wait(60) == 0
        terminal.play("<^C>")


def test_row_8_while_one_pin_is_asked_for_other_keys_sign(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play(START)
        with asking(home) as client:
            terminal.play(ASKED)
            assert signs(home, "ada.pub", home.path / "sock")
            terminal.play(f"<*{PIN}>\n")
            assert client.wait(60) == 0
        terminal.play("<^C>")


def test_an_agent_that_is_ended_lets_a_signature_come_to_its_end(home: Home, swtpm: Swtpm):
    daemons: list[Daemon] = []
    ended_at = []

    def end(code: int) -> None:
        if code == TPM_CC.Sign:
            daemons[0].signal(signal.SIGTERM)
            ended_at.append(daemons[0].lives())

    with (
        closing(Watch(home.path, swtpm.conf, end)) as watch,
        agent(home, "--tpm", watch.conf, "ada.tpm") as daemon,
    ):
        daemons.append(daemon)
        signs(home, "ada.pub", daemon.path)
        daemon.wait()
    assert ended_at == [True]
    assert left_loaded(swtpm) == ()


def test_of_an_emulated_tpm_one_line_says_that_there_is_no_hardware(home: Home):
    home.env["TPMWIRE_TCTI"] = f"embedded:dir={home.path}/tpm"
    with foreground(home, "ada.tpm") as started:
        assert started.log() == (
            "tpmwire-agent: this is an emulated TPM: its keys have no hardware behind them, "
            f"only the files in {home.path}/tpm\n"
        )


# --- usage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-x"], "unrecognized arguments: -x"),
        (["-D", "--key-di", "x"], "unrecognized arguments: --key-di"),
        (["-a"], "argument -a: expected one argument"),
        (["--tpm", "swtpn:path=x"], "argument --tpm: 'swtpn' is no way to a TPM"),
        (["ada.tpm"], "'nonsense' is no way to a TPM"),
        (["-D", "ada.tpm"], "'nonsense' is no way to a TPM"),
        (["--only", "userauth,all"], "'userauth,all' is none of certificate, sshsig, userauth"),
        (["--pin-timeout", "-1"], "'-1' is no number of seconds"),
        (["--pin-timeout", "1h"], "'1h' is no number of seconds"),
    ],
)
def test_wrong_usage_exits_with_2(home: Home, arguments: list[str], said: str):
    done = home.attempt("tpmwire-agent", *arguments, TPMWIRE_TCTI="nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert [path.name for path in home.path.glob("tpmwire-*")] == []


def test_help_and_version_need_nothing(home: Home):
    home.env["TPMWIRE_TCTI"] = "nonsense"
    assert home.run("tpmwire-agent", "--version").startswith("tpmwire-agent ")
    text = home.run("tpmwire-agent", "--help")
    assert all(option in text for option in ("-a", "-c", "-D", "-k", "-s", "--key-dir", "--tpm"))
    assert "exit codes: 0 ended on request, 1 failed, 2 wrong usage" in text
