"""What can go wrong, and by whose fault.

    Error
    ├── EncodeError (also ValueError)    a value of yours does not fit the wire
    ├── DecodeError                      octets from outside are not what the specification says
    ├── TpmError                         the TPM answered with a response code
    │   └── TpmWarning                   the same command may succeed later
    ├── SessionError                     an answer is not of its session: treat as an attack
    ├── PolicyError                      a policy cannot be met, and which step of which branch
    ├── AttestationError                 what was attested is not what has to be proven, and why
    ├── TransportError (also OSError)    no TPM, no permission, a broken connection
    ├── ConfError (also ValueError)      a conf string makes no sense
    └── KeyFileError                     a key file is malformed or of an unknown kind

A response code is one of two formats [Part 2, 6.6].  Format 1 says which handle, session or
parameter is at fault; format 0 does not, and with its warning bit set means "not now".  Bits 16 to
23 tell the layer that made the code: 0 is the TPM itself, 11 the kernel's resource manager, which
speaks as the TPM does.  The other layers have numbers of their own.
"""

from collections.abc import Sequence

from tpmwire.constants import TPM_RC

LAYERS = {
    6: "FAPI",
    7: "ESAPI",
    8: "SAPI",
    9: "MU",
    10: "TCTI",
    11: "resource manager",
    12: "resource manager",
    13: "driver",
}

_AS_TPM = (0, 11)
_RESERVED, _FORMAT_1, _VENDOR, _WARNING = 0xFF00F000, 0x080, 0x500, 0x900

