"""Importable key files: made of a key that is outside any TPM, and turned into loadable ones.

An importable file holds a key that is wrapped for one parent, and for nobody else: it can be made
without the TPM of that parent, and sent there over whatever way.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tpmwire.client import Tpm
from tpmwire.constants import TPM_RC, TPM_RH
from tpmwire.crypto import PrivateKey
from tpmwire.duplication import wrap
from tpmwire.errors import KeyFileError, TpmError
from tpmwire.keyfile import IMPORTABLE, LOADABLE, KeyFile
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject
from tpmwire.parents import load, open_parent
from tpmwire.softkeys import public_of, sensitive_of
from tpmwire.templates import NO_CIPHER, without_lockout
from tpmwire.types.objects import TPMT_PUBLIC
from tpmwire.wrapped import Wrapped


def make_importable(
    key: PrivateKey, parent: TPMT_PUBLIC, handle: int = TPM_RH.OWNER, pin: bytes = b""
) -> KeyFile:
    """Wrap a private key for a parent, with `pin` as its PIN there.

    `handle` is where the parent is in its TPM, as a key file tells it.  Raises EncodeError if no
    TPM can have the key, DecodeError if nothing can be wrapped for such a parent.
    """
    public = public_of(key)
    if not pin:
        public = without_lockout(public)
    made = wrap(sensitive_of(key, pin), public, parent)
    file = KeyFile(
        public=public,
        private=made.duplicate,
        parent=handle,
        empty_auth=not pin,
        kind=IMPORTABLE,
        parent_name=object_name(parent),
    )
    return file.with_secret(made.encrypted_secret)


def make_loadable(parent: LoadedObject, keyfile: KeyFile, inner_key: bytes = b"") -> KeyFile:
    """Let the TPM take in the key of an importable file; the loadable file of the same key.

    `inner_key` is the key of the inner wrapper, if the file tells of one.  Raises KeyFileError if
    the file is not importable, or was not wrapped for this parent, or was damaged since; TpmError
    if the TPM refuses for another reason.
    """
    if keyfile.kind != IMPORTABLE or not keyfile.secret:
        raise KeyFileError("there is nothing in it that could be imported")
    wrapped = Wrapped(keyfile.private, keyfile.secret, inner_key, keyfile.inner)
    check_inner_key(keyfile, inner_key)
    try:
        private = parent.import_(keyfile.public, wrapped)
    except TpmError as error:
        if not _blames_wrapping(error):
            raise
        raise KeyFileError(
            f"it was not wrapped for this parent ({parent.name.hex()}), or is damaged: {error}"
        ) from None
    made = keyfile.with_secret(b"").replace(kind=LOADABLE, private=private, inner=NO_CIPHER)
    return made.replace(parent_name=parent.name)


def check_inner_key(keyfile: KeyFile, inner_key: bytes) -> None:
    """Find out whether this may be the key of a file's inner wrapper; KeyFileError if not."""
    size = (keyfile.inner.keyBits or 0) // 8
    if len(inner_key) == size:
        return
    if not size:
        raise KeyFileError("it has no inner wrapper, so there is no key to it")
    if not inner_key:
        raise KeyFileError(
            "it has an inner wrapper, whose key has come another way: tpmwire import takes it"
        )
    raise KeyFileError(f"the key of its inner wrapper has {size} octets, not {len(inner_key)}")


def import_file(
    tpm: Tpm,
    keyfile: KeyFile,
    handle: int | None = None,
    auth: bytes | None = b"",
    inner_key: bytes = b"",
) -> KeyFile:
    """Turn an importable file into a loadable one, under the parent that it names, or another.

    `auth` is the authorization of the parent, as in `open_parent`, `inner_key` as in
    `make_loadable`.  The key is loaded once, to see that it can be.  Raises KeyFileError and
    TpmError as `make_loadable` and `open_parent` do.
    """
    handle = keyfile.parent if handle is None else handle
    rsa = keyfile.rsa_parent and handle == keyfile.parent
    with open_parent(tpm, handle, rsa=rsa, auth=auth, name=keyfile.parent_name) as parent:
        made = make_loadable(parent, keyfile, inner_key).replace(parent=handle, rsa_parent=rsa)
        with parent.load(made.private, made.public):
            return made


@contextmanager
def loaded(
    tpm: Tpm, keyfile: KeyFile, auth: bytes | None = b"", pin: bytes = b""
) -> Iterator[LoadedObject]:
    """Load the key of a file for a `with` block; that of an importable file is imported first.

    `auth` is the authorization of the parent, as in `open_parent`, `pin` that of the key.
    KeyFileError or TpmError tells why it cannot be loaded.
    """
    name = keyfile.parent_name
    with open_parent(tpm, keyfile.parent, rsa=keyfile.rsa_parent, auth=auth, name=name) as parent:
        file = make_loadable(parent, keyfile) if keyfile.kind == IMPORTABLE else keyfile
        with load(tpm, parent, file.private, file.public, auth=pin, parent_name=name) as key:
            yield key


def _blames_wrapping(error: TpmError) -> bool:
    """Tell whether an error is about the duplicate or its seed, not about the key itself."""
    # A seed for another RSA key is a number that may be greater than the modulus of this one; the
    # reference code calls that a failure, and goes on.
    return error.code == TPM_RC.FAILURE or (error.subject == "parameter" and error.index in (3, 4))
