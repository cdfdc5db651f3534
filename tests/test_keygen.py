"""tpmwire-keygen, run as its users run it."""

import grp
import os
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded, start_swtpm
from keygen_fixtures import (
    PERSISTENT,
    PIN,
    clean_home,
    files_in,
    keyfile,
    listed,
    new_home,
    openssl_signs,
    persistent,
    snapshot,
)
from ssh_fixtures import Home, Watch, need
from terminal import Terminal

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.constants import TPM_CC, TPM_ECC, TPM_RH
from tpmwire.parents import open_parent
from tpmwire.scripts import generating, keygen
from tpmwire.templates import ECC_SIGN, ECC_SRK, RSA_SRK
from tpmwire.transport import connect
from tpmwire.types import TPMS_ECC_PARMS, TPMS_RSA_PARMS


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm) -> Iterator[Home]:
    yield from clean_home(tmp_path, swtpm)


@pytest.fixture
def own_swtpm(tmp_path: Path) -> Iterator[Swtpm]:
    """A TPM of the test's own, to be ill-treated."""
    need("swtpm")
    directory = tmp_path / "swtpm"
    directory.mkdir()
    started = start_swtpm(directory)
    yield started
    started.process.kill()
    started.process.wait()


@pytest.fixture
def handlers() -> Iterator[None]:
    """Have the handlers of signals back that a script in this process sets."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def watched(home: Home, seen: Callable[[int], None]) -> Iterator[None]:
    """Let `seen` know each command before the TPM of this home gets it."""
    conf = home.env["TPMWIRE_TCTI"]
    with closing(Watch(home.path, conf, seen)) as watch:
        home.env["TPMWIRE_TCTI"] = watch.conf
        yield
    home.env["TPMWIRE_TCTI"] = conf


def generate(home: Home, *arguments: str) -> str:
    return home.run("tpmwire-keygen", "-f", "key", "-N", "", *arguments)


# --- what is made -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "bits", "kind"),
    [
        ([], "256", "ECDSA"),
        (["-b", "384"], "384", "ECDSA"),
        (["-t", "ecdsa", "-b", "521"], "521", "ECDSA"),
        (["-t", "rsa"], "2048", "RSA"),
    ],
)
def test_ssh_keygen_reads_the_public_key_as_what_was_asked_for(
    home: Home, arguments: list[str], bits: str, kind: str
):
    printed = generate(home, *arguments, "-C", "ada of analytical")
    found_bits, fingerprint, comment, found_kind = listed(home)
    assert (found_bits, found_kind, comment) == (bits, kind, "ada of analytical")
    assert printed == (
        f"Generating public/private {kind.lower()} key pair in the TPM.\n"
        "Your identification has been saved in key.tpm\n"
        "Your public key has been saved in key.pub\n"
        f"The key fingerprint is:\n{fingerprint} ada of analytical\n"
    )


def test_larger_rsa_keys_are_made_where_the_tpm_can(home: Home):
    home.run("tpmwire-keygen", "-f", "key", "-N", "", "-t", "rsa", "-b", "3072")
    assert listed(home)[0] == "3072"


def test_the_key_file_holds_the_private_part_of_the_public_key(home: Home, swtpm: Swtpm):
    generate(home)
    file = keyfile(home)
    with (
        Tpm(connect(swtpm.conf)) as tpm,
        open_parent(tpm, file.parent) as parent,
        parent.load(file.private, file.public) as key,
    ):
        # The TPM's own Name of the loaded key is that of the file's public area.
        assert key.public == file.public
    openssl = home.run(
        *("openssl", "pkey", "-provider", "tpm2", "-provider", "default"),
        *("-in", "key.tpm", "-pubout", "-out", "openssl.pub"),
    )
    assert openssl == ""
    home.run("ssh-keygen", "-i", "-m", "PKCS8", "-f", "openssl.pub")
    theirs = home.run("ssh-keygen", "-i", "-m", "PKCS8", "-f", "openssl.pub").split()
    assert (home.path / "key.pub").read_text().split()[:2] == theirs[:2]


def test_permissions_are_those_of_ssh_keygen(home: Home):
    home.run("sh", "-c", "umask 0; exec tpmwire-keygen -q -N '' -f key")
    modes = {name: stat.S_IMODE((home.path / name).stat().st_mode) for name in files_in(home.path)}
    assert modes == {"key.tpm": 0o600, "key.pub": 0o644}


def test_each_key_is_another(home: Home):
    generate(home)
    home.run("tpmwire-keygen", "-q", "-N", "", "-f", "other")
    assert listed(home)[1] != listed(home, "other.pub")[1]


def test_the_ending_may_be_given(home: Home):
    home.run("tpmwire-keygen", "-q", "-N", "", "-f", "key.tpm")
    assert files_in(home.path) == ["key.pub", "key.tpm"]


def test_a_name_may_be_in_another_directory(home: Home):
    (home.path / "keys").mkdir()
    home.run("tpmwire-keygen", "-q", "-N", "", "-f", "keys/key")
    home.run("tpmwire-keygen", "-q", "-N", "", "-f", home.path / "keys" / "other")
    assert files_in(home.path / "keys") == ["key.pub", "key.tpm", "other.pub", "other.tpm"]


def test_names_and_comments_are_octets(home: Home):
    name, comment = b"caf\xe9", b"\xe9\xff of \xc3\xa9"
    done = subprocess.run(
        ["tpmwire-keygen", "-N", "", "-f", name, "-C", comment],
        env=home.env | {"PYTHONIOENCODING": "utf-8:strict"},
        cwd=home.path,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"saved in caf\xe9.tpm\n" in done.stdout
    assert done.stdout.endswith(comment + b"\n")
    public = Path(os.fsdecode(bytes(home.path) + b"/" + name + b".pub"))
    assert public.read_bytes().endswith(b" " + comment + b"\n")


def test_without_a_comment_the_key_is_of_this_user_at_this_machine(home: Home):
    generate(home)
    assert listed(home)[2] == f"{home.env.get('LOGNAME', 'root')}@{socket.gethostname()}"


def test_an_empty_comment_is_none(home: Home):
    printed = generate(home, "-C", "")
    assert printed.splitlines()[-1] == listed(home)[1]
    assert len((home.path / "key.pub").read_text().split(" ")) == 2


def test_quiet_is_quiet(home: Home):
    assert generate(home, "-q") == ""
    assert home.attempt("tpmwire-keygen", "-q", "-N", PIN, "-f", "k").stderr == ""


# --- PINs -------------------------------------------------------------------------------------


def test_only_a_key_without_a_pin_is_exempt_from_lockout(home: Home):
    generate(home)
    home.run("tpmwire-keygen", "-q", "-N", PIN, "-f", "with-pin")
    without, having = keyfile(home), keyfile(home, "with-pin")
    assert TPMA_OBJECT.noDA in without.public.objectAttributes
    assert TPMA_OBJECT.noDA not in having.public.objectAttributes
    assert (without.empty_auth, having.empty_auth) == (True, False)


@pytest.mark.parametrize("pin", ["1", PIN, "x" * 32, "é" * 16])
def test_the_pin_is_what_the_tpm_wants_to_sign(home: Home, pin: str):
    home.run("tpmwire-keygen", "-q", "-N", pin, "-f", "key")
    assert openssl_signs(home, pin)
    assert not openssl_signs(home, pin[:-1] + "~")
    home.run("tpm2_dictionarylockout", "--clear-lockout")


def test_a_pin_is_asked_for_twice_and_never_shown(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -f key -C ada
            Enter PIN (empty for no PIN): <*correct horse>
            Enter same PIN again: <*correct horse>
            Generating public/private ecdsa key pair in the TPM.
            Your identification has been saved in key.tpm
            Your public key has been saved in key.pub
            The key fingerprint is:
            SHA256:[...] ada
            $ echo $?
            0
        """)
    assert f"\n{listed(home)[1]} ada\n" in terminal.screen
    assert openssl_signs(home, "correct horse")