EXPLANATIONS: dict[int, str] = {
    TPM_RC.BAD_TAG: "the command's tag is not one of TPM 2.0",
    TPM_RC.INITIALIZE: "the TPM wants TPM2_Startup first, or has had it already",
    TPM_RC.FAILURE: "the TPM is in failure mode: only a restart, or a repair, brings it back",
    TPM_RC.DISABLED: "the hierarchy or the command is disabled",
    TPM_RC.EXCLUSIVE: "an exclusive audit session was interrupted",
    TPM_RC.AUTH_TYPE: "this kind of authorization is not allowed here",
    TPM_RC.AUTH_MISSING: "the command wants an authorization that was not given",
    TPM_RC.POLICY: "an authPolicy is not valid, or a policy cannot be computed",
    TPM_RC.PCR: "the PCR selection or its digest is not what the policy wants",
    TPM_RC.PCR_CHANGED: "a PCR has changed since the policy looked at it",
    TPM_RC.TOO_MANY_CONTEXTS: "too many saved contexts",
    TPM_RC.AUTH_UNAVAILABLE: "the entity has no usable authorization value or policy",
    TPM_RC.REBOOT: "the TPM wants a restart first",
    TPM_RC.COMMAND_SIZE: "the command's size field is not the number of octets sent",
    TPM_RC.COMMAND_CODE: "this TPM does not have the command",
    TPM_RC.AUTHSIZE: "the size of the authorization area is wrong",
    TPM_RC.AUTH_CONTEXT: "the command takes no authorization",
    TPM_RC.NV_SPACE: "no NV space left",
    TPM_RC.NV_DEFINED: "the NV index or persistent handle is taken already",
    TPM_RC.NV_AUTHORIZATION: "NV access is not authorized",
    TPM_RC.NV_LOCKED: "the NV index is locked",
    TPM_RC.NV_UNINITIALIZED: "the NV index has never been written",
    TPM_RC.BAD_CONTEXT: "the saved context is not one of this TPM since its last start",
    TPM_RC.PARENT: "the handle is not that of a usable parent",
    TPM_RC.NEEDS_TEST: "a function must be self-tested first",
    TPM_RC.SENSITIVE: "the sensitive part does not fit the public one",
    TPM_RC.ATTRIBUTES: "attributes contradict each other or the use",
    TPM_RC.HASH: "the hash algorithm is unknown here or does not fit",
    TPM_RC.VALUE: "the value is out of range or wrong for its place",
    TPM_RC.HIERARCHY: "the hierarchy is disabled or wrong for this",
    TPM_RC.KEY_SIZE: "this TPM does not have the key size",
    TPM_RC.MODE: "the mode of operation is unknown here or does not fit",
    TPM_RC.TYPE: "the type is unknown here or does not fit",
    TPM_RC.HANDLE: "no object or session has this handle, or it is of the wrong kind",
    TPM_RC.KDF: "the key derivation function is unknown here or does not fit",
    TPM_RC.RANGE: "the value is out of its allowed range",
    TPM_RC.AUTH_FAIL: "the authorization (PIN, password) is wrong, and the failure counts",
    TPM_RC.NONCE: "the nonce has the wrong size or value",
    TPM_RC.PP: "physical presence is wanted",
    TPM_RC.SCHEME: "the scheme is unknown here or does not fit the key",
    TPM_RC.SIZE: "a size is wrong",
    TPM_RC.SYMMETRIC: "the symmetric algorithm is unknown here or does not fit",
    TPM_RC.TAG: "a structure has the wrong tag",
    TPM_RC.SELECTOR: "a selector names no case of its union",
    TPM_RC.INSUFFICIENT: "the command ends too early",
    TPM_RC.SIGNATURE: "the signature is not valid",
    TPM_RC.KEY: "the key does not fit the use, or its parts do not fit together",
    TPM_RC.POLICY_FAIL: "the policy of the entity is not met",
    TPM_RC.INTEGRITY: "the blob was not made under this parent: another TPM, a cleared one, "
    "another parent, or a damaged file",
    TPM_RC.TICKET: "the ticket is not valid",
    TPM_RC.RESERVED_BITS: "reserved bits are set",
    TPM_RC.BAD_AUTH: "the authorization (PIN, password) is wrong",
    TPM_RC.EXPIRED: "the policy has expired",
    TPM_RC.POLICY_CC: "the policy is for another command",
    TPM_RC.BINDING: "the public and the private part do not belong together",
    TPM_RC.CURVE: "this TPM does not have the curve",
    TPM_RC.ECC_POINT: "the point is not on its curve",
    TPM_RC.CONTEXT_GAP: "too many sessions were saved since the oldest one",
    TPM_RC.OBJECT_MEMORY: "no room for another object: flush one",
    TPM_RC.SESSION_MEMORY: "no room for another session: flush one",
    TPM_RC.MEMORY: "the TPM is out of memory",
    TPM_RC.SESSION_HANDLES: "no session handle left: flush a session",
    TPM_RC.OBJECT_HANDLES: "no object handle left: the TPM wants a restart",
    TPM_RC.LOCALITY: "wrong locality",
    TPM_RC.YIELDED: "the TPM was interrupted by something more urgent",
    TPM_RC.CANCELED: "the command was cancelled",
    TPM_RC.TESTING: "the TPM is testing itself",
    TPM_RC.NV_RATE: "the TPM spares its NV memory: try again in a while",
    TPM_RC.LOCKOUT: "too many wrong authorizations: the TPM refuses protected keys for a while",
    TPM_RC.RETRY: "the TPM was busy",
    TPM_RC.NV_UNAVAILABLE: "the NV memory cannot be reached now",
}


class Error(Exception):
    """The root of everything that tpmwire raises on purpose."""


