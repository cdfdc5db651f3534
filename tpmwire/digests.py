"""Hashes, HMACs and the key derivations on them: pure functions on octets.  [Part 1, 11.4]

Algorithms are told by their TPM_ALG.  One that this machine does not have is a DecodeError, because
its number came from outside.
"""

import hashlib
import hmac as _hmac
from collections.abc import Iterator

from tpmwire.constants import TPM_ALG
from tpmwire.errors import DecodeError

HASHES: dict[int, str] = {
    TPM_ALG.SHA1: "sha1",
    TPM_ALG.SHA256: "sha256",
    TPM_ALG.SHA384: "sha384",
    TPM_ALG.SHA512: "sha512",
    TPM_ALG.SM3_256: "sm3",
    TPM_ALG.SHA3_256: "sha3_256",
    TPM_ALG.SHA3_384: "sha3_384",
    TPM_ALG.SHA3_512: "sha3_512",
}


def hash_name(alg: int) -> str:
    """Tell by what name `hashlib` knows the algorithm `alg`; DecodeError if it does not."""
    name = HASHES.get(alg)
    if name is None or name not in hashlib.algorithms_available:
        raise DecodeError(f"hash algorithm {alg:#06x} is not known on this machine")
    return name


def digest(alg: int, *parts: bytes) -> bytes:
    """Hash the parts, one after the other."""
    return hashlib.new(hash_name(alg), b"".join(parts)).digest()


def digest_size(alg: int) -> int:
    """Tell how many octets a digest has."""
    return hashlib.new(hash_name(alg)).digest_size


def hmac(alg: int, key: bytes, *parts: bytes) -> bytes:
    """Compute the HMAC of the parts, one after the other.  [RFC 2104]"""
    return _hmac.digest(key, b"".join(parts), hash_name(alg))


def kdfa(alg: int, key: bytes, label: bytes, u: bytes, v: bytes, bits: int) -> bytes:
    """Derive `bits` bits from a key: SP 800-108 in counter mode with HMAC.  [Part 1, 11.4.10.2]

    `label` is without its final zero octet; `u` and `v` are the two contexts.  Superfluous bits of
    the first octet are zero.
    """
    fixed = label + b"\0" + u + v + bits.to_bytes(4, "big")
    blocks = (hmac(alg, key, counter, fixed) for counter in _counters(alg, bits))
    return _cut(b"".join(blocks), bits)


def kdfe(alg: int, z: bytes, label: bytes, u: bytes, v: bytes, bits: int) -> bytes:
    """Derive `bits` bits from a shared secret: SP 800-56A with a hash.  [Part 1, 11.4.10.3]

    `z` is the x-coordinate of the shared point, `u` and `v` those of the two public points.
    """
    fixed = z + label + b"\0" + u + v
    return _cut(b"".join(digest(alg, n, fixed) for n in _counters(alg, bits)), bits)


def equal(one: bytes, other: bytes) -> bool:
    """Compare two secrets in a time that does not tell where they differ."""
    return _hmac.compare_digest(one, other)


def _counters(alg: int, bits: int) -> Iterator[bytes]:
    blocks = -(-bits // (8 * digest_size(alg)))
    return (number.to_bytes(4, "big") for number in range(1, blocks + 1))


def _cut(octets: bytes, bits: int) -> bytes:
    size = (bits + 7) // 8
    if bits % 8:
        octets = bytes([octets[0] & (1 << bits % 8) - 1]) + octets[1:]
    return octets[:size]
