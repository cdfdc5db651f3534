"""Exit codes, messages and prompts: what the scripts share."""

import argparse
import errno
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ssh_fixtures import Home, need
from terminal import Terminal

from tpmwire.errors import (
    ConfError,
    DecodeError,
    EncodeError,
    Error,
    KeyFileError,
    SessionError,
    TransportError,
    tpm_error,
)
from tpmwire.scripts import console, prompts
from tpmwire.scripts.console import UsageError, UserError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PROLOGUE = f"""\
#!{sys.executable}
import os, signal, sys, threading, time
from tpmwire.scripts import console, prompts
def main():
"""
EPILOGUE = """
sys.exit(console.run("prog", main))
"""


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path, "device:/none")
    home.env.pop("PYTHONUNBUFFERED", None)
    home.env["PATH"] = f"{tmp_path}:{home.env['PATH']}"
    return home


def program(home: Home, *lines: str) -> Path:
    """Write a script that does these lines inside of console.run."""
    body = "\n".join(f"    {line}" for line in (*lines, "return 0"))
    return home.write("prog", PROLOGUE + body + EPILOGUE, 0o700)


# --- exit codes -------------------------------------------------------------------------------

RAISED = [
    (UserError("cannot be done"), 1, "prog: cannot be done\n"),
    (UsageError("makes no sense"), 2, "prog: makes no sense\n"),
    (ConfError("'foo' is no way"), 2, "prog: 'foo' is no way\n"),
    (Error("any"), 1, "prog: any\n"),
    (KeyFileError("no key in it"), 1, "prog: no key in it\n"),
    (DecodeError("too short", "outPublic.type"), 1, "prog: outPublic.type: too short\n"),
    (EncodeError("too long", "inPublic"), 1, "prog: inPublic: too long\n"),
    (SessionError("not of its session"), 1, "prog: not of its session\n"),
    (TransportError(errno.EACCES, "/dev/x: denied"), 1, "prog: /dev/x: denied\n"),
    (TransportError(errno.EPIPE, "x: hung up"), 1, "prog: x: hung up\n"),
    (FileNotFoundError(errno.ENOENT, "No such file", "a/b"), 1, "prog: a/b: No such file\n"),
    (OSError(errno.EIO, "Input/output error"), 1, "prog: Input/output error\n"),
    (OSError("no number"), 1, "prog: no number\n"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
    (KeyboardInterrupt(), 1, "\nprog: interrupted\n"),
    (SystemExit(0), 0, ""),
    (SystemExit(2), 2, ""),
    (SystemExit(None), 0, ""),
]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(("raised", "code", "said"), RAISED, ids=lambda value: repr(value)[:40])
def test_what_is_raised_becomes_an_exit_code_and_a_message(
    raised: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
):
    def main() -> int:
        raise raised

    assert console.run("prog", main) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.usefixtures("handlers")
def test_a_refusal_of_the_tpm_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]):
    def main() -> int:
        raise tpm_error(0x98E, "Sign")

    assert console.run("prog", main) == 1
    assert capsys.readouterr().err.startswith("prog: TPM_RC_AUTH_FAIL (session 1) from Sign: the ")


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("code", [0, 1, 2])
def test_what_main_returns_is_the_exit_code(code: int, capsys: pytest.CaptureFixture[str]):
    assert console.run("prog", lambda: code) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("handlers")
def test_a_defect_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        console.run("prog", lambda: 1 // 0)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_script_with_a_message(home: Home, number: int):
    program(home, "print('ready', flush=True)", "signal.pause()")
    with home.start("prog") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.communicate(timeout=60) == ("", "\nprog: interrupted\n")
    assert process.returncode == 1


def test_to_be_ended_cannot_be_ignored(home: Home):
    program(home, "print('ready', flush=True)", "sys.stdin.readline()")
    with home.start("sh", "-c", "trap '' TERM; exec prog") as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(60) == 1
        assert process.stderr.read() == "\nprog: interrupted\n"


@pytest.mark.parametrize("name", ["HUP", "INT"])
def test_a_signal_that_was_ignored_from_the_beginning_stays_so(home: Home, name: str):
    program(home, "print('ready', flush=True)", "sys.stdin.readline()")
    with home.start("sh", "-c", f"trap '' {name}; exec prog") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.Signals[f"SIG{name}"])
        assert process.communicate("go on\n", timeout=60) == ("", "")
    assert process.returncode == 0


