"""The agent as a process: its log, its manners, and a TPM that hangs, dies and comes back."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded, start_swtpm
from cryptography.hazmat.primitives.asymmetric import ec
from ssh_fixtures import PATIENCE, Daemon, Home, agent, need

from tpmwire.keyfile import KeyFile
from tpmwire.scripts import journal, uses
from tpmwire.ssh.occasion import Occasion, Peer
from tpmwire.types import TPMS_ECC_POINT

PIN = "correct horse"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Swtpm]:
    """A swtpm of the test's own, which it may treat as it likes."""
    need("swtpm", "ssh-add")
    (tmp_path / "tpm").mkdir()
    started = start_swtpm(tmp_path / "tpm")
    yield started
    if started.process.poll() is None:
        started.process.send_signal(signal.SIGCONT)
        started.process.kill()
    started.process.wait()


@pytest.fixture
def home(tmp_path: Path, own: Swtpm) -> Home:
    """A home with a key without a PIN, and one with."""
    home = Home(tmp_path, own.conf)
    home.run("tpmwire-keygen", "-q", "-N", "", "-C", "ada", "-f", "ada")
    home.run("tpmwire-keygen", "-q", "-N", PIN, "-C", "with PIN", "-f", "pin")
    return home


def signing(home: Home, daemon: Daemon, public: str = "ada.pub") -> "subprocess.Popen[str]":
    return home.start("ssh-add", "-T", public, **daemon.env)


def signs(home: Home, daemon: Daemon) -> bool:
    with signing(home, daemon) as client:
        return client.wait(PATIENCE) == 0


# --- a TPM that hangs, dies and comes back ----------------------------------------------------


def test_a_tpm_that_was_killed_and_started_again_is_used_without_a_new_agent(
    home: Home, own: Swtpm, tmp_path: Path
):
    with agent(home, "ada.tpm") as daemon:
        assert signs(home, daemon)
        own.process.kill()
        own.process.wait()
        assert not signs(home, daemon)
        for name in ("sock", "sock.ctrl"):
            (tmp_path / "tpm" / name).unlink()
        again = start_swtpm(tmp_path / "tpm")
        try:
            assert signs(home, daemon)
            assert left_loaded(again) == ()
        finally:
            again.process.kill()
            again.process.wait()


def test_a_tpm_that_dies_in_the_middle_fails_one_signature_only(
    home: Home, own: Swtpm, tmp_path: Path
):
    with agent(home, "ada.tpm") as daemon:
        own.process.send_signal(signal.SIGSTOP)
        with signing(home, daemon) as client:
            wait_until_it_waits_for_the_tpm(daemon)
            own.process.kill()
            own.process.wait()
            assert client.wait(PATIENCE) == 1
        for name in ("sock", "sock.ctrl"):
            (tmp_path / "tpm" / name).unlink()
        again = start_swtpm(tmp_path / "tpm")
        try:
            assert signs(home, daemon)
        finally:
            again.process.kill()
            again.process.wait()


def wait_until_it_waits_for_the_tpm(daemon: Daemon) -> None:
    """Wait until a client is served by a thread of its own, which has had its time."""
    end = time.monotonic() + PATIENCE
    while len(os.listdir(f"/proc/{daemon.pid}/task")) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.5)


def test_while_a_tpm_sleeps_keys_are_listed_and_afterwards_all_is_signed(home: Home, own: Swtpm):
    with agent(home, "ada.tpm") as daemon:
        own.process.send_signal(signal.SIGSTOP)
        with signing(home, daemon) as first, signing(home, daemon) as second:
            wait_until_it_waits_for_the_tpm(daemon)
            assert home.run("ssh-add", "-l", **daemon.env).count("ada") == 1
            assert (first.poll(), second.poll()) == (None, None)
            own.process.send_signal(signal.SIGCONT)
            assert (first.wait(PATIENCE), second.wait(PATIENCE)) == (0, 0)
    assert left_loaded(own) == ()


def test_a_second_signal_ends_an_agent_at_once_whose_tpm_hangs(home: Home, own: Swtpm):
    with agent(home, "ada.tpm") as daemon:
        own.process.send_signal(signal.SIGSTOP)
        with signing(home, daemon) as client:
            wait_until_it_waits_for_the_tpm(daemon)
            daemon.signal(signal.SIGTERM)
            time.sleep(2)
            assert daemon.lives()
            start = time.monotonic()
            daemon.signal(signal.SIGTERM)
            daemon.wait()
            assert time.monotonic() - start < 5
            assert client.wait(PATIENCE) == 1
        assert not daemon.path.exists()


# --- manners ----------------------------------------------------------------------------------


