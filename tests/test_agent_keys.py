"""Which keys the agent offers: files that come, change and go, and what ssh-add -s loads."""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm, forgive, left_loaded
from cryptography.hazmat.primitives import hashes
from ssh_fixtures import Home, agent, need
from test_ssh_tpmkey import verify

from tpmwire.client import Tpm
from tpmwire.commands import CreatePrimary, EvictControl
from tpmwire.constants import TPM_ECC, TPM_RH
from tpmwire.errors import Error, KeyFileError, TpmError
from tpmwire.lockout import Lockout
from tpmwire.scripts import keyfiles
from tpmwire.scripts.console import UserError
from tpmwire.scripts.keyfiles import KeyFiles
from tpmwire.scripts.making import Maker, Tokens
from tpmwire.ssh.occasion import UNKNOWN, Occasion
from tpmwire.ssh.others import NotOursError
from tpmwire.templates import ECC_SIGN, ECC_SRK, ecc_sign, without_lockout
from tpmwire.transport import connect
from tpmwire.types import TPMS_SENSITIVE_CREATE, TPMT_PUBLIC

PIN = b"1234"


class NoAnswerError(Error):
    """Nobody is there to be asked."""


def nobody(question: str, occasion: Occasion) -> bytes:
    raise NoAnswerError(question)


@pytest.fixture(scope="module")
def made(swtpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("keys"), swtpm.conf)
    for name in ("ada", "bob"):
        home.run("tpmwire-keygen", "-q", "-N", "", "-C", name, "-f", name)
    home.run("tpmwire-keygen", "-q", "-N", PIN.decode(), "-C", "pin", "-f", "pin")
    return home.path


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm, made: Path) -> Iterator[Home]:
    (tmp_path / "dir").mkdir()
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    yield Home(tmp_path, swtpm.conf)
    assert left_loaded(swtpm) == ()


@pytest.fixture
def maker(swtpm: Swtpm) -> Maker:
    return Maker(lambda: Tpm(connect(swtpm.conf)), nobody)


def put(home: Home, source: str, target: str) -> None:
    """Copy a key file, and what stands beside it."""
    for ending in (".tpm", ".pub"):
        shutil.copy(home.path / f"{source}{ending}", home.path / "dir" / f"{target}{ending}")


class Offered:
    """What is offered, by its comments, as one who follows the changes knows it."""

    def __init__(self, files: KeyFiles) -> None:
        self.files, self.keys = files, list[object]()

    def __call__(self) -> list[str]:
        gone, new = self.files.changes()
        assert all(key in self.keys for key in gone)
        self.keys = [key for key in self.keys if key not in gone] + new
        return [key.comment for key in self.keys]


@pytest.fixture
def offered(home: Home, maker: Maker) -> Offered:
    """The keys of the directory, which has ada's in it."""
    put(home, "ada", "one")
    return Offered(KeyFiles([], str(home.path / "dir"), maker.of_file))


# --- files that come, change and go -----------------------------------------------------------


def test_a_new_file_is_offered_and_one_that_is_gone_is_not(home: Home, offered: Offered):
    assert offered() == ["ada"]
    put(home, "bob", "two")
    assert offered() == ["ada", "bob"]
    (home.path / "dir/one.tpm").unlink()
    assert offered() == ["bob"]
    put(home, "ada", "one")
    assert offered() == ["bob", "ada"]


def test_nothing_has_changed_if_nothing_has_changed(offered: Offered):
    assert offered() == ["ada"]
    for _ in range(3):
        assert offered.files.changes() == ([], [])


