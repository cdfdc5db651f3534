"""The key files of a directory: who may touch them, whether they are sound, whether they load."""

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.diagnosis.chip import is_weak
from tpmwire.diagnosis.finding import Finding, fine, note, problem, warning
from tpmwire.diagnosis.loading import Loading
from tpmwire.keyfile import KeyFile
from tpmwire.types.objects import TPMS_RSA_PARMS

SUBJECT = "keys"
_LEAST_RSA = 2048


@dataclass(frozen=True)
class Entry:
    """A file or directory: its permissions and owner, and whether that is us or root."""

    path: str
    mode: int
    owner: str
    trusted: bool


@dataclass(frozen=True)
class Found:
    """A key file as it was found: its content, or why there is none."""

    entry: Entry
    keyfile: KeyFile | None = None
    blob: bytes = field(default=b"", repr=False)
    complaint: str = ""
    beside: bytes | None = None
    """The public key in the .pub file beside it, if there is one."""

    @property
    def path(self) -> str:
        """Where it is."""
        return self.entry.path


def check_directory(directory: Entry | None, path: str, found: int) -> Iterator[Finding]:
    """Look at the directory of the key files."""
    if directory is None:
        yield note(SUBJECT, f"{path}: no such directory", "tpmwire-keygen makes a key there")
        return
    yield from _check_entry(directory)
    if not found:
        yield note(SUBJECT, f"{path}: no key files (*.tpm) in it", "tpmwire-keygen makes some")


def check_file(key: Found) -> Iterator[Finding]:
    """Look at one key file, without a TPM."""
    yield from _check_entry(key.entry)
    if key.entry.mode & 0o044:
        yield warning(
            *(SUBJECT, f"{key.path}: others can read it, and use it in this machine"),
            f"chmod 600 {key.path}",
        )
    if key.complaint:
        yield problem(
            *(SUBJECT, f"{key.path}: {key.complaint}"),
            "no agent uses it as it is: move it away, or make a new key",
        )
    if key.keyfile is not None:
        yield from _check_key(key, key.keyfile)


def _check_entry(entry: Entry) -> Iterator[Finding]:
    if entry.mode & 0o022:
        what = "what is in it" if stat.S_ISDIR(entry.mode) else "it"
        yield problem(
            *(SUBJECT, f"{entry.path}: others can replace {what}"), f"chmod go-w {entry.path}"
        )
    if not entry.trusted:
        yield problem(SUBJECT, f"{entry.path}: it belongs to {entry.owner}", "make it your own")


def _check_key(key: Found, keyfile: KeyFile) -> Iterator[Finding]:
    public = keyfile.public
    if is_weak(public):
        yield problem(
            *(SUBJECT, f"{key.path}: it can be computed from the public key (CVE-2017-15361)"),
            "make a new key, and take this one out of every authorized_keys",
        )
    parameters = public.parameters
    if isinstance(parameters, TPMS_RSA_PARMS) and parameters.keyBits < _LEAST_RSA:
        yield warning(
            *(SUBJECT, f"{key.path}: an RSA key of only {parameters.keyBits} bits"),
            "make a new key",
        )
    if keyfile.empty_auth and not public.objectAttributes & TPMA_OBJECT.noDA:
        yield warning(
            *(SUBJECT, f"{key.path}: it has no PIN, and yet wrong PINs of other keys stop it"),
            "make a new key: tpmwire-keygen gives one without a PIN the attribute noDA",
        )
    if key.beside is not None and key.beside != key.blob:
        base = key.path.removesuffix(".tpm")
        yield problem(
            *(SUBJECT, f"{base}.pub is not the public key of {key.path}"),
            "the right one stands in 'ssh-add -L' of an agent that has the key",
        )


def check_loading(keys: list[Found], loadings: Mapping[str, Loading]) -> Iterator[Finding]:
    """Tell which keys can be loaded into this TPM, and why others cannot."""
    for key in keys:
        loading = loadings.get(key.path)
        if loading is None:
            continue
        if loading.complaint:
            yield problem(
                *(SUBJECT, f"{key.path}: it does not load: {loading.complaint}"),
                "if it is of another TPM, or this one was cleared, make a new key",
            )
        else:
            yield fine(SUBJECT, f"{key.path}: it loads")
        if loading.parent is not None and is_weak(loading.parent):
            yield problem(
                *(SUBJECT, f"{key.path}: its parent can be computed (CVE-2017-15361)"),
                "update the TPM's firmware, then make a new key under another parent",
            )
