"""tpmwire-keygen -p, and where PINs come from; OpenSSL's own TPM provider tells which PIN opens."""

import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Swtpm, forgive
from keygen_fixtures import PIN, clean_home, files_in, keyfile, openssl_signs, snapshot
from ssh_fixtures import Home, Watch, agent, need
from terminal import Terminal

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands import DictionaryAttackParameters
from tpmwire.constants import TPM_CC, TPM_RH
from tpmwire.lockout import Lockout
from tpmwire.scripts.changing import Change
from tpmwire.transport import connect

OLD, NEW = "old secret", "new secret"
CHANGE = ("tpmwire-keygen", "-p", "-f", "key")
KEPT = "An old copy of the file still opens with the old PIN: destroy all copies.\n"


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm) -> Iterator[Home]:
    with Tpm(connect(swtpm.conf)) as tpm:
        parameters = DictionaryAttackParameters(
            lockHandle=TPM_RH.LOCKOUT, newMaxTries=3, newRecoveryTime=600, lockoutRecovery=86400
        )
        tpm.execute(parameters)
        forgive(tpm)
    yield from clean_home(tmp_path, swtpm)
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)


def make(home: Home, pin: str = OLD, *arguments: str) -> None:
    home.run("tpmwire-keygen", "-q", "-f", "key", "-N", pin, "-C", "ada", *arguments)


# --- changing a PIN ---------------------------------------------------------------------------


def test_row_2_the_new_pin_works_and_the_old_one_does_not(home: Home):
    make(home)
    assert openssl_signs(home, OLD)
    assert home.run(*CHANGE, "-P", OLD, "-N", NEW) == f"The PIN of key.tpm was changed.\n{KEPT}"
    assert openssl_signs(home, NEW)
    assert not openssl_signs(home, OLD)
    assert not openssl_signs(home, "")


def test_the_old_and_the_new_pin_do_not_change_places(home: Home):
    make(home)
    assert home.attempt(*CHANGE, "-P", NEW, "-N", OLD).returncode == 1
    assert openssl_signs(home, OLD)


@pytest.mark.parametrize("arguments", [("-t", "rsa"), ("-b", "384"), ("-b", "521")])
def test_other_kinds_of_keys_change_their_pins_too(home: Home, arguments: tuple[str, ...]):
    make(home, OLD, *arguments)
    home.run(*CHANGE, "-q", "-P", OLD, "-N", NEW)
    assert home.attempt(*CHANGE, "-P", OLD, "-N", "other").returncode == 1
    home.run(*CHANGE, "-q", "-P", NEW, "-N", "other")


def test_it_is_still_the_same_key(home: Home):
    make(home)
    public, before = (home.path / "key.pub").read_text(), keyfile(home)
    home.run(*CHANGE, "-P", OLD, "-N", NEW)
    after = keyfile(home)
    assert after.private != before.private
    assert after.replace(private=before.private) == before
    assert (home.path / "key.pub").read_text() == public
    assert files_in(home.path) == ["key.pub", "key.tpm"]


def test_an_old_copy_opens_with_the_old_pin_as_the_user_is_told(home: Home):
    make(home)
    for name in ("key.tpm", "key.pub"):
        (home.path / f"copy{name[3:]}").write_bytes((home.path / name).read_bytes())
    assert KEPT in home.run(*CHANGE, "-P", OLD, "-N", NEW)
    assert openssl_signs(home, OLD, "copy")


def test_a_wrong_old_pin_changes_nothing_and_tells_the_tries_that_are_left(home: Home):
    make(home)
    before, inode = (home.path / "key.tpm").read_bytes(), (home.path / "key.tpm").stat().st_ino
    for left in ("2 tries", "1 try"):
        done = home.attempt(*CHANGE, "-q", "-P", "wrong", "-N", NEW)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "tpmwire-keygen: the old PIN is wrong, and nothing was changed; "
            f"{left} left before the TPM locks\n"
        )
    assert (home.path / "key.tpm").read_bytes() == before
    assert (home.path / "key.tpm").stat().st_ino == inode
    assert files_in(home.path) == ["key.pub", "key.tpm"]