@pytest.mark.parametrize("way", ["in place", "put in its place"])
def test_a_file_that_is_replaced_is_another_key_at_once(home: Home, offered: Offered, way: str):
    """Even within the same tick of the clock, and with the same size."""
    assert offered() == ["ada"]
    path = home.path / "dir/one.tpm"
    for name in ("bob", "ada", "bob", "ada"):
        contents = (home.path / f"{name}.tpm").read_bytes()
        shutil.copy(home.path / f"{name}.pub", home.path / "dir/one.pub")
        if way == "in place":
            path.write_bytes(contents)
        else:
            (home.path / "draft").write_bytes(contents)
            (home.path / "draft").rename(path)
        assert offered() == [name]


def test_a_change_within_a_tick_of_the_clock_is_seen(
    home: Home, offered: Offered, monkeypatch: pytest.MonkeyPatch
):
    """Nothing but the contents tells it then."""
    now = time.time_ns()
    monkeypatch.setattr(keyfiles, "_status", lambda path: (1, 1, 1, now, now))
    for name in ("ada", "bob", "ada"):
        put(home, name, "one")
        assert offered() == [name]


def test_a_file_that_changed_long_ago_is_not_read_again(
    home: Home, offered: Offered, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keyfiles, "_RECENT", 0)
    offered()
    read = []
    monkeypatch.setattr(keyfiles, "_contents", read.append)
    offered()
    assert read == []


def test_garbage_in_a_file_drops_its_key_with_one_line_in_the_log(
    home: Home, offered: Offered, caplog: pytest.LogCaptureFixture
):
    assert offered() == ["ada"]
    path = home.path / "dir/one.tpm"
    path.write_text("garbage")
    for _ in range(3):
        assert offered() == []
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: no TSS2 PRIVATE KEY in it; passed over"
    ]
    put(home, "ada", "one")
    assert offered() == ["ada"]
    assert len(caplog.records) == 1


def test_a_file_that_is_cut_while_it_is_read_costs_nothing_but_the_key(
    home: Home, offered: Offered
):
    whole = (home.path / "ada.tpm").read_bytes()
    for size in range(0, len(whole), 40):
        (home.path / "dir/one.tpm").write_bytes(whole[:size])
        assert offered() in ([], ["ada"])
    (home.path / "dir/one.tpm").write_bytes(whole)
    assert offered() == ["ada"]


def test_a_key_that_is_gone_is_told_once(
    home: Home, offered: Offered, caplog: pytest.LogCaptureFixture
):
    offered()
    (home.path / "dir/one.tpm").unlink()
    for _ in range(3):
        offered()
    assert [record.getMessage() for record in caplog.records] == [
        f"{home.path}/dir/one.tpm is gone, and its key with it"
    ]


def test_of_several_files_of_one_key_the_first_is_offered_and_then_the_next(
    home: Home, offered: Offered
):
    put(home, "ada", "two")
    (home.path / "dir/two.pub").unlink()
    assert offered() == ["ada"]
    (home.path / "dir/one.tpm").unlink()
    assert offered() == [f"{home.path}/dir/two.tpm"]


def test_a_new_comment_is_seen(home: Home, offered: Offered):
    offered()
    public = home.path / "dir/one.pub"
    public.write_text(public.read_text().replace(" ada", " eve"))
    assert offered() == ["eve"]