def test_pins_that_differ_are_asked_for_again(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -q -f key
            Enter PIN (empty for no PIN): <*1234>
            Enter same PIN again: <*1243>
            PINs do not match. Try again.
            Enter PIN (empty for no PIN): <*4321>
            Enter same PIN again: <*>
            PINs do not match. Try again.
            Enter PIN (empty for no PIN): <*5678>
            Enter same PIN again: <*5678>
            $ echo $?
            0
        """)
    assert openssl_signs(home, "5678")


def test_a_pin_that_the_tpm_cannot_take_is_asked_for_again(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -q -f key
            Enter PIN (empty for no PIN): <*123456789012345678901234567890123>
            The PIN is 33 octets long, and the TPM takes 32 at most. Try again.
            Enter PIN (empty for no PIN): <*ééééééééééééééééé>
            The PIN is 34 octets long, and the TPM takes 32 at most. Try again.
            Enter PIN (empty for no PIN): <*>
            $ echo $?
            0
        """)
    assert keyfile(home).empty_auth


@pytest.mark.parametrize("pin", ["x" * 33, "é" * 17])
def test_a_given_pin_that_the_tpm_cannot_take_is_wrong_usage(home: Home, pin: str):
    done = home.attempt("tpmwire-keygen", "-N", pin, "-f", "key")
    assert done.returncode == 2
    assert f"The PIN is {len(pin.encode())} octets long" in done.stderr
    assert pin not in done.stdout + done.stderr
    assert files_in(home.path) == []


