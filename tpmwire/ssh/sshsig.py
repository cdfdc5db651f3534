"""SSHSIG, the signatures of `ssh-keygen -Y` and git: over data and what they are for.

What is signed is not the data but its hash, together with a namespace ("file", "git"), so that a
signature for one purpose is none for another.  [PROTOCOL.sshsig]
"""

import base64
import binascii
from collections.abc import Callable

from tpmwire.constants import TPM_ALG
from tpmwire.errors import DecodeError
from tpmwire.ssh.publickeys import PublicKey, SignatureError
from tpmwire.ssh.wire import STRING, UINT32
from tpmwire.structure import Structure

HASHES = {TPM_ALG.SHA256: b"sha256", TPM_ALG.SHA512: b"sha512"}
"""The hashes that there are, by their names."""

MAGIC, VERSION = b"SSHSIG", 1
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_COLUMNS = 70


class SignedData(Structure):
    """What is really signed, after the magic."""

    namespace: STRING
    reserved: STRING = b""
    hash_algorithm: STRING
    digest: STRING


class SshSignature(Structure):
    """A signature and by whom, what for and over which hash it is, after the magic."""

    version: UINT32 = VERSION
    public_key: STRING
    namespace: STRING
    reserved: STRING = b""
    hash_algorithm: STRING
    signature: STRING

    @property
    def hash(self) -> TPM_ALG:
        """The hash of the data; DecodeError if it is not one of those that there are."""
        for alg, name in HASHES.items():
            if name == self.hash_algorithm:
                return alg
        other = self.hash_algorithm.decode("ascii", "replace")
        raise DecodeError(f"a hash {other!r} is not one of SSHSIG", "hash_algorithm")


def signed_data(namespace: str, alg: TPM_ALG, digest: bytes) -> bytes:
    """Write what has to be signed for data with this digest."""
    data = SignedData(namespace=namespace.encode(), hash_algorithm=HASHES[alg], digest=digest)
    return MAGIC + data.pack()


def armored(blob: bytes, namespace: str, alg: TPM_ALG, signature: bytes) -> str:
    """Write the signature as `ssh-keygen` does, by the key of `blob`."""
    whole = SshSignature(
        public_key=blob,
        namespace=namespace.encode(),
        hash_algorithm=HASHES[alg],
        signature=signature,
    )
    text = base64.b64encode(MAGIC + whole.pack()).decode("ascii")
    lines = (text[start : start + _COLUMNS] for start in range(0, len(text), _COLUMNS))
    return "\n".join((BEGIN, *lines, END, ""))


def is_armored(text: bytes) -> bool:
    """Tell whether a text is meant to be such a signature."""
    return text.startswith(BEGIN.encode())


def read_armored(text: bytes) -> SshSignature:
    """Read a signature; DecodeError if it is malformed, or of a version to come."""
    head, _, rest = text.partition(b"\n")
    body, end, after = rest.partition(b"\n" + END.encode())
    if head.rstrip() != BEGIN.encode() or not end or after.strip():
        raise DecodeError("not framed as an SSH signature")
    try:
        octets = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise DecodeError("the SSH signature is not base64") from None
    return _read(octets)


def _read(octets: bytes) -> SshSignature:
    if not octets.startswith(MAGIC):
        raise DecodeError("the SSH signature does not begin as one")
    # What comes after a version that is not known here may be anything.
    version = int.from_bytes(octets[len(MAGIC) : len(MAGIC) + 4], "big")
    if version != VERSION:
        raise DecodeError(f"an SSH signature of version {version} cannot be read here")
    return SshSignature.unpack(octets[len(MAGIC) :])


def verify_sshsig(
    found: SshSignature, key: PublicKey, namespace: str, digest: Callable[[TPM_ALG], bytes]
) -> None:
    """Check that the holder of a key has signed data for a namespace.

    `digest` computes the digest of the data.  SignatureError tells why the signature does not
    count, DecodeError what is malformed.
    """
    if found.public_key != key.blob:
        raise SignatureError("it is by another key")
    if found.namespace != namespace.encode():
        other = found.namespace.decode("utf-8", "backslashreplace")
        raise SignatureError(f"it is for namespace {other!r}, not {namespace!r}")
    alg = found.hash
    key.verify(found.signature, signed_data(namespace, alg, digest(alg)))