def test_a_directory_that_goes_and_comes_is_no_failure(home: Home, offered: Offered):
    assert offered() == ["ada"]
    (home.path / "dir").rename(home.path / "away")
    assert offered() == []
    (home.path / "away").rename(home.path / "dir")
    assert offered() == ["ada"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_system_without_means_drops_no_key(
    offered: Offered, monkeypatch: pytest.MonkeyPatch, number: int
):
    assert offered() == ["ada"]

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", fail)
        assert offered() == ["ada"]
    with monkeypatch.context() as patch:
        patch.setattr(keyfiles, "_read", fail)
        assert offered() == ["ada"]
    assert offered() == ["ada"]


def test_a_file_that_was_named_is_watched_too(home: Home, maker: Maker):
    path = home.path / "named.tpm"
    shutil.copy(home.path / "ada.tpm", path)
    offered = Offered(KeyFiles([str(path)], None, maker.of_file))
    assert offered() == [str(path)]
    shutil.copy(home.path / "bob.tpm", path)
    before = offered.keys[0].blob
    assert offered() == [str(path)]
    assert offered.keys[0].blob != before
    path.unlink()
    assert offered() == []


def certify(home: Home, *names: str) -> None:
    """Let ssh-keygen make a certificate of ada's key for each of these names, in one file."""
    if not (home.path / "ca").exists():
        home.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ca")
    lines = []
    for name in names:
        home.run("ssh-keygen", "-q", "-s", "ca", "-I", name, "-n", name, "dir/one.pub")
        lines.append((home.path / "dir/one-cert.pub").read_text())
    (home.path / "dir/one-cert.pub").write_text("".join(lines))


def test_certificates_beside_a_key_are_offered_with_it_and_sign(home: Home):
    need("ssh-keygen", "ssh-add")
    put(home, "ada", "one")
    with agent(home, "--key-dir", "dir") as daemon:
        assert len(home.run("ssh-add", "-L", **daemon.env).splitlines()) == 1
        certify(home, "login", "backup")
        listed = home.run("ssh-add", "-L", **daemon.env).splitlines()
        certificates = (home.path / "dir/one-cert.pub").read_text().splitlines()
        assert [line.split()[:2] for line in listed[1:]] == [
            line.split()[:2] for line in certificates
        ]
        home.run("ssh-add", "-T", "dir/one-cert.pub", **daemon.env)
        (home.path / "dir/one-cert.pub").unlink()
        assert len(home.run("ssh-add", "-L", **daemon.env).splitlines()) == 1


def test_row_13_a_stale_key_is_neither_listed_nor_used(home: Home):
    need("ssh-add")
    put(home, "ada", "one")
    with agent(home, "--key-dir", "dir") as daemon:
        home.run("ssh-add", "-T", "ada.pub", **daemon.env)
        put(home, "bob", "one")
        home.refuses("ssh-add", "-T", "ada.pub", **daemon.env)
        home.run("ssh-add", "-T", "bob.pub", **daemon.env)
        assert home.run("ssh-add", "-L", **daemon.env) == (home.path / "bob.pub").read_text()


# --- what ssh-add -s loads --------------------------------------------------------------------


@pytest.fixture
def tokens(home: Home, maker: Maker) -> Tokens:
    for name in ("ada", "pin"):
        put(home, name, name)
    return Tokens(str(home.path / "dir"), maker)


def test_a_key_is_named_by_its_path_absolute_or_below_the_directory(home: Home, tokens: Tokens):
    for token in ("ada.tpm", "./ada.tpm", "../dir/ada.tpm", str(home.path / "dir/ada.tpm")):
        (key,) = tokens.load(token, b"")
        assert key.comment == "ada"
        assert key.sign(b"data", 0, UNKNOWN)


def test_a_directory_means_all_keys_in_it(home: Home, tokens: Tokens):
    (home.path / "dir/below").mkdir()
    for token, comments in ((".", ["ada", "pin"]), ("below", [])):
        assert [key.comment for key in tokens.load(token, PIN)] == comments


def test_a_pin_that_is_given_is_kept(tokens: Tokens):
    (key,) = tokens.load("pin.tpm", PIN)
    for _ in range(2):
        assert key.sign(b"data", 0, UNKNOWN)


def test_without_a_pin_somebody_is_asked_when_the_key_is_used(tokens: Tokens):
    (key,) = tokens.load("pin.tpm", b"")
    with pytest.raises(NoAnswerError):
        key.sign(b"data", 0, UNKNOWN)


@pytest.mark.parametrize(
    "token", ["../ada.tpm", "/etc/ada.tpm", "../../../../etc/ada.tpm", "{home}/ada.tpm"]
)
def test_what_is_not_below_the_directory_is_refused(home: Home, tokens: Tokens, token: str):
    with pytest.raises(UserError, match="keys are loaded from"):
        tokens.load(token.format(home=home.path), PIN)


def test_links_are_followed_before_it_is_decided(home: Home, tokens: Tokens):
    (home.path / "dir/out.tpm").symlink_to("../bob.tpm")
    (home.path / "dir/up").symlink_to("..")
    for token in ("out.tpm", "up/bob.tpm", "."):
        with pytest.raises(UserError, match="keys are loaded from"):
            tokens.load(token, PIN)
    (home.path / "link").symlink_to("dir")
    assert [*tokens.load(str(home.path / "link/ada.tpm"), b"")]


def test_the_directory_itself_may_be_a_link(home: Home, maker: Maker):
    put(home, "ada", "ada")
    (home.path / "link").symlink_to("dir")
    linked = Tokens(str(home.path / "link"), maker)
    for token in ("ada.tpm", str(home.path / "link/ada.tpm"), str(home.path / "dir/ada.tpm")):
        assert [key.comment for key in linked.load(token, b"")] == ["ada"]


@pytest.mark.parametrize("token", ["/usr/lib/opensc.so", "opensc.so", "internal", "/", "up"])
def test_what_may_be_somebody_elses_is_left_to_them(home: Home, tokens: Tokens, token: str):
    with pytest.raises(NotOursError):
        tokens.load(token, PIN)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("none.tpm", "no such file"),
        ("garbage.tpm", "no TSS2 PRIVATE KEY"),
        ("a\0.tpm", "zero octet"),
        ("handle:", "no handle like"),
        ("handle:xyz", "no handle like"),
        ("handle:0x80000000", "no persistent handle"),
        ("handle:-1", "no persistent handle"),
        ("handle:0x81ffffff", "no key at 0x81ffffff"),
    ],
)
def test_what_cannot_be_loaded_is_told(home: Home, tokens: Tokens, token: str, said: str):
    (home.path / "dir/garbage.tpm").write_text("garbage")
    with pytest.raises((UserError, KeyFileError), match=said):
        tokens.load(token, b"")