def test_without_a_terminal_a_pin_has_to_be_given(home: Home):
    done = home.attempt("tpmwire-keygen", "-f", "key")
    assert (done.returncode, done.stdout) == (2, "")
    assert "give one with --pin-file or -N, or -N '' for none" in done.stderr
    assert files_in(home.path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--parent", "0x81000005"],
        ["-b", "7"],
        ["--no-such-option"],
    ],
)
def test_no_output_has_a_pin_in_it(home: Home, arguments: list[str]):
    done = home.attempt("tpmwire-keygen", "-N", PIN, "-f", "key", *arguments)
    assert PIN not in done.stdout + done.stderr
    for path in home.path.glob("key.*"):
        assert PIN.encode() not in path.read_bytes()


# --- parents ----------------------------------------------------------------------------------


def test_the_parent_is_the_owners_primary_key_unless_one_is_persistent(home: Home):
    generate(home)
    assert keyfile(home).parent == TPM_RH.OWNER
    assert openssl_signs(home, "")


@pytest.mark.parametrize("template", [ECC_SRK, RSA_SRK], ids=["ecc", "rsa"])
def test_a_persistent_storage_key_is_the_parent(home: Home, swtpm: Swtpm, template: object):
    with persistent(swtpm, template):
        generate(home)
        assert keyfile(home).parent == PERSISTENT
        assert openssl_signs(home, "")
    assert not openssl_signs(home, "")


def test_a_persistent_key_that_can_be_no_parent_is_left_aside(home: Home, swtpm: Swtpm):
    with persistent(swtpm, ECC_SIGN):
        generate(home)
        assert keyfile(home).parent == TPM_RH.OWNER
        done = home.attempt("tpmwire-keygen", "-N", "", "-f", "other", "--parent", "81000001")
        assert done.returncode == 1
        assert "0x81000001 is no storage key" in done.stderr


@pytest.mark.parametrize(
    ("parent", "handle"),
    [
        ("owner", TPM_RH.OWNER),
        ("null", TPM_RH.NULL),
        ("endorsement", TPM_RH.ENDORSEMENT),
        ("platform", TPM_RH.PLATFORM),
        ("0x81000002", 0x81000002),
        ("81000002", 0x81000002),
    ],
)
def test_a_parent_can_be_chosen(home: Home, swtpm: Swtpm, parent: str, handle: int):
    with persistent(swtpm, ECC_SRK), persistent(swtpm, RSA_SRK, 0x81000002):
        generate(home, "--parent", parent)
        file = keyfile(home)
        assert file.parent == handle
        with Tpm(connect(swtpm.conf)) as tpm, open_parent(tpm, handle) as loaded_parent:
            loaded_parent.load(file.private, file.public).flush()


def test_a_parent_that_is_not_there_is_named(home: Home):
    done = home.attempt("tpmwire-keygen", "-N", "", "-f", "key", "--parent", "0x81000005")
    assert done.returncode == 1
    assert done.stderr == "tpmwire-keygen: its parent 0x81000005 is not in this TPM\n"
    assert files_in(home.path) == []


# --- names, and files that are there ----------------------------------------------------------


