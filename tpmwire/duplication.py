"""Secrets for one key of a TPM, made and opened outside of it: credentials and duplicates.

Both are protected by a random seed, that only the holder of the key (the parent, the endorsement
key) can recover, and are bound to the Name of an object:

    outer  = HMAC(hmacKey, encrypted ‖ Name) ‖ encrypted       [Part 1, 22 and 24]
    inner  = encrypt(encryptionKey, H(sensitive ‖ Name) ‖ sensitive)

A duplicate may have both wrappers, one, or none.  The first vector is always zero, since each key
encrypts once only.  The HMAC is verified before anything is decrypted.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.constants import TPM_ALG
from tpmwire.crypto import (
    PrivateKey,
    block_size,
    cfb_decrypt,
    cfb_encrypt,
    recover_secret,
    share_secret,
)
from tpmwire.digests import digest, digest_size, equal, hmac, kdfa
from tpmwire.errors import DecodeError, EncodeError
from tpmwire.names import object_name
from tpmwire.objects import is_storage
from tpmwire.softkeys import check_binding
from tpmwire.structure import Structure, secret
from tpmwire.templates import NO_CIPHER
from tpmwire.types.algorithms import TPMT_SYM_DEF_OBJECT
from tpmwire.types.objects import (
    TPM2B_SENSITIVE,
    TPMS_ECC_PARMS,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
)
from tpmwire.types.structures import TPM2B_DIGEST
from tpmwire.wire import Rest
from tpmwire.wrapped import Wrapped


class _Wrapper(Structure):
    """What either wrapper consists of: the proof of its content, then the content."""

    integrity: TPM2B_DIGEST
    content: Annotated[bytes, Rest()] = secret()


class _Sensitive(Structure):
    sensitive: TPM2B_SENSITIVE = secret()


class _Identity(Structure):
    credential: TPM2B_DIGEST = secret()


@dataclass(frozen=True)
class Credential:
    """A secret for the TPM that has both the key and the object; for TPM2_ActivateCredential.

    `id_object` is what a TPM2B_ID_OBJECT holds.
    """

    id_object: bytes
    encrypted_secret: bytes


# --- credentials [Part 1, 24] ------------------------------------------------------------------


def make_credential(public: TPMT_PUBLIC, name: bytes, credential: bytes) -> Credential:
    """Make a credential that only the TPM with the key `public` and the object `name` can open.

    EncodeError if it is longer than a digest of the key, DecodeError if the key is not a storage
    key that can be used on this machine.
    """
    outer = _Outer(public, name)
    if len(credential) > digest_size(public.nameAlg):
        raise EncodeError("the credential is longer than a digest of the key's name algorithm")
    shared = share_secret(public, b"IDENTITY")
    octets = outer.seal(shared.secret, _Identity(credential=credential).pack())
    return Credential(octets, shared.encrypted)


def open_credential(
    made: Credential, public: TPMT_PUBLIC, name: bytes, private: PrivateKey
) -> bytes:
    """Recover what is in a credential outside a TPM, by the private key of `public`.

    DecodeError if it is not for this key and this Name, or was changed.
    """
    outer = _Outer(public, name)
    seed = recover_secret(private, public, b"IDENTITY", made.encrypted_secret)
    return _Identity.unpack(outer.open(seed, made.id_object)).credential


# --- duplicates [Part 1, 23.3] -----------------------------------------------------------------


def wrap(
    sensitive: TPMT_SENSITIVE,
    public: TPMT_PUBLIC,
    parent: TPMT_PUBLIC | None = None,
    symmetric: TPMT_SYM_DEF_OBJECT = NO_CIPHER,
) -> Wrapped:
    """Make a duplicate of an object, which only the parent's TPM can import.

    `symmetric` asks for an inner wrapper, whose random key has to travel another way.  Without a
    parent there is no outer one.  EncodeError if no TPM would import it, DecodeError if the parent
    is not a storage key that can be used on this machine.
    """
    _check_duplicable(sensitive, public, symmetric, outer=parent is not None)
    name, octets, key = object_name(public), _Sensitive(sensitive=sensitive).pack(), b""
    if symmetric.algorithm != TPM_ALG.NULL:
        key = secrets.token_bytes(_key_size(symmetric))
        inner = _Wrapper(integrity=digest(public.nameAlg, octets, name), content=octets)
        octets = _crypt(cfb_encrypt, symmetric, key, inner.pack())
    if parent is None:
        return Wrapped(octets, b"", key, symmetric)
    outer, shared = _Outer(parent, name), share_secret(parent, b"DUPLICATE")
    return Wrapped(outer.seal(shared.secret, octets), shared.encrypted, key, symmetric)


def unwrap(
    made: Wrapped,
    public: TPMT_PUBLIC,
    parent: TPMT_PUBLIC | None = None,
    private: PrivateKey | None = None,
) -> TPMT_SENSITIVE:
    """Recover the sensitive area of a duplicate, by the private key of its new parent.

    DecodeError if it is not for this parent, not of this object, or was changed.  Both or neither
    of `parent` and `private` have to be given, so that a missing outer wrapper is noticed.
    """
    if (parent is None) != (private is None):
        raise EncodeError("a parent's public area and its private key go together")
    name, octets = object_name(public), made.duplicate
    _check_wrappers(public, made.symmetric, outer=private is not None)
    if parent is not None and private is not None:
        outer = _Outer(parent, name)
        seed = recover_secret(private, parent, b"DUPLICATE", made.encrypted_secret)
        octets = outer.open(seed, octets)
    elif made.encrypted_secret:
        raise DecodeError("the duplicate has an outer wrapper, which only its parent's key opens")
    if made.symmetric.algorithm != TPM_ALG.NULL:
        octets = _open_inner(made, public.nameAlg, name, octets)
    sensitive = _Sensitive.unpack(octets).sensitive
    if sensitive is None:
        raise DecodeError("the duplicate has no sensitive area")
    check_binding(sensitive, public)
    return sensitive


def _check_duplicable(
    sensitive: TPMT_SENSITIVE, public: TPMT_PUBLIC, symmetric: TPMT_SYM_DEF_OBJECT, *, outer: bool
) -> None:
    attributes = public.objectAttributes
    if attributes & (TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent):
        raise EncodeError("the object may not have another parent: fixedTPM or fixedParent is set")
    if len(sensitive.authValue) > digest_size(public.nameAlg):
        raise EncodeError("the authorization value is longer than a digest of the name algorithm")
    try:
        _check_wrappers(public, symmetric, outer=outer)
        check_binding(sensitive, public)
    except DecodeError as error:
        raise EncodeError(error.reason) from None


def _check_wrappers(public: TPMT_PUBLIC, symmetric: TPMT_SYM_DEF_OBJECT, *, outer: bool) -> None:
    both = outer and symmetric.algorithm != TPM_ALG.NULL
    if public.objectAttributes & TPMA_OBJECT.encryptedDuplication and not both:
        raise DecodeError("the object wants both wrappers: encryptedDuplication is set")


def _open_inner(made: Wrapped, alg: int, name: bytes, octets: bytes) -> bytes:
    if len(made.encryption_key) != _key_size(made.symmetric):
        raise DecodeError("the key of the inner wrapper has the wrong size")
    clear = _crypt(cfb_decrypt, made.symmetric, made.encryption_key, octets)
    try:
        inner = _Wrapper.unpack(clear)
    except DecodeError:
        # Where it ends tells something of what was decrypted.
        raise DecodeError(_NOT_INNER) from None
    if not equal(inner.integrity, digest(alg, inner.content, name)):
        raise DecodeError(_NOT_INNER)
    return inner.content


_NOT_INNER = "the inner wrapper is not closed with this key, not of this object, or was changed"


# --- wrappers ----------------------------------------------------------------------------------


class _Outer:
    """The outer wrapper for the holder of a storage key, around something with a Name."""

    def __init__(self, public: TPMT_PUBLIC, name: bytes) -> None:
        parameters = public.parameters
        if not (is_storage(public) and isinstance(parameters, TPMS_RSA_PARMS | TPMS_ECC_PARMS)):
            raise DecodeError("only an RSA or ECC storage key can have secrets of its own")
        self._alg, self._name, self._symmetric = public.nameAlg, name, parameters.symmetric
        self._size = _key_size(self._symmetric)

    def seal(self, seed: bytes, content: bytes) -> bytes:
        """Encrypt, and prove what is encrypted and for which Name."""
        key = self._derived(seed, b"STORAGE", self._name, self._size)
        content = _crypt(cfb_encrypt, self._symmetric, key, content)
        return _Wrapper(integrity=self._integrity(seed, content), content=content).pack()

    def open(self, seed: bytes, octets: bytes) -> bytes:
        """Decrypt, once it is proven; DecodeError if it is not."""
        wrapper = _Wrapper.unpack(octets)
        if not equal(wrapper.integrity, self._integrity(seed, wrapper.content)):
            raise DecodeError("not made for this key and this Name, or changed since")
        key = self._derived(seed, b"STORAGE", self._name, self._size)
        return _crypt(cfb_decrypt, self._symmetric, key, wrapper.content)

    def _integrity(self, seed: bytes, content: bytes) -> bytes:
        key = self._derived(seed, b"INTEGRITY", b"", digest_size(self._alg))
        return hmac(self._alg, key, content, self._name)

    def _derived(self, seed: bytes, label: bytes, name: bytes, size: int) -> bytes:
        return kdfa(self._alg, seed, label, name, b"", 8 * size)


def _key_size(symmetric: TPMT_SYM_DEF_OBJECT) -> int:
    if symmetric.mode != TPM_ALG.CFB:
        raise DecodeError("a wrapper is encrypted in CFB mode or not at all")
    return (symmetric.keyBits or 0) // 8


def _crypt(
    cfb: Callable[[int, bytes, bytes, bytes], bytes],
    symmetric: TPMT_SYM_DEF_OBJECT,
    key: bytes,
    octets: bytes,
) -> bytes:
    # As long as a block of the cipher, however long its key is.
    zero = bytes(block_size(symmetric.algorithm))
    return cfb(symmetric.algorithm, key, zero, octets)