class _PlacedError(Error):
    """An error at a field, told by its dotted path."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class EncodeError(_PlacedError, ValueError):
    """A value of yours does not fit the wire format; `path` tells the field."""


class DecodeError(_PlacedError):
    """Octets from outside are not what the specification says; `path` tells the field.

    Where it is known, `octet` tells how many octets were read until then, and `partial` is what
    they stand for: a value that lacks the fields from there on, only good for being looked at.
    """

    octet: int | None = None
    partial: object = None

    def __str__(self) -> str:
        place = "" if self.octet is None else f" (at octet {self.octet})"
        return super().__str__() + place

    def with_read(self, partial: object, octet: int | None) -> "DecodeError":
        """Note what was read until then, and how far that is."""
        self.partial, self.octet = partial, octet
        return self


class SessionError(Error):
    """An answer of the TPM does not belong to its session.  Treat it as an attack."""


class PolicyError(Error):
    """A policy cannot be met here and now.

    `failures` tells for each branch that was tried how it is called, its step that does not hold,
    in words, and the reason.
    """

    def __init__(self, reason: str, failures: Sequence[tuple[str, str, str]] = ()) -> None:
        super().__init__(reason, *failures)
        self.reason, self.failures = reason, tuple(failures)

    def __str__(self) -> str:
        tried = (
            f"{f'branch {branch}: ' if branch else ''}{step}: {why}"
            for branch, step, why in self.failures
        )
        return ": ".join((self.reason, "; ".join(tried))) if self.failures else self.reason


class AttestationError(_PlacedError):
    """An attestation does not prove what it has to; `path` tells which part of it fails."""


class TransportError(Error, OSError):
    """The TPM cannot be reached, or the connection to it broke."""

    def __str__(self) -> str:
        return self.strerror or super().__str__()


class ConfError(Error, ValueError):
    """A conf string does not tell which TPM is meant."""


class KeyFileError(Error):
    """A key file is malformed, or of a kind that is not known here."""


class TpmError(Error):
    """The TPM answered with a response code other than TPM_RC_SUCCESS.

    `raw` is the number as it came; `code` the same without the bits that tell the place, a TPM_RC
    where it has a name, or all of it where it is none of a TPM's; `subject` is "handle", "session",
    "parameter" or "" and `index` its number, from 1; `layer` is 0 for the TPM itself; `command` is
    the name of the command.  `help` is what was found out since, in words.
    """

    help = ""

    def __init__(self, raw: int, command: str = "") -> None:
        super().__init__(raw, command)
        self.raw, self.command = raw, command
        self.layer = raw >> 16 & 0xFF
        self.code, self.subject, self.index = _dissect(raw)

    def __str__(self) -> str:
        parts = [_code_name(self.code, self.raw)]
        if self.subject:
            parts.append(f"({self.subject} {self.index})" if self.index else f"({self.subject})")
        if self.layer:
            parts.append(f"[{LAYERS.get(self.layer) or f'layer {self.layer}'}]")
        if self.command:
            parts.append(f"from {self.command}")
        words = "; ".join(filter(None, (EXPLANATIONS.get(self.code), self.help)))
        return " ".join(parts) + (f": {words}" if words else "")


class TpmWarning(TpmError):
    """The TPM could not do it now; the same command may succeed later."""


def tpm_error(raw: int, command: str = "") -> TpmError:
    """Make the exception for response code `raw` of `command`: a warning or an error."""
    warning = _speaks_tpm(raw) and raw & (_FORMAT_1 | 0xF00) == _WARNING
    return (TpmWarning if warning else TpmError)(raw, command)


def _speaks_tpm(raw: int) -> bool:
    return raw >> 16 & 0xFF in _AS_TPM and not raw & _RESERVED


def _dissect(raw: int) -> tuple[int, str, int]:
    if not _speaks_tpm(raw):
        return raw, "", 0
    rc = raw & 0xFFF
    if not rc & _FORMAT_1:
        return _named(rc), "", 0
    number = rc >> 8 & 0xF
    code = _named(rc & 0x0BF)
    if rc & 0x040:
        return code, "parameter", number
    return code, "session" if number & 8 else "handle", number & 7


def _named(code: int) -> int:
    try:
        return TPM_RC(code)
    except ValueError:
        return code


def _code_name(code: int, raw: int) -> str:
    if isinstance(code, TPM_RC):
        return f"TPM_RC_{code.name}"
    vendor = _speaks_tpm(raw) and raw & (_FORMAT_1 | _VENDOR) == _VENDOR
    return f"{'vendor response code' if vendor else 'response code'} {raw:#x}"