def test_a_name_is_asked_for_and_the_directory_made(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ tpmwire-keygen -t rsa -C ada
            Enter file in which to save the key ({home.path}/.ssh/id_tpm_rsa): <>
            Enter PIN (empty for no PIN): <*>
            Generating public/private rsa key pair in the TPM.
            [...]Your identification has been saved in {home.path}/.ssh/id_tpm_rsa.tpm
            Your public key has been saved in {home.path}/.ssh/id_tpm_rsa.pub
            The key fingerprint is:
            SHA256:[...] ada
        """)
    assert stat.S_IMODE((home.path / ".ssh").stat().st_mode) == 0o700
    assert files_in(home.path / ".ssh") == ["id_tpm_rsa.pub", "id_tpm_rsa.tpm"]


@pytest.mark.parametrize("typed", ["work", " ./work.tpm "])
def test_another_name_can_be_typed(home: Home, typed: str):
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ tpmwire-keygen -N '' >/dev/null
            <{typed}>
        """)
    assert {"work.pub", "work.tpm"} <= set(files_in(home.path))
    assert ".ssh" not in files_in(home.path)


def test_quiet_asks_for_no_name(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -q
            Enter PIN (empty for no PIN): <*>
            $ ls .ssh
            id_tpm_ecdsa.pub  id_tpm_ecdsa.tpm
        """)


@pytest.fixture(params=[["key.tpm", "key.pub"], ["key.tpm"], ["key.pub"]], ids=" ".join)
def there(home: Home, request: pytest.FixtureRequest) -> list[str]:
    """Files that are there already."""
    for name in request.param:
        home.write(name, f"old {name}", 0o640)
        os.utime(home.path / name, (1, 2))
    return request.param


def test_row_4_no_overwrites_nothing(home: Home, there: list[str]):
    before = snapshot(home.path)
    question = "".join(f"{name} already exists.\n" for name in there)
    done = home.attempt("tpmwire-keygen", "-N", "", "-f", "key", given="n\n")
    assert done.returncode == 1
    assert done.stdout == f"{question}Overwrite (y/n)? "
    assert done.stderr == "tpmwire-keygen: nothing was changed\n"
    assert snapshot(home.path) == before
    assert files_in(home.path) == sorted(there)


def test_no_answer_overwrites_nothing(home: Home):
    home.write("key.pub", "old")
    before = snapshot(home.path)
    assert home.attempt("tpmwire-keygen", "-N", "", "-f", "key").returncode == 1
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -N '' -f key; echo $?
            key.pub already exists.
            Overwrite (y/n)? <^C>
            tpmwire-keygen: interrupted
            1
            $ tpmwire-keygen -N '' -f key; echo $?
            key.pub already exists.
            Overwrite (y/n)? <maybe>
            tpmwire-keygen: nothing was changed
            1
        """)
    assert snapshot(home.path) == before


def test_yes_replaces_both_files(home: Home, there: list[str]):
    home.run("tpmwire-keygen", "-N", "", "-f", "key", given="y\n")
    assert files_in(home.path) == ["key.pub", "key.tpm"]
    assert listed(home)[0] == "256"
    assert openssl_signs(home, "")
    modes = [stat.S_IMODE((home.path / name).stat().st_mode) for name in ("key.tpm", "key.pub")]
    assert modes == [0o600, 0o644]


def test_the_overwritten_key_is_gone(home: Home):
    generate(home)
    before = listed(home)[1]
    home.run("tpmwire-keygen", "-N", "", "-f", "key", given="yes\n")
    assert listed(home)[1] != before


def test_what_is_no_file_is_never_overwritten(home: Home):
    (home.path / "key.pub").mkdir()
    done = home.attempt("tpmwire-keygen", "-N", "", "-f", "key", given="y\n")
    assert done.returncode == 1
    assert done.stderr == "tpmwire-keygen: key.pub is there and is no ordinary file\n"
    assert files_in(home.path) == ["key.pub"]
    (home.path / "key.pub").rmdir()
    (home.path / "key.tpm").symlink_to("nowhere")
    done = home.attempt("tpmwire-keygen", "-N", "", "-f", "key", given="y\n")
    assert done.stderr == "tpmwire-keygen: key.tpm is there and is no ordinary file\n"
    assert files_in(home.path) == ["key.tpm"]


def test_a_file_that_comes_while_the_key_is_made_is_not_overwritten(home: Home):
    def write(code: int) -> None:
        if code == TPM_CC.Create:
            home.write("key.pub", "somebody else's")

    with watched(home, write):
        done = home.attempt("tpmwire-keygen", "-q", "-N", "", "-f", "key")
    assert done.returncode == 1
    assert done.stderr == "tpmwire-keygen: key.pub: File exists\n"
    assert (home.path / "key.pub").read_text() == "somebody else's"
    assert not (home.path / "key.tpm").exists()


