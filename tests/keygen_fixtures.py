"""What the tests of tpmwire-keygen share: a home, OpenSSL as a judge of keys, parents."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Swtpm, left_loaded
from ssh_fixtures import Home, need

from tpmwire.client import Tpm
from tpmwire.commands import EvictControl
from tpmwire.constants import TPM_RH
from tpmwire.keyfile import KeyFile
from tpmwire.transport import connect

PIN = "correct horse"
PERSISTENT = 0x81000001


def clean_home(path: Path, swtpm: Swtpm) -> Iterator[Home]:
    """A home directory with a TPM in which a test has to leave nothing loaded."""
    yield new_home(path, swtpm.conf)
    if swtpm.process.poll() is None:
        assert left_loaded(swtpm) == ()


def new_home(path: Path, conf: str) -> Home:
    home = Home(path, conf)
    home.env.pop("PYTHONUNBUFFERED", None)
    return home


def keyfile(home: Home, name: str = "key") -> KeyFile:
    return KeyFile.from_pem((home.path / f"{name}.tpm").read_bytes())


def listed(home: Home, name: str = "key.pub") -> list[str]:
    """Return what ssh-keygen says of a public key: its bits, fingerprint, comment and type."""
    bits, fingerprint, rest = home.run("ssh-keygen", "-l", "-f", name).strip().split(" ", 2)
    comment, kind = rest.rsplit(" ", 1)
    return [bits, fingerprint, comment, kind.strip("()")]


def files_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def snapshot(directory: Path) -> dict[str, tuple[bytes, os.stat_result]]:
    return {path.name: (path.read_bytes(), path.stat()) for path in directory.glob("key.*")}


def openssl_signs(home: Home, pin: str, name: str = "key") -> bool:
    """Have OpenSSL sign with a key and PIN, verify that, and tell whether the TPM let it."""
    need_provider(home)
    home.write("text", "to be signed")
    command = ["openssl", "pkeyutl", "-rawin", "-digest", "sha256", "-in", "text"]
    provider = ["-provider", "tpm2", "-provider", "default"]
    signing = ["-sign", "-inkey", f"{name}.tpm", "-passin", "env:PIN", "-out", "signature"]
    if home.attempt(*command, *provider, *signing, PIN=pin).returncode != 0:
        return False
    home.write("public", home.run("ssh-keygen", "-e", "-m", "PKCS8", "-f", f"{name}.pub"))
    home.run(*command, "-verify", "-pubin", "-inkey", "public", "-sigfile", "signature")
    return True


def need_provider(home: Home) -> None:
    need("openssl", "ssh-keygen", "tpm2_dictionarylockout")
    command = ("openssl", "list", "-providers", "-provider", "tpm2")
    if home.attempt(*command).returncode != 0:
        pytest.skip("tpm2-openssl is not installed")


@contextmanager
def persistent(swtpm: Swtpm, template: object, handle: int = PERSISTENT) -> Iterator[None]:
    """Have a primary key of a template at a persistent handle."""
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(template) as made:
        evict(tpm, made, handle)
    try:
        yield
    finally:
        with Tpm(connect(swtpm.conf)) as tpm:
            evict(tpm, handle, handle)


def evict(tpm: Tpm, what: object, handle: int) -> None:
    tpm.execute(EvictControl(auth=TPM_RH.OWNER, objectHandle=what, persistentHandle=handle))