# --- standard streams -------------------------------------------------------------------------


def shell(home: Home, line: str) -> "subprocess.CompletedProcess[str]":
    return home.attempt("bash", "-c", line)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_file_is_never_opened_in_the_place_of_a_closed_stream(home: Home, closed: str):
    program(
        home,
        "console.say('to whom?')",
        "print('to whom?', sys.stdin.readline(), flush=True)",
        "file = open('opened', 'w')",
        "print(file.fileno(), file=file)",
    )
    assert shell(home, f"prog {closed}").returncode == 0
    assert int((home.path / "opened").read_text()) > 2


@pytest.mark.parametrize("flush", [True, False])
def test_output_to_nobody_fails_without_a_word(home: Home, flush: bool):
    program(home, f"print('hello', flush={flush})")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            ["prog"], env=home.env, stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("flush", [True, False])
def test_output_that_finds_no_room_fails_with_a_message(home: Home, flush: bool):
    program(home, f"print('hello', flush={flush})")
    done = shell(home, "prog >/dev/full")
    assert (done.returncode, done.stderr) == (1, "prog: No space left on device\n")


def test_an_error_is_told_even_if_output_finds_no_room(home: Home):
    program(home, "print('hello')", "raise console.UsageError('no sense')")
    done = shell(home, "prog >/dev/full")
    assert (done.returncode, done.stderr) == (2, "prog: no sense\n")


def test_a_message_that_finds_no_room_changes_no_exit_code(home: Home):
    program(home, "raise console.UserError('cannot be done')")
    assert shell(home, "prog 2>/dev/full").returncode == 1


def test_what_was_done_stays_done_if_nobody_can_be_told(home: Home):
    program(home, "console.report('prog', 'it is done')")
    assert home.run("prog") == "it is done\n"
    done = shell(home, "prog >/dev/full")
    assert done.returncode == 0
    assert done.stderr == "prog: standard output: No space left on device\n"


def test_octets_that_are_no_text_are_printed_as_they_came(home: Home):
    program(home, "print(sys.argv[1])")
    env = home.env | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(["prog", b"caf\xe9"], env=env, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"caf\xe9\n", b"")


# --- messages ---------------------------------------------------------------------------------


def test_a_conf_string_is_checked_as_an_argument():
    assert console.conf("swtpm:path=/x") == "swtpm:path=/x"
    with pytest.raises(argparse.ArgumentTypeError, match="'swtpn' is no way to a TPM"):
        console.conf("swtpn:path=/x")


@pytest.mark.parametrize(
    ("conf", "variable", "place"),
    [
        ("embedded:dir=/d", None, "/d"),
        (None, "embedded:dir=/d", "/d"),
        ("pcap:/f:embedded:dir=/d", None, "/d"),
        ("embedded:", "swtpm:path=/x", "/state/tpmwire/embedded"),
        (None, "embedded", "/state/tpmwire/embedded"),
        ("device:/dev/tpm0", "embedded:dir=/d", None),
        ("swtpm:path=/embedded:dir=/d", None, None),
        (None, None, None),
    ],
)
def test_of_the_embedded_tpm_one_line_says_that_there_is_no_hardware(
    conf: str | None,
    variable: str | None,
    place: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    monkeypatch.delenv("TPMWIRE_TCTI", raising=False)
    if variable is not None:
        monkeypatch.setenv("TPMWIRE_TCTI", variable)
    console.warn_of_emulator("prog", conf)
    out, err = capsys.readouterr()
    assert out == ""
    if place is None:
        assert err == ""
    else:
        assert err.startswith("prog: ")
        assert "no hardware behind them" in err
        assert err.endswith(f" in {place}\n")
        assert err.count("\n") == 1


# --- questions --------------------------------------------------------------------------------


def given(monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets), "ascii"))