def test_the_last_try_is_not_spent_without_a_word(home: Home):
    make(home)
    for _ in range(2):
        home.refuses(*CHANGE, "-P", "wrong", "-N", NEW)
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -p -f key
            Enter old PIN (one more wrong PIN locks the TPM): <*^C>
            tpmwire-keygen: interrupted
            $ tpmwire-keygen -p -f key -N 5678
            Enter old PIN (one more wrong PIN locks the TPM): <*>
            tpmwire-keygen: no PIN was given, and the last try is not spent on that
        """)
    said = home.refuses(*CHANGE, "-P", "wrong", "-N", NEW)
    assert said.startswith("tpmwire-keygen: one more wrong PIN locks the TPM\n")
    assert "one more try in at most 10 minutes" in said


def test_a_locked_tpm_is_told_before_any_question(home: Home):
    make(home)
    for _ in range(3):
        home.refuses(*CHANGE, "-P", "wrong", "-N", NEW)
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -p -f key; echo $?
            tpmwire-keygen: the TPM is locked because of wrong PINs; one more try in at most [...]
            1
        """)


def test_pins_are_asked_for_and_never_shown(home: Home):
    make(home)
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ tpmwire-keygen -p -f key; echo $?
            Enter old PIN: <*{OLD}>
            Enter new PIN (empty for no PIN): <*{NEW}>
            Enter same PIN again: <*nwe secret>
            PINs do not match. Try again.
            Enter new PIN (empty for no PIN): <*{NEW}>
            Enter same PIN again: <*{NEW}>
            The PIN of key.tpm was changed.
            {KEPT.strip()}
            0
        """)
    assert openssl_signs(home, NEW)
    assert not openssl_signs(home, OLD)


def test_the_file_is_asked_for_without_a_name(home: Home):
    (home.path / ".ssh").mkdir()
    make(home)
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ tpmwire-keygen -p -P '{OLD}' -N '{NEW}'
            Enter file in which the key is ({home.path}/.ssh/id_tpm_ecdsa): <key>
            The PIN of key.tpm was changed.
            {KEPT.strip()}
        """)


def test_a_pin_can_be_taken_away_but_the_lockout_stays(home: Home):
    make(home)
    said = home.run(*CHANGE, "-P", OLD, "-N", "")
    assert said.splitlines()[:2] == [
        "The PIN of key.tpm was removed.",
        "The key still does not sign while the TPM is locked by other wrong PINs.",
    ]
    assert keyfile(home).empty_auth
    assert openssl_signs(home, "")


def test_a_key_made_without_a_pin_gets_one_but_its_wrong_pins_are_not_counted(home: Home):
    make(home, "")
    said = home.run(*CHANGE, "-N", NEW)
    assert "Wrong PINs are not counted, as the key was made without one" in said
    assert "An old copy of the file still opens without a PIN" in said
    file = keyfile(home)
    assert not file.empty_auth
    assert TPMA_OBJECT.noDA in file.public.objectAttributes
    assert openssl_signs(home, NEW)
    assert not openssl_signs(home, "")
    done = home.attempt(*CHANGE, "-P", "wrong", "-N", "")
    assert done.stderr == "tpmwire-keygen: the old PIN is wrong, and nothing was changed\n"
    for _ in range(4):
        assert not openssl_signs(home, "wrong")
    assert openssl_signs(home, NEW)