# --- wrong usage ------------------------------------------------------------------------------


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-t", "ed25519"], "argument -t: invalid choice: 'ed25519'"),
        (["-b", "many"], "argument -b: invalid int value: 'many'"),
        (["-b", "0"], "0 is no size of an ECDSA key; there are 256, 384 and 521"),
        (["-b", "255"], "255 is no size of an ECDSA key"),
        (["-b", "2048"], "2048 is no size of an ECDSA key"),
        (["-t", "rsa", "-b", "256"], "256 is no size of an RSA key; try 2048 or 3072"),
        (["-t", "rsa", "-b", "0"], "0 is no size of an RSA key"),
        (["-t", "rsa", "-b", "-2048"], "-2048 is no size of an RSA key"),
        (["-t", "rsa", "-b", "65536"], "65536 is no size of an RSA key"),
        (["--tpm", "swtpn:path=x"], "argument --tpm: 'swtpn' is no way to a TPM"),
        (["--tpm", "swtpm:pfad=x"], "argument --tpm: 'pfad=x' means nothing"),
        (["--parent", "0x80000000"], "argument --parent: '0x80000000' is none of owner"),
        (["--parent", "nobody"], "argument --parent: 'nobody' is none of owner"),
        (["-C", "two\nlines"], "a comment is a single line"),
        (["-C", "two\rlines"], "a comment is a single line"),
        (["--paren", "owner"], "unrecognized arguments: --paren"),
        (["stray"], "unrecognized arguments: stray"),
        (["-f"], "argument -f: expected one argument"),
        (["-f", ""], "'' is no name for a file"),
        (["-f", ".tpm"], "'.tpm' is no name for a file"),
        (["-f", "keys/"], "'keys/' is no name for a file"),
        (["-f", "keys/.tpm"], "'keys/.tpm' is no name for a file"),
    ],
)
def test_wrong_usage_exits_with_2_and_touches_nothing(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    # There is no such TPM, but that is not even looked at.
    monkeypatch.setenv("TPMWIRE_TCTI", f"swtpm:path={tmp_path}/none")
    assert keygen.main(["-N", "", "-f", "key", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert files_in(tmp_path) == []


def test_a_wrong_variable_is_wrong_usage_too(home: Home):
    done = home.attempt("tpmwire-keygen", "-N", "", "-f", "key", TPMWIRE_TCTI="swtpn:path=x")
    assert done.returncode == 2
    assert done.stderr.startswith("tpmwire-keygen: 'swtpn' is no way to a TPM")


def test_help_and_version_need_no_tpm(home: Home):
    home.env["TPMWIRE_TCTI"] = "nonsense"
    assert home.run("tpmwire-keygen", "--version").startswith("tpmwire-keygen ")
    text = home.run("tpmwire-keygen", "--help")
    assert all(option in text for option in ("-t", "-b", "-f", "-C", "-N", "-q", "--parent"))
    assert "exit codes: 0 made or done, 1 failed or interrupted, 2 wrong usage" in text


# --- failures ---------------------------------------------------------------------------------


def test_a_missing_tpm_is_told_before_any_question(home: Home):
    home.env["TPMWIRE_TCTI"] = "device:/dev/none"
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen; echo $?
            tpmwire-keygen: /dev/none: no TPM there[...]'embedded:' runs a TPM emulator[...]
            1
        """)
    assert ".ssh" not in files_in(home.path)


def test_what_the_tpm_cannot_do_is_told_before_any_question(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -t rsa -b 16384; echo $?
            tpmwire-keygen: this TPM cannot make RSA-16384 keys
            1
        """)


UNPRIVILEGED = ("dac_override", "dac_read_search")


def without_privileges(*command: str) -> list[str]:
    """Make a command heed the permissions of files, even if root runs it."""
    if os.geteuid() != 0:
        return [*command]
    need("setpriv")
    less = ",".join(f"-{name}" for name in UNPRIVILEGED)
    return ["setpriv", "--bounding-set", less, "--inh-caps", less, *command]


def test_a_device_that_we_may_not_open_is_told_with_the_group_to_join(home: Home):
    device = home.write("tpmrm0", "", 0)
    group = grp.getgrgid(1 if os.geteuid() == 0 else os.getegid())
    os.chown(device, -1, group.gr_gid)
    command = without_privileges("tpmwire-keygen", "-N", "", "-f", "key")
    done = home.attempt(*command, TPMWIRE_TCTI=f"device:{device}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tpmwire-keygen: {device}: permission denied; ")
    assert f"usermod -aG {group.gr_name}" in done.stderr
    assert files_in(home.path) == ["tpmrm0"]


def test_a_directory_that_we_may_not_write_is_told_before_the_pin(home: Home):
    (home.path / "keys").mkdir(mode=0o500)
    command = without_privileges("tpmwire-keygen", "-f", "keys/key")
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ {" ".join(command)}; echo $?
            tpmwire-keygen: keys: no permission to write here
            1
        """)


@pytest.mark.parametrize("name", ["none/key", "file/key"])
def test_a_missing_directory_is_named(home: Home, name: str):
    home.write("file", "")
    done = home.attempt("tpmwire-keygen", "-N", "", "-f", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tpmwire-keygen: {os.path.dirname(name)}: no such directory\n"


def test_files_that_may_not_grow_leave_nothing(home: Home, there: list[str]):
    before = snapshot(home.path)
    line = "ulimit -f 0; exec tpmwire-keygen -q -N '' -f key"
    done = home.attempt("bash", "-c", line, given="y\n")
    assert done.returncode == 1
    assert done.stderr == "tpmwire-keygen: key.tpm: File too large\n"
    assert snapshot(home.path) == before
    assert files_in(home.path) == sorted(there)


def test_a_full_disk_leaves_nothing(home: Home):
    need("unshare", "mount")
    (home.path / "disk").mkdir()
    # Room for one file of the two: a file system has it in whole pages.
    line = """
        mount -t tmpfs -o size=$(getconf PAGESIZE) none disk || exit 3
        tpmwire-keygen -q -N '' -f disk/key
        echo "exit code $?, left: $(ls -A disk)"
    """
    done = home.attempt("unshare", "--map-root-user", "--mount", "sh", "-c", line)
    if done.returncode not in (0, 3):
        pytest.skip("this system lets users mount nothing")
    assert done.stdout == "exit code 1, left: \n"
    assert done.stderr == "tpmwire-keygen: disk/key.pub: No space left on device\n"


KILLED_AT = (TPM_CC.TestParms, TPM_CC.CreatePrimary, TPM_CC.Create, TPM_CC.FlushContext)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("at", KILLED_AT, ids=lambda code: code.name)
def test_a_tpm_that_dies_in_the_middle_of_a_command_leaves_nothing(
    tmp_path: Path, own_swtpm: Swtpm, at: TPM_CC
):
    home = new_home(tmp_path / "home", own_swtpm.conf)
    home.path.mkdir()

    def kill(code: int) -> None:
        if code == at:
            own_swtpm.process.kill()
            own_swtpm.process.wait()

    with watched(home, kill):
        done = home.attempt("tpmwire-keygen", "-q", "-N", PIN, "-f", "key")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the TPM hung up in the middle of a command" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [name for name in files_in(home.path) if name.startswith(("key", "."))] == []


@pytest.mark.parametrize(
    ("at", "number", "kind"),
    [
        (TPM_CC.TestParms, signal.SIGINT, "ecdsa"),
        (TPM_CC.CreatePrimary, signal.SIGTERM, "ecdsa"),
        (TPM_CC.Create, signal.SIGINT, "rsa"),
        (TPM_CC.Create, signal.SIGTERM, "ecdsa"),
        (TPM_CC.Create, signal.SIGHUP, "ecdsa"),
        (TPM_CC.FlushContext, signal.SIGINT, "ecdsa"),
    ],
)
def test_an_interrupt_in_the_middle_of_a_command_leaves_nothing(
    home: Home, swtpm: Swtpm, at: TPM_CC, number: int, kind: str
):
    processes: list[subprocess.Popen[str]] = []
    started = threading.Event()

    def interrupt(code: int) -> None:
        if code == at:
            assert started.wait(60)
            processes[0].send_signal(number)

    with watched(home, interrupt):
        command = ["tpmwire-keygen", "-q", "-N", "", "-t", kind, "-f", "key"]
        processes.append(home.start(*command))
        started.set()
        with processes[0] as process:
            assert process.communicate(timeout=60) == ("", "\ntpmwire-keygen: interrupted\n")
    assert processes[0].returncode == 1
    assert left_loaded(swtpm) == ()
    assert [name for name in files_in(home.path) if name.startswith(("key", "."))] == []


def test_interrupted_questions_leave_nothing(home: Home):
    with Terminal(home.path, home.env) as terminal:
        terminal.play(f"""
            $ tpmwire-keygen; echo $?
            Enter file in which to save the key ({home.path}/.ssh/id_tpm_ecdsa): <^C>
            tpmwire-keygen: interrupted
            1
            $ tpmwire-keygen; echo $?
            Enter file in which to save the key ({home.path}/.ssh/id_tpm_ecdsa): <*^D>
            tpmwire-keygen: no answer
            1
            $ tpmwire-keygen -f key; echo $?
            Enter PIN (empty for no PIN): <*^C>
            tpmwire-keygen: interrupted
            1
            $ tpmwire-keygen -f key; echo $?
            Enter PIN (empty for no PIN): <*1234>
            Enter same PIN again: <*^D>
            tpmwire-keygen: the PIN was not given
            1
            $ echo this is shown again
            this is shown again
        """)
    assert [name for name in files_in(home.path) if name != ".bash_history"] == []


# --- output -----------------------------------------------------------------------------------


def test_output_to_nobody_is_noticed_before_anything_is_made(home: Home):
    reader, writer = os.pipe()
    os.close(reader)
    command = ["tpmwire-keygen", "-N", "", "-f", "key"]
    try:
        done = subprocess.run(
            command, cwd=home.path, env=home.env, stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
    assert files_in(home.path) == []


def test_a_key_is_made_even_if_nobody_reads_the_news_of_it(home: Home):
    gone = threading.Event()

    def wait(code: int) -> None:
        assert code != TPM_CC.Create or gone.wait(60)

    with watched(home, wait), home.start("tpmwire-keygen", "-N", "", "-f", "key") as process:
        assert process.stdout.readline().startswith("Generating")
        process.stdout.close()
        gone.set()
        assert process.stderr.read() == "tpmwire-keygen: standard output: Broken pipe\n"
    assert process.returncode == 0
    assert listed(home)[0] == "256"


def test_slow_work_shows_life_on_a_terminal(home: Home):
    seen = threading.Event()

    def wait(code: int) -> None:
        assert code != TPM_CC.Create or seen.wait(60)

    with watched(home, wait), Terminal(home.path, home.env) as terminal:
        terminal.play("""
            $ tpmwire-keygen -t rsa -N '' -f key
            Generating public/private rsa key pair in the TPM.
            \rThe TPM works ... 1 s\rThe TPM works ... 2 s""")
        seen.set()
        terminal.play("""
            [...]\r\x1b[KYour identification has been saved in key.tpm
            Your public key has been saved in key.pub
            The key fingerprint is:
            SHA256:[...]
        """)


def test_no_life_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]):
    before = threading.active_count()
    with keygen.console.signs_of_life("working"):
        assert threading.active_count() == before
    assert capsys.readouterr() == ("", "")


def test_quiet_shows_no_life(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    before = threading.active_count()
    for quiet, more in (([], 1), (["-q"], 0)):
        with generating._signs_of_life(keygen._parser().parse_args(quiet)):
            assert threading.active_count() == before + more


def test_of_an_emulated_tpm_one_line_says_that_there_is_no_hardware(home: Home):
    home.env["TPMWIRE_TCTI"] = f"embedded:dir={home.path}/tpm"
    for arguments in ([], ["-q"]):
        done = home.attempt("tpmwire-keygen", "-N", "", "-f", "key", *arguments, given="y\n")
        assert done.returncode == 0
        assert done.stderr == (
            "tpmwire-keygen: this is an emulated TPM: its keys have no hardware behind them, "
            f"only the files in {home.path}/tpm\n"
        )
    assert listed(home)[0] == "256"


# --- tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "curve"), generating.CURVES.items())
def test_a_size_chooses_its_curve(bits: int, curve: TPM_ECC):
    parameters = generating.template_of("ecdsa", bits).parameters
    assert isinstance(parameters, TPMS_ECC_PARMS)
    assert (parameters.curveID, curve.name) == (curve, f"NIST_P{bits}")


@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096, 16384])
def test_an_rsa_size_is_asked_of_the_tpm(bits: int):
    parameters = generating.template_of("rsa", bits).parameters
    assert isinstance(parameters, TPMS_RSA_PARMS)
    assert parameters.keyBits == bits