@pytest.mark.parametrize("answer", [b"y\n", b"Y\n", b"yes\n", b"YES\n", b" yes \n", b"y"])
def test_only_yes_is_yes(
    answer: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    given(monkeypatch, answer)
    assert prompts.confirm("Sure? ") is True
    assert capsys.readouterr() == ("Sure? ", "")


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"", b"no\n", b"yy\n", b"yes!\n", b"\xff\n"])
def test_anything_else_is_no(answer: bytes, monkeypatch: pytest.MonkeyPatch):
    given(monkeypatch, answer)
    assert prompts.confirm("Sure? ") is False


def test_an_answer_is_one_line(monkeypatch: pytest.MonkeyPatch):
    given(monkeypatch, b"first \nsecond\ncaf\xe9\n")
    assert prompts.ask("? ") == "first"
    assert prompts.ask("? ") == "second"
    assert os.fsencode(prompts.ask("? ")) == b"caf\xe9"
    with pytest.raises(UserError, match="no answer"):
        prompts.ask("? ")


ASK_SECRET = "print(prompts.ask_secret('PIN: '))"


def test_a_secret_is_not_shown(home: Home):
    program(home, ASK_SECRET)
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ prog
            PIN: <*1234>
            b'1234'
            $ prog
            PIN: <*>
            b''
            $ prog
            PIN: <* ü 4 >
            b' \\xc3\\xbc 4 '
            $ prog 2>/dev/null | cat
            PIN: <*goes to the terminal>
            b'goes to the terminal'
            $ echo this is shown again
            this is shown again
        """)


def test_a_terminal_that_our_session_does_not_control_will_do(home: Home):
    program(home, "print(prompts.terminal())", ASK_SECRET)
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ setsid --wait prog
            True
            PIN: <*1234>
            b'1234'
            $ echo this is shown again
            this is shown again
        """)


def test_without_a_terminal_no_secret_is_read(home: Home):
    program(home, "print(prompts.terminal())", ASK_SECRET)
    done = home.attempt("setsid", "--wait", "prog", given="1234\n")
    assert (done.returncode, done.stdout) == (1, "False\n")
    assert done.stderr == "prog: the terminal: Inappropriate ioctl for device\n"


def test_no_secret_is_an_error(home: Home):
    program(home, ASK_SECRET)
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ prog; echo $?
            PIN: <*^D>
            prog: the PIN was not given
            1
            $ prog; echo $?
            PIN: <*^C>
            prog: interrupted
            1
            $ echo this is shown again
            this is shown again
        """)


def test_what_was_typed_before_the_question_is_not_the_secret(home: Home):
    os.mkfifo(home.path / "fifo")
    program(home, "print('Wait.', flush=True)", "open('fifo').close()", ASK_SECRET)
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ prog
            Wait.
            <too early>
        """)
        (home.path / "fifo").open("w").close()
        terminal.play("""
            PIN: <*1234>
            b'1234'
        """)


def test_a_program_that_ends_with_the_question_open_leaves_the_terminal_as_it_was(home: Home):
    program(
        home,
        "threading.Thread(target=prompts.ask_secret, args=('PIN: ',), daemon=True).start()",
        "signal.pause()",
    )
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ prog
            PIN: <*^C>
            prog: interrupted
            $ echo this is shown again
            this is shown again
        """)


def test_a_secret_is_not_shown_after_a_stop_either(home: Home):
    program(home, ASK_SECRET)
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ prog
            PIN: <*^Z>
            [1]+  Stopped                 prog
            $ fg
            prog
            PIN: <*^Z>
            [1]+  Stopped                 prog
            $ fg
            prog
            PIN: <*1234>
            b'1234'
            $ echo this is shown again
            this is shown again
        """)