def test_the_process_keeps_to_itself(home: Home):
    with agent(home, "ada.tpm") as daemon:
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    assert re.search(r"^Umask:\s+0077$", status, re.M)
    assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.M)


def test_no_other_process_of_the_user_reads_its_memory():
    code = "import ctypes; from tpmwire.scripts import hygiene; hygiene.seclude(); "
    code += "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")


LISTS_ITS_FILES = f"""#!{sys.executable}
import os
with open("files", "w") as note:
    for number in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{{number}}"
        if os.path.exists(path) and int(number) != note.fileno():
            print(os.readlink(path).partition(":")[0], file=note)
print("{PIN}")
"""


def test_a_program_that_asks_gets_nothing_but_its_own_files(home: Home):
    program = home.write("askpass", LISTS_ITS_FILES, 0o700)
    env = {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}
    with (
        agent(home, "pin.tpm", **env) as daemon,
        socket.socket(socket.AF_UNIX) as another,
        signing(home, daemon, "pin.pub") as client,
    ):
        another.connect(str(daemon.path))
        assert client.wait(PATIENCE) == 0
    assert (home.path / "files").read_text().split() == [os.devnull, "pipe", os.devnull]


# --- the log ----------------------------------------------------------------------------------


def logged(home: Home, *arguments: str) -> list[str]:
    """The log of an agent in the foreground that has signed, and failed to when nobody answered."""
    command = ("tpmwire-agent", "-D", "-a", "sock", *arguments, "pin.tpm")
    with home.start(*command, **home.askpass(PIN)) as process:
        try:
            assert process.stdout.readline()
            sock = {"SSH_AUTH_SOCK": str(home.path / "sock")}
            home.run("ssh-add", "-T", "pin.pub", **sock)
            home.write(f"askpass-{PIN}", "#!/bin/sh\nexit 1\n", 0o700)
            home.refuses("ssh-add", "-T", "pin.pub", **sock)
        finally:
            process.terminate()
        return process.communicate(timeout=PATIENCE)[1].splitlines()


def test_the_log_tells_of_failures_only(home: Home):
    (line,) = logged(home)
    assert line == "tpmwire-agent: sign failed: with PIN: the PIN was not given"


def test_more_of_a_log_tells_of_each_use_who_and_what_for(home: Home):
    lines = logged(home, "-v")
    (line,) = [line for line in lines if " signed " in line]
    assert re.fullmatch(
        r'tpmwire-agent: signed key="with PIN" pid=\d+ program=ssh-add '
        r'purpose="sign something unknown"',
        line,
    )
    assert PIN not in "".join(lines)


def test_a_log_of_json_has_an_object_on_each_line(home: Home):
    told = [json.loads(line) for line in logged(home, "-v", "--log-json")]
    (signed,) = [each for each in told if each["message"] == "signed"]
    assert (signed["level"], signed["key"], signed["program"]) == ("info", "with PIN", "ssh-add")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", signed["time"])
    assert {each["level"] for each in told} <= {"info", "warning"}


def test_a_log_on_a_full_disk_costs_nothing_but_the_log(home: Home):
    script = "exec tpmwire-agent -D -v -s -a sock ada.tpm pin.tpm 2>/dev/full"
    with home.start("sh", "-c", script, **home.askpass("wrong")) as process:
        try:
            assert process.stdout.readline()
            sock = {"SSH_AUTH_SOCK": str(home.path / "sock")}
            for _ in range(3):
                home.refuses("ssh-add", "-T", "pin.pub", **sock)
                home.run("ssh-add", "-T", "ada.pub", **sock)
        finally:
            process.terminate()
        assert process.wait(PATIENCE) == 0
    assert not (home.path / "sock").exists()


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield root
    root.handlers = handlers
    root.setLevel(level)


def test_a_line_of_the_log_stays_one_line(
    root_logger: logging.Logger, capfd: pytest.CaptureFixture[str]
):
    journal.to_standard_error("prog", verbose=True, as_json=False)
    logging.getLogger("x").info("a\nb\x1b[2J", extra=journal.fields(key='c\nd"', empty="", n=3))
    assert capfd.readouterr().err == r'prog: a\nb\x1b[2J key="c\nd\"" empty="" n=3' + "\n"