def test_what_is_not_understood_in_a_file_stays(home: Home):
    make(home)
    path = home.path / "key.tpm"
    strange = bytes.fromhex("a6060404cafecafe"), bytes.fromhex("aa020500")
    file = keyfile(home).replace(others=strange, description="mine", rsa_parent=False)
    path.write_text(f"noted by hand\n{file.to_pem()}after it\n")
    path.chmod(0o440)
    home.run(*CHANGE, "-P", OLD, "-N", NEW)
    after = keyfile(home)
    assert (after.others, after.description) == (strange, "mine")
    assert after.parent_name == file.parent_name != b""
    text = path.read_text()
    assert text.startswith("noted by hand\nParent-Name: ")
    assert text.endswith("-----\nafter it\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o440


def test_a_link_to_a_key_file_stays_one(home: Home):
    make(home)
    (home.path / "link.tpm").symlink_to("key.tpm")
    home.run("tpmwire-keygen", "-p", "-f", "link", "-P", OLD, "-N", NEW)
    assert (home.path / "link.tpm").is_symlink()
    assert openssl_signs(home, NEW)


def test_the_owner_of_a_file_stays(home: Home):
    if os.geteuid() != 0:
        pytest.skip("only root can write files of others")
    make(home)
    os.chown(home.path / "key.tpm", 12345, 54321)
    home.run(*CHANGE, "-P", OLD, "-N", NEW)
    found = (home.path / "key.tpm").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 54321, 0o600)


def test_a_file_of_another_name_can_be_changed(home: Home):
    make(home)
    (home.path / "key.tpm").rename(home.path / "key.pem")
    home.run("tpmwire-keygen", "-p", "-f", "key.pem", "-P", OLD, "-N", NEW)
    home.run("tpmwire-keygen", "-p", "-f", "key.pem", "-P", NEW, "-N", OLD)


def test_neither_pin_is_in_clear_on_the_way_to_the_tpm(home: Home, swtpm: Swtpm):
    make(home)
    start = swtpm.log.stat().st_size
    home.run(*CHANGE, "-P", OLD, "-N", NEW)
    with open(swtpm.log) as log:
        log.seek(start)
        said = "".join(log.read().split()).lower()
    assert f"{TPM_CC.ObjectChangeAuth:08x}" in said
    for pin in (OLD, NEW):
        assert pin.encode().hex() not in said


def test_a_tpm_that_is_not_that_of_the_key_changes_nothing(home: Home, tmp_path: Path):
    make(home)
    before = (home.path / "key.tpm").read_bytes()
    home.env["TPMWIRE_TCTI"] = f"embedded:dir={tmp_path}/other"
    said = home.refuses(*CHANGE, "-P", OLD, "-N", NEW)
    assert "its parent is another key than when it was made" in said
    assert (home.path / "key.tpm").read_bytes() == before


@pytest.mark.parametrize("at", [TPM_CC.Load, TPM_CC.ObjectChangeAuth], ids=lambda cc: cc.name)
def test_an_interrupt_changes_nothing(home: Home, swtpm: Swtpm, at: TPM_CC):
    make(home)
    before = snapshot(home.path)
    processes: list[subprocess.Popen[str]] = []
    started = threading.Event()

    def interrupt(code: int) -> None:
        if code == at:
            assert started.wait(60)
            processes[0].send_signal(signal.SIGINT)

    with closing(Watch(home.path, swtpm.conf, interrupt)) as watch:
        processes.append(home.start(*CHANGE, "-P", OLD, "-N", NEW, TPMWIRE_TCTI=watch.conf))
        started.set()
        with processes[0] as process:
            assert process.communicate(timeout=60) == ("", "\ntpmwire-keygen: interrupted\n")
    assert snapshot(home.path) == before


def test_a_full_disk_changes_nothing(home: Home):
    make(home)
    before = snapshot(home.path)
    command = " ".join((*CHANGE, "-P", f"'{OLD}'", "-N", f"'{NEW}'"))
    done = home.attempt("bash", "-c", f"ulimit -f 0; exec {command}")
    assert (done.returncode, done.stderr) == (1, "tpmwire-keygen: key.tpm: File too large\n")
    assert snapshot(home.path) == before
    assert files_in(home.path) == ["key.pub", "key.tpm"]