def test_a_thread_asks_again_after_a_stop_and_shows_no_secret(home: Home):
    program(
        home,
        "thread = threading.Thread(target=lambda: print(prompts.ask_secret('PIN: ')))",
        "thread.start()",
        "thread.join()",
    )
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ prog
            PIN: <*^Z>
            [1]+  Stopped                 prog
            $ fg
            prog
            PIN: <*1234>
            b'1234'
        """)


STATE = "stty -a </dev/tty | grep -o ' -\\?echo '"
QUIT = (
    "main = threading.main_thread().ident; "
    "threading.Timer(1, signal.pthread_kill, (main, signal.SIGQUIT)).start()"
)


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        ("pass", ("prog & sleep 2", "kill -TSTP $!; sleep 1", STATE, "kill -KILL $!")),
        (QUIT, ("ulimit -c 0", "prog", STATE)),
    ],
)
def test_who_is_stopped_or_ended_at_a_question_leaves_the_terminal_as_it_was(
    home: Home, first: str, lines: tuple[str, ...]
):
    program(home, first, ASK_SECRET)
    # dash looks after no terminal, other than bash.
    home.write("script", "\n".join(lines) + "\n")
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ dash script 2>/dev/null
            PIN:  echo[...]
        """)


def test_one_question_is_asked_after_the_other(home: Home):
    program(
        home,
        "answers = []",
        "ask = lambda: answers.append(prompts.ask_secret('PIN: '))",
        "threads = [threading.Thread(target=ask) for _ in range(3)]",
        "[thread.start() for thread in threads]",
        "[thread.join() for thread in threads]",
        "print(answers)",
    )
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ prog
            PIN: <*one>
            PIN: <*two>
            PIN: <*three>
            [b'one', b'two', b'three']
            $ echo this is shown again
            this is shown again
        """)


# --- the PIN of a key -------------------------------------------------------------------------

ASK_PIN = "print('answer:', prompts.ask_pin('PIN: ').decode())"

# SSH_ASKPASS_REQUIRE, DISPLAY, who is asked at a terminal, who is asked elsewhere
PRECEDENCE = [
    (None, None, "terminal", "nobody"),
    (None, "", "terminal", "nobody"),
    (None, ":0", "terminal", "askpass"),
    ("never", None, "terminal", "nobody"),
    ("never", ":0", "terminal", "nobody"),
    ("prefer", None, "terminal", "nobody"),
    ("prefer", "", "terminal", "nobody"),
    ("prefer", ":0", "askpass", "askpass"),
    ("force", None, "askpass", "askpass"),
    ("force", ":0", "askpass", "askpass"),
    ("Force", None, "askpass", "askpass"),
    ("NEVER", ":0", "terminal", "nobody"),
    ("sometimes", None, "terminal", "nobody"),
    ("sometimes", ":0", "terminal", "askpass"),
]
every_precedence = pytest.mark.parametrize(
    ("require", "display", "at_a_terminal", "elsewhere"), PRECEDENCE
)
askers = pytest.mark.parametrize("asker", ["prog", "ssh-keygen"])


@pytest.fixture
def asking(home: Home, request: pytest.FixtureRequest) -> Callable[..., dict[str, str]]:
    """Make our program and ssh's, which ask for a PIN alike; return a maker of variables."""
    need("ssh-keygen")
    program(home, ASK_PIN)
    key = home.path / "key"
    home.run("ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", "12345", "-f", key)
    variables = home.askpass("12345") | {"SSH_ASKPASS_REQUIRE": ""}

    def environment(require: str | None, display: str | None) -> dict[str, str]:
        env = home.env | variables
        env |= {} if require is None else {"SSH_ASKPASS_REQUIRE": require}
        return env | ({} if display is None else {"DISPLAY": display})

    return environment


COMMANDS = {"prog": "prog", "ssh-keygen": "ssh-keygen -y -f key"}
QUESTIONS = {"prog": "PIN: ", "ssh-keygen": "Enter passphrase: "}
ANSWERS = {"prog": "answer: 12345", "ssh-keygen": "ssh-ed25519 "}