def test_in_the_background_the_log_goes_to_syslog(
    root_logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(journal, "SYSLOG", str(tmp_path / "log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        syslog.settimeout(PATIENCE)
        journal.to_syslog("prog", verbose=False, as_json=False)
        logging.getLogger("x").info("not told")
        logging.getLogger("x").warning("told")
        received = syslog.recv(1000)
    assert received == f"<36>prog[{os.getpid()}]: told\0".encode()  # LOG_AUTH, LOG_WARNING


def test_without_a_syslog_nothing_is_logged_and_nothing_fails(
    root_logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(journal, "SYSLOG", str(tmp_path / "none"))
    journal.to_syslog("prog", verbose=True, as_json=True)
    logging.getLogger("x").error("nobody hears it")


# --- telling the desktop ----------------------------------------------------------------------

NOTES = '#!/bin/sh\nprintf "%s\\n" "$@" >"$0.new" && mv "$0.new" "$0.told"\n'


def told(path: Path) -> list[str]:
    """Wait for what notify-send was told."""
    end = time.monotonic() + PATIENCE
    while not (found := path.with_name("notify-send.told")).exists():
        assert time.monotonic() < end, "nothing was told"
        time.sleep(0.02)
    return found.read_text().splitlines()


def test_the_desktop_is_told_of_each_use(home: Home):
    (home.path / "bin").mkdir()
    program = home.write("bin/notify-send", NOTES, 0o700)
    path = f"{home.path}/bin:{home.env['PATH']}"
    with agent(home, "--notify", "ada.tpm", PATH=path) as daemon:
        assert signs(home, daemon)
        lines = told(program)
    assert lines[:3] == ["--app-name=tpmwire-agent", "--", "TPM key ada was used"]
    assert lines[3].startswith("by ssh-add -T ada.pub (")
    assert lines[4:] == ["sign something unknown"]


def test_without_a_desktop_all_is_signed(home: Home):
    with agent(home, "--notify", "ada.tpm") as daemon:
        assert signs(home, daemon)
        assert signs(home, daemon)


class Named:
    blob, comment, certificates = b"", "<b>-ada</b>\n", ()

    def sign(self, data: bytes, flags: int, occasion: Occasion) -> bytes:
        return b"signature"


def test_what_others_have_named_is_no_markup_on_the_desktop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "notify-send"
    program.write_text(NOTES)
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    uses.notify(Named(), Occasion(Peer(os.getpid()), "<i>log in</i>\x1b"))
    lines = told(program)
    assert lines[2] == "TPM key <b>-ada</b>? was used"  # in a summary there is no markup
    assert "&lt;i&gt;log in&lt;/i&gt;?" in lines


def test_a_desktop_that_does_not_answer_keeps_nobody_waiting_and_takes_four_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\necho >>"{tmp_path}/count"\nexec sleep 600\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(uses, "_PATIENCE", 1.5)
    before = threading.active_count()
    start = time.monotonic()
    for _ in range(50):
        uses.notify(Named(), Occasion())
    assert time.monotonic() - start < 1
    assert threading.active_count() <= before + 4
    while threading.active_count() > before:
        assert time.monotonic() - start < PATIENCE
        time.sleep(0.05)
    assert len((tmp_path / "count").read_text()) <= 4
    assert uses._AT_A_TIME.acquire(blocking=False)
    uses._AT_A_TIME.release()


# --- many clients -----------------------------------------------------------------------------

LOAD = Path(__file__).parent.parent / "tools/benchmarks/agent.py"


def test_two_hundred_clients_at_once_get_their_signatures_and_memory_stays_flat(
    home: Home, own: Swtpm
):
    """Rude clients beside them, who do not read or hang up in the middle, harm nobody."""
    with agent(home, "ada.tpm") as daemon:
        options = ("--clients", "200", "--signatures", "400", "--pid", str(daemon.pid))
        figures = json.loads(home.run(sys.executable, LOAD, *options, **daemon.env))
        assert signs(home, daemon)
    assert (figures["signatures"], figures["failures"]) == (400, [])
    before, after = figures["memory"]
    assert after < before + 4096  # KiB
    assert left_loaded(own) == ()


def test_a_thousand_keys_take_little_memory_and_are_found(home: Home, tmp_path: Path):
    directory = tmp_path / "many"
    directory.mkdir()
    plain = KeyFile.from_pem((home.path / "ada.tpm").read_bytes())
    for number in range(1000):
        point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
        unique = TPMS_ECC_POINT(x=point.x.to_bytes(32, "big"), y=point.y.to_bytes(32, "big"))
        file = plain.replace(public=plain.public.replace(unique=unique))
        (directory / f"{number:04}.tpm").write_text(file.to_pem())
    home.run("cp", "ada.tpm", "ada.pub", "many")
    with agent(home, "--key-dir", "many") as daemon:
        assert len(home.run("ssh-add", "-L", **daemon.env).splitlines()) == 1001
        assert signs(home, daemon)
        status = Path(f"/proc/{daemon.pid}/status").read_text()
    memory = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.M)
    assert memory
    assert int(memory[1]) < 45 * 1024