def test_a_wrong_pin_is_refused_at_once_only_if_that_is_wanted(
    home: Home, swtpm: Swtpm, maker: Maker, tokens: Tokens
):
    def failures() -> int:
        with Tpm(connect(swtpm.conf)) as tpm:
            return Lockout.read(tpm.execute).failures

    assert [*tokens.load("pin.tpm", b"wrong")]
    assert failures() == 0
    verifying = Tokens(str(home.path / "dir"), maker, verify=True)
    with pytest.raises(TpmError, match="wrong"):
        verifying.load("pin.tpm", b"wrong")
    assert failures() == 1
    (key,) = verifying.load("pin.tpm", PIN)
    assert key.sign(b"data", 0, UNKNOWN)
    assert [*verifying.load("ada.tpm", b"not needed")]
    with Tpm(connect(swtpm.conf)) as tpm:
        forgive(tpm)


# --- keys that are in the TPM for good --------------------------------------------------------

HANDLE = 0x81000005


@contextlib.contextmanager
def persistent(swtpm: Swtpm, template: TPMT_PUBLIC, auth: bytes = b"") -> Iterator[None]:
    """Have a key at the handle."""
    sensitive = TPMS_SENSITIVE_CREATE(userAuth=auth)
    create = CreatePrimary(primaryHandle=TPM_RH.OWNER, inSensitive=sensitive, inPublic=template)
    with Tpm(connect(swtpm.conf)) as tpm:
        made = tpm.execute(create).objectHandle
        tpm.execute(EvictControl(auth=TPM_RH.OWNER, objectHandle=made, persistentHandle=HANDLE))
    try:
        yield
    finally:
        with Tpm(connect(swtpm.conf)) as tpm:
            evict = EvictControl(auth=TPM_RH.OWNER, objectHandle=HANDLE, persistentHandle=HANDLE)
            tpm.execute(evict)


