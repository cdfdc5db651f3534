"""tpmwire-keygen -A makes the keys of a server, and --supported tells what a TPM can make."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Swtpm
from keygen_fixtures import clean_home, files_in, keyfile, listed, snapshot
from programs import needs_tools, tool
from ssh_fixtures import Home, agent, need

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.scripts import hostkeys, keygen, supporting
from tpmwire.templates import ecc_sign, rsa_sign

BASE = "root/etc/ssh"
NAMES = [
    f"ssh_host_tpm_{kind}_key.{ending}" for kind in ("ecdsa", "rsa") for ending in ("pub", "tpm")
]
SIGN = ("ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f")
MAKE = ("tpmwire-keygen", "-A", "-f", "root")


@pytest.fixture
def home(tmp_path: Path, swtpm: Swtpm) -> Iterator[Home]:
    (tmp_path / BASE).mkdir(parents=True)
    yield from clean_home(tmp_path, swtpm)


def test_each_missing_host_key_is_made_without_a_pin(home: Home):
    home.run(*MAKE, "-q")
    assert files_in(home.path / BASE) == NAMES
    for kind, bits in (("ecdsa", "256"), ("rsa", "2048")):
        name = f"{BASE}/ssh_host_tpm_{kind}_key"
        file = keyfile(home, name)
        assert file.empty_auth
        assert TPMA_OBJECT.noDA in file.public.objectAttributes
        assert listed(home, f"{name}.pub")[0] == bits
        modes = [(home.path / f"{name}.{end}").stat().st_mode for end in ("tpm", "pub")]
        assert [*map(stat.S_IMODE, modes)] == [0o600, 0o644]


def test_host_keys_that_are_there_are_kept(home: Home):
    name = home.path / BASE / "ssh_host_tpm_rsa_key.tpm"
    name.write_text("precious")
    os.utime(name, (1, 2))
    assert "ecdsa" in home.run(*MAKE)
    assert name.read_text() == "precious"
    before = snapshot(home.path / BASE), files_in(home.path / BASE)
    assert home.run(*MAKE) == ""
    assert (snapshot(home.path / BASE), files_in(home.path / BASE)) == before
    assert name.stat().st_mtime == 2


def test_the_public_half_of_another_key_is_not_overwritten(home: Home):
    (home.path / BASE / NAMES[0]).write_text("somebody's")
    said = home.refuses(*MAKE, "-q")
    assert said == f"tpmwire-keygen: {BASE}/{NAMES[0]}: File exists\n"
    assert files_in(home.path / BASE) == NAMES[:1]


def test_a_missing_directory_is_told(home: Home):
    assert home.refuses("tpmwire-keygen", "-A", "-f", "none") == (
        "tpmwire-keygen: none/etc/ssh: no such directory\n"
    )


def test_the_directory_may_be_written_with_a_slash(home: Home):
    home.run("tpmwire-keygen", "-A", "-q", "-f", "root/")
    assert files_in(home.path / BASE) == NAMES


def test_an_agent_signs_as_the_host(home: Home):
    need("ssh-keygen")
    home.run(*MAKE, "-q")
    with agent(home, "--key-dir", BASE) as daemon:
        for name in NAMES[::2]:
            signature = home.run(*SIGN, f"{BASE}/{name}", given="text", **daemon.env)
            assert signature.startswith("-----BEGIN SSH SIGNATURE-----")


@needs_tools
def test_host_keys_of_a_kind_that_the_tpm_lacks_are_passed_over(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], swtpm: Swtpm
):
    monkeypatch.chdir(home.path)
    monkeypatch.setattr(hostkeys, "supports", lambda _, template: template != rsa_sign())
    assert keygen.main(["-A", "-q", "-f", "root", "--tpm", swtpm.conf]) == 0
    assert files_in(home.path / BASE) == NAMES[:2]
    assert "this TPM cannot make rsa keys; passed over" in capsys.readouterr().err


@needs_tools
def test_what_is_supported_is_what_tpm2_tools_can_test(home: Home, swtpm: Swtpm):
    told = json.loads(home.run("tpmwire-keygen", "--supported", "--json"))
    names = {f"ecc{bits}": ("ecdsa", bits) for bits in (256, 384, 521)}
    names |= {f"rsa{bits}": ("rsa", bits) for bits in (2048, 3072, 4096)}
    for name, (kind, bits) in names.items():
        done = home.attempt("tpm2_testparms", name)
        assert (done.returncode == 0) == (bits in told[kind]), name
    assert tool(swtpm, "testparms", "ecc256") == ""


def test_what_is_supported_is_listed_for_people(home: Home):
    lines = home.run("tpmwire-keygen", "--supported").splitlines()
    assert [line.split()[0] for line in lines] == ["ecdsa", "rsa"]
    assert lines[0].startswith("ecdsa 256, ")


def test_programs_are_told_of_each_host_key_in_a_line(home: Home):
    lines = home.run(*MAKE, "--json").splitlines()
    told = [json.loads(line) for line in lines]
    assert [Path(each["private"]).name for each in told] == NAMES[1::2]
    assert [each["fingerprint"] for each in told] == [
        listed(home, f"{BASE}/{name}")[1] for name in NAMES[::2]
    ]


def test_what_is_listed_can_be_made_and_signs(home: Home):
    need("ssh-keygen")
    told = json.loads(home.run("tpmwire-keygen", "--supported", "--json"))
    sizes = [(kind, bits) for kind, listed_bits in told.items() for bits in listed_bits]
    for kind, bits in sizes:
        name = f"{kind}{bits}"
        home.run("tpmwire-keygen", "-q", "-N", "", "-f", name, "-t", kind, "-b", str(bits))
        assert listed(home, f"{name}.pub")[0] == str(bits)
    home.write("text", "to be signed")
    with agent(home, "--key-dir", ".") as daemon:
        for kind, bits in sizes:
            name = f"{kind}{bits}"
            home.run(*SIGN, f"{name}.pub", "text", **daemon.env)
            public = (home.path / f"{name}.pub").read_text()
            home.write("allowed", f"me@example.com {public}")
            verify = ("-Y", "verify", "-n", "file", "-I", "me@example.com", "-f", "allowed")
            home.run("ssh-keygen", *verify, "-s", "text.sig", given="to be signed")
            (home.path / "text.sig").unlink()


def test_what_is_not_listed_is_not_made(home: Home):
    said = home.refuses("tpmwire-keygen", "-q", "-N", "", "-f", "x", "-t", "rsa", "-b", "8192")
    assert said == "tpmwire-keygen: this TPM cannot make RSA-8192 keys\n"


@pytest.mark.parametrize(
    ("template", "scheme", "hash_name"),
    [
        (ecc_sign(supporting.CURVES[256]), "ECDSA", "SHA256"),
        (ecc_sign(supporting.CURVES[521]), "ECDSA", "SHA512"),
        (rsa_sign(), "RSASSA", "SHA256"),
    ],
)
def test_the_tpm_is_asked_for_the_scheme_of_ssh_too(template, scheme: str, hash_name: str):
    found = supporting._with_scheme(template).scheme
    assert (found.scheme.name, found.details.hashAlg.name) == (scheme, hash_name)