def test_a_new_pin_that_the_tpm_cannot_take_is_told_before_any_question(home: Home):
    make(home)
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ tpmwire-keygen -p -f key -N {"x" * 33}; echo $?
            tpmwire-keygen: The PIN is 33 octets long, and the TPM takes 32 at most
            2
        """)


@pytest.mark.parametrize("pin", ["", OLD])
def test_a_missing_tpm_is_told_before_any_question(home: Home, pin: str):
    make(home, pin)
    home.env["TPMWIRE_TCTI"] = "device:/dev/none"
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -p -f key; echo $?
            tpmwire-keygen: /dev/none: no TPM there[...]
            1
        """)


def test_a_change_shows_no_pin():
    assert repr(Change(OLD.encode(), NEW.encode())) == "Change()"


def test_a_directory_that_takes_no_file_is_told_before_any_question(home: Home):
    make(home)
    home.run("mkdir", "-m", "500", "keys")
    home.run("cp", "key.tpm", "keys")
    less = ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]
    need("setpriv")
    command = less if os.geteuid() == 0 else []
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ {" ".join(command)} tpmwire-keygen -p -f keys/key
            tpmwire-keygen: {home.path}/keys: no permission to write here
        """)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no TSS2 PRIVATE KEY in it"),
        ("-----BEGIN TSS2 PRIVATE KEY-----\n%%\n-----END TSS2 PRIVATE KEY-----\n", "not base64"),
    ],
)
def test_what_is_no_key_file_has_no_pin(home: Home, content: str, said: str):
    home.write("key.tpm", content)
    done = home.attempt(*CHANGE, "-P", OLD, "-N", NEW)
    assert done.returncode == 1
    assert done.stderr.startswith("tpmwire-keygen: key.tpm: ")
    assert said in done.stderr


def test_a_key_to_be_imported_first_is_refused(home: Home):
    make(home)
    file = keyfile(home).replace(kind="2.23.133.10.1.4")
    (home.path / "key.tpm").write_text(file.to_pem())
    assert "cannot be loaded as it is" in home.refuses(*CHANGE, "-P", OLD, "-N", NEW)


def test_row_7_a_key_without_a_pin_signs_while_the_tpm_is_locked(home: Home, swtpm: Swtpm):
    need("ssh-add")
    make(home)
    home.run("tpmwire-keygen", "-q", "-f", "free", "-N", "")
    for _ in range(3):
        home.refuses(*CHANGE, "-P", "wrong", "-N", NEW)
    with Tpm(connect(swtpm.conf)) as tpm:
        assert Lockout.read(tpm.execute).locked
    with agent(home, "key.tpm", "free.tpm", **home.askpass(OLD)) as daemon:
        home.run("ssh-add", "-T", "free.pub", **daemon.env)
        home.refuses("ssh-add", "-T", "key.pub", **daemon.env)


# --- where PINs come from ---------------------------------------------------------------------


def test_pins_are_first_lines_of_files(home: Home):
    home.write("old", f"{OLD}\nnot this\n")
    home.write("new", f"{NEW}\r\n")
    home.run("tpmwire-keygen", "-q", "-f", "key", "--pin-file", "old")
    assert openssl_signs(home, OLD)
    home.run(*CHANGE, "-q", "--old-pin-file", "old", "--pin-file", "new")
    assert openssl_signs(home, NEW)


def test_pins_are_lines_of_open_descriptors(home: Home):
    home.run("tpmwire-keygen", "-q", "-f", "key", "--pin-fd", "0", given=f"{OLD}\n")
    assert openssl_signs(home, OLD)
    script = 'exec tpmwire-keygen -p -q -f key --old-pin-fd 3 --pin-fd 3 3<"$0"'
    home.write("both", f"{OLD}\n{NEW}")
    home.run("sh", "-c", script, "both")
    assert openssl_signs(home, NEW)


@pytest.mark.parametrize("content", ["", "\n", "\r\n", "\nsecond line\n"])
def test_a_pin_that_got_lost_is_not_taken_for_none(home: Home, content: str):
    home.write("pin", content)
    done = home.attempt("tpmwire-keygen", "-f", "key", "--pin-file", "pin")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tpmwire-keygen: pin: its first line is empty\n"
    assert files_in(home.path) == ["pin"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pin-file", "none"], "none: No such file or directory"),
        (["--pin-fd", "9"], "descriptor 9: Bad file descriptor"),
        (["--pin-fd", "nine"], "a descriptor is a number"),
        (["--pin-file", "x", "-N", ""], "not allowed with argument"),
        (["-P", PIN, "-N", ""], "an old PIN means nothing here"),
        (["-l", "-N", ""], "a new PIN means nothing here"),
        (["-A", "-N", ""], "a new PIN means nothing here"),
        (["-p", "--json", "-N", ""], "--json means nothing here"),
        (["-p", "--pcrs", "sha256:7", "-N", ""], "--pcrs means nothing here"),
        (["-p", "-b", "256", "-N", ""], "-b means nothing here"),
        (["-p", "-t", "rsa", "-N", ""], "-t means nothing here"),
        (["-i", "none", "-t", "rsa", "-N", ""], "-t means nothing here"),
        (["-A", "-t", "rsa"], "-t means nothing here"),
        (["-l", "-C", "me"], "-C means nothing here"),
    ],
)
def test_what_gives_no_pin_makes_no_key(home: Home, arguments: list[str], said: str):
    assert said in home.refuses("tpmwire-keygen", "-f", "key", *arguments)
    assert files_in(home.path) == []


def test_a_pin_is_asked_for_twice_by_askpass(home: Home):
    home.run("tpmwire-keygen", "-q", "-f", "key", **home.askpass(PIN))
    assert openssl_signs(home, PIN)
    asked = (home.path / "prompts").read_text().splitlines()
    assert asked == ["Enter PIN (empty for no PIN): ", "Enter same PIN again: "]


def test_a_pin_is_changed_by_askpass(home: Home):
    make(home, PIN)
    home.run(*CHANGE, "-q", **home.askpass(PIN))
    asked = (home.path / "prompts").read_text().splitlines()
    assert [line.partition("PIN")[0] for line in asked] == [
        "Enter old ",
        "Enter new ",
        "Enter same ",
    ]
    assert openssl_signs(home, PIN)


def test_askpass_is_asked_where_ssh_keygen_asks_it(home: Home):
    asking = home.askpass(PIN)
    for require, display, asked in (
        ("force", "", True),
        ("", "", False),
        ("", ":9", True),
        ("prefer", ":9", True),
        ("never", ":9", False),
    ):
        env = asking | {"SSH_ASKPASS_REQUIRE": require, "DISPLAY": display}
        (home.path / "prompts").unlink(missing_ok=True)
        done = home.attempt("tpmwire-keygen", "-q", "-f", "key", given="y\n", **env)
        assert (home.path / "prompts").exists() == asked
        assert done.returncode == (0 if asked else 2)
        (home.path / "prompts").unlink(missing_ok=True)
        home.attempt("ssh-keygen", "-q", "-t", "ed25519", "-f", "theirs", given="y\n", **env)
        assert (home.path / "prompts").exists() == asked


def test_askpass_that_gives_no_possible_pin_is_not_asked_for_ever(home: Home):
    done = home.attempt("tpmwire-keygen", "-f", "key", **home.askpass("x" * 33))
    assert (done.returncode, done.stderr) == (1, "tpmwire-keygen: no PIN after 10 tries\n")
    assert files_in(home.path) == [f"askpass-{'x' * 33}", "prompts"]


def test_askpass_that_fails_makes_no_key(home: Home):
    env = {"SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
    assert "the PIN was not given" in home.refuses("tpmwire-keygen", "-f", "key", **env)
    assert files_in(home.path) == []