@pytest.mark.parametrize("pin", [b"", PIN])
def test_a_key_in_the_tpm_signs_with_the_pin_that_was_given(
    swtpm: Swtpm, tokens: Tokens, pin: bytes
):
    with persistent(swtpm, ECC_SIGN, pin):
        (key,) = tokens.load("handle:0x81000005", pin)
        assert key.comment == "handle:0x81000005"
        for _ in range(2):
            assert verify(key.blob, key.sign(b"data", 0, UNKNOWN), b"data", hashes.SHA256())


def test_a_wrong_pin_of_a_key_in_the_tpm_is_asked_for_anew(swtpm: Swtpm, tokens: Tokens):
    with persistent(swtpm, without_lockout(ECC_SIGN), PIN):
        (key,) = tokens.load("handle:0x81000005", b"wrong")
        with pytest.raises(NoAnswerError):
            key.sign(b"data", 0, UNKNOWN)


def test_another_key_at_the_handle_is_not_used(swtpm: Swtpm, tokens: Tokens):
    with persistent(swtpm, ECC_SIGN):
        (key,) = tokens.load("handle:0x81000005", b"")
    with (
        persistent(swtpm, ecc_sign(TPM_ECC.NIST_P384)),
        pytest.raises(KeyFileError, match="another key now"),
    ):
        key.sign(b"data", 0, UNKNOWN)
    with pytest.raises(KeyFileError, match="no key at 0x81000005"):
        key.sign(b"data", 0, UNKNOWN)


def test_a_key_in_the_tpm_that_ssh_cannot_use_is_refused(swtpm: Swtpm, tokens: Tokens):
    with (
        persistent(swtpm, ECC_SRK),
        pytest.raises(KeyFileError, match="signs nothing from outside"),
    ):
        tokens.load("handle:0x81000005", b"")


# --- ssh-add itself ---------------------------------------------------------------------------


def test_ssh_add_loads_a_key_with_its_pin_and_unloads_it(home: Home):
    need("ssh-add")
    put(home, "pin", "pin")
    with agent(home, "--key-dir", "dir") as daemon:
        home.run("ssh-add", "-D", **daemon.env)
        home.run("ssh-add", "-s", "pin.tpm", **daemon.env, **home.askpass(PIN.decode()))
        home.run("ssh-add", "-T", "pin.pub", **daemon.env)
        assert (home.path / "prompts").read_text() == "Enter passphrase for PKCS#11: \n"
        home.run("ssh-add", "-e", "pin.tpm", **daemon.env, **home.askpass(""))
        home.refuses("ssh-add", "-T", "pin.pub", **daemon.env)
        home.refuses("ssh-add", "-s", "../ada.tpm", **daemon.env, **home.askpass(""))


def test_a_key_that_wants_confirmation_signs_after_it_only(home: Home):
    need("ssh-add")
    put(home, "ada", "ada")
    lines = '#!/bin/sh\nprintf "%s\\n" "$SSH_ASKPASS_PROMPT" "$1" >>asked\ntest -e allowed\n'
    program = home.write("confirms", lines, 0o700)
    env = {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}
    with agent(home, "--key-dir", "dir", **env) as daemon:
        home.run("ssh-add", "-D", **daemon.env)
        home.run("ssh-add", "-c", "-s", "ada.tpm", **daemon.env, **home.askpass(""))
        home.refuses("ssh-add", "-T", "ada.pub", **daemon.env)
        home.write("allowed", "")
        home.run("ssh-add", "-T", "ada.pub", **daemon.env)
    asked = (home.path / "asked").read_text().splitlines()
    assert len(asked) == 8
    assert asked[0] == "confirm"
    assert asked[1].startswith("Asked by ssh-add -T ada.pub (")
    assert asked[2:4] == ["To sign something unknown", "Allow use of TPM key ada?"]