@every_precedence
@askers
def test_at_a_terminal_the_same_is_asked_that_ssh_asks(
    asker: str,
    require: str | None,
    display: str | None,
    at_a_terminal: str,
    elsewhere: str,
    home: Home,
    asking: Callable[..., dict[str, str]],
):
    typed = f"{QUESTIONS[asker]}<*12345>\n" if at_a_terminal == "terminal" else ""
    with Terminal(home.path, asking(require, display)) as terminal:
        terminal.play(f"$ {COMMANDS[asker]}\n{typed}{ANSWERS[asker]}[...]\n$ echo $?\n0\n")
    assert (home.path / "prompts").exists() == (at_a_terminal == "askpass")


@every_precedence
@askers
def test_without_a_terminal_the_same_is_asked_that_ssh_asks(
    asker: str,
    require: str | None,
    display: str | None,
    at_a_terminal: str,
    elsewhere: str,
    home: Home,
    asking: Callable[..., dict[str, str]],
):
    done = subprocess.run(
        ["setsid", "--wait", *COMMANDS[asker].split()],
        env=asking(require, display),
        cwd=home.path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (home.path / "prompts").exists() == (elsewhere == "askpass")
    assert (done.returncode == 0) == (elsewhere == "askpass")
    assert done.stdout.startswith(ANSWERS[asker]) == (elsewhere == "askpass")


def test_a_wayland_display_is_one(home: Home, asking: Callable[..., dict[str, str]]):
    env = asking(None, None) | {"WAYLAND_DISPLAY": "wayland-0"}
    command = ["setsid", "--wait", "prog"]
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("answer: 12345\n", "")


def test_at_a_terminal_that_is_another_jobs_nobody_is_asked(home: Home):
    program(home, ASK_PIN)
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ prog & wait $!; echo $?
            [1] [...]
            prog: nobody can be asked for the PIN: set SSH_ASKPASS and SSH_ASKPASS_REQUIRE
            [1]+[...]Exit 1[...]prog
            1
            $ prog </dev/null; echo $?
            prog: nobody can be asked for the PIN: set SSH_ASKPASS and SSH_ASKPASS_REQUIRE
            1
        """)


def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> Path:
    """Make a program that is asked for PINs, of these lines of shell."""
    path = tmp_path / "my askpass"
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(path))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    return path


@pytest.mark.parametrize(
    ("line", "pin"),
    [
        ("echo 1234", b"1234"),
        ("printf 1234", b"1234"),
        (r"printf '1234\nsecond line\n'", b"1234"),
        (r"printf '1234\r\n'", b"1234"),
        (r"printf '1234\rabc\n'", b"1234"),
        ("echo ' 12 34 '", b" 12 34 "),
        (r"printf '\377\n'", b"\xff"),
        ("echo", b""),
        ("true", b""),
        ('echo "$#,$1"', b"1,PIN for TPM key ada: "),
        (r"printf '\nsecond line\n'", b""),
    ],
)
def test_an_askpass_program_gives_the_first_line_it_prints(
    line: str, pin: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    answering(tmp_path, monkeypatch, line)
    assert prompts.ask_pin("PIN for TPM key ada: ") == pin


@pytest.mark.parametrize("line", ["exit 1", "exit 255", "kill -TERM $$"])
def test_an_askpass_program_that_fails_gives_no_pin(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    answering(tmp_path, monkeypatch, "echo 1234", line)
    with pytest.raises(UserError, match=r"^the PIN was not given$"):
        prompts.ask_pin("PIN: ")
    assert capfd.readouterr() == ("", "")


def test_an_askpass_program_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = answering(tmp_path, monkeypatch)
    path.unlink()
    with pytest.raises(UserError, match=r"/my askpass: No such file or directory$"):
        prompts.ask_pin("PIN: ")


def test_an_askpass_program_that_must_not_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    answering(tmp_path, monkeypatch).chmod(0o600)
    with pytest.raises(UserError, match=r"/my askpass: Permission denied$"):
        prompts.ask_pin("PIN: ")


def test_without_a_name_ssh_askpass_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = answering(tmp_path, monkeypatch, "echo 1234")
    monkeypatch.delenv("SSH_ASKPASS")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="SSH_ASKPASS names no program"):
        prompts.ask_pin("PIN: ")
    path.rename(tmp_path / "ssh-askpass")
    assert prompts.ask_pin("PIN: ") == b"1234"


# --- permission, and who hangs up -------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        (["true"], True),
        (["echo"], True),
        (["echo yes"], True),
        (["echo YES"], True),
        (["echo no"], False),
        (["echo y"], False),
        (["exit 1"], False),
        (["echo yes", "exit 1"], False),
        (["kill -TERM $$"], False),
    ],
)
def test_a_program_that_confirms_agrees_as_openssh_wants_it(
    lines: list[str], allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    answering(tmp_path, monkeypatch, *lines)
    assert prompts.ask_permission("Allow it?") is allowed


def test_a_program_that_confirms_is_told_that_it_is_to_do_so_and_one_for_a_pin_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    note = tmp_path / "note"
    answering(tmp_path, monkeypatch, f'echo "$SSH_ASKPASS_PROMPT/$1" >>"{note}"')
    prompts.ask_permission("Allow it?")
    prompts.ask_pin("PIN: ")
    assert note.read_text() == "confirm/Allow it?\n/PIN: \n"


def test_at_a_terminal_permission_wants_a_clear_yes(home: Home):
    program(home, "print([prompts.ask_permission('Allow it?') for _ in range(4)])")
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ prog
            Allow it? (yes/no) <*yes>
            Allow it? (yes/no) <*Y>
            Allow it? (yes/no) <*n>
            Allow it? (yes/no) <*>
            [True, True, False, False]
        """)


