"""Policies: what has to hold before an object can be used.  [Part 1, 19.7; Part 3, 23]

The steps are called as the commands are, without "Policy" before it:

    from tpmwire import policy
    from tpmwire.policy import Policy

    sign = Policy(policy.PCR({TPM_ALG.SHA256: {7: value}}), policy.AuthValue())

`sign.digest(TPM_ALG.SHA256)` is what stands in the key's `authPolicy`, `sign.satisfy(tpm, session)`
asserts it, and `sign.explain()` says it in words.
"""

from tpmwire.policy.choices import Approved, Authorize, AuthorizeNV, Or, approval
from tpmwire.policy.comparisons import NV, PCR, Capability, CounterTimer, PCRDigest
from tpmwire.policy.hashes import cp_hash, name_hash, parameters_hash, template_hash
from tpmwire.policy.policy import Path, Policy
from tpmwire.policy.signed import Secret, Signed, Ticket
from tpmwire.policy.steps import (
    AuthValue,
    CommandCode,
    CpHash,
    DuplicationSelect,
    Locality,
    NameHash,
    NvWritten,
    Parameters,
    Password,
    PhysicalPresence,
    Template,
)

__all__ = [
    "NV",
    "PCR",
    "Approved",
    "AuthValue",
    "Authorize",
    "AuthorizeNV",
    "Capability",
    "CommandCode",
    "CounterTimer",
    "CpHash",
    "DuplicationSelect",
    "Locality",
    "NameHash",
    "NvWritten",
    "Or",
    "PCRDigest",
    "Parameters",
    "Password",
    "Path",
    "PhysicalPresence",
    "Policy",
    "Secret",
    "Signed",
    "Template",
    "Ticket",
    "approval",
    "cp_hash",
    "name_hash",
    "parameters_hash",
    "template_hash",
]