def test_a_program_is_ended_when_nobody_wants_its_answer_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    there = tmp_path / "there"
    answering(tmp_path, monkeypatch, f'echo $$ >"{there}"', "exec sleep 600")
    with pytest.raises(prompts.HungUpError, match="the client went away"):
        prompts.ask_pin("PIN: ", there.exists)
    with pytest.raises(ProcessLookupError):
        os.kill(int(there.read_text()), 0)


def test_a_program_that_does_not_want_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    there = tmp_path / "there"
    answering(
        *(tmp_path, monkeypatch, "trap : TERM", f'echo $$ >"{there}"'),
        "while :; do sleep 1; done",
    )
    monkeypatch.setattr(prompts, "_LAST_WORDS", 0.5)
    with pytest.raises(prompts.HungUpError):
        prompts.ask_pin("PIN: ", lambda: there.exists() and bool(there.read_text()))
    with pytest.raises(ProcessLookupError):
        os.kill(int(there.read_text()), 0)


def test_nobody_is_asked_for_who_has_hung_up_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    note = tmp_path / "note"
    answering(tmp_path, monkeypatch, f'touch "{note}"')
    with pytest.raises(prompts.HungUpError):
        prompts.ask_pin("PIN: ", lambda: True)
    assert not note.exists()


def test_a_signal_can_be_read_even_if_its_exception_was_lost():
    """As happens in a callback of the garbage collector."""
    lose = "import os, select, signal, sys\nfrom tpmwire.scripts import console\n"
    lose += textwrap.dedent("""
        class Lossy:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
                for _ in range(1000): pass
        def main():
            with console.interrupts_to_read() as interrupts:
                assert select.select([interrupts], [], [], 0)[0] == []
                Lossy()
                assert select.select([interrupts], [], [], 5)[0] == [interrupts]
            return 7
        sys.exit(console.run("prog", main))
    """)
    done = subprocess.run([sys.executable, "-c", lose], capture_output=True, text=True, timeout=60)
    assert done.returncode == 7, done.stderr
    assert "Exception ignored" in done.stderr
