"""The commands of TPM 2.0, Part 3 of the library specification, one module per chapter."""

from tpmwire.commands.base import (
    ADMIN,
    COMMANDS,
    DUP,
    USER,
    Command,
    CommandFrame,
    Response,
    ResponseFrame,
    Role,
    unpack_command,
    unpack_response,
)
from tpmwire.commands.capability import (
    GetCapability,
    GetCapabilityResponse,
    TestParms,
    TestParmsResponse,
)
from tpmwire.commands.context import (
    EvictControl,
    EvictControlResponse,
    FlushContext,
    FlushContextResponse,
)
from tpmwire.commands.hierarchy import CreatePrimary, CreatePrimaryResponse
from tpmwire.commands.object import (
    Create,
    CreateResponse,
    Load,
    LoadExternal,
    LoadExternalResponse,
    LoadResponse,
    ObjectChangeAuth,
    ObjectChangeAuthResponse,
    ReadPublic,
    ReadPublicResponse,
)
from tpmwire.commands.random import GetRandom, GetRandomResponse, StirRandom, StirRandomResponse
from tpmwire.commands.signing import (
    Sign,
    SignResponse,
    VerifySignature,
    VerifySignatureResponse,
)
from tpmwire.commands.startup import Shutdown, ShutdownResponse, Startup, StartupResponse
from tpmwire.commands.testing import (
    GetTestResult,
    GetTestResultResponse,
    SelfTest,
    SelfTestResponse,
)

__all__ = [
    "ADMIN",
    "COMMANDS",
    "DUP",
    "USER",
    "Command",
    "CommandFrame",
    "Create",
    "CreatePrimary",
    "CreatePrimaryResponse",
    "CreateResponse",
    "EvictControl",
    "EvictControlResponse",
    "FlushContext",
    "FlushContextResponse",
    "GetCapability",
    "GetCapabilityResponse",
    "GetRandom",
    "GetRandomResponse",
    "GetTestResult",
    "GetTestResultResponse",
    "Load",
    "LoadExternal",
    "LoadExternalResponse",
    "LoadResponse",
    "ObjectChangeAuth",
    "ObjectChangeAuthResponse",
    "ReadPublic",
    "ReadPublicResponse",
    "Response",
    "ResponseFrame",
    "Role",
    "SelfTest",
    "SelfTestResponse",
    "Shutdown",
    "ShutdownResponse",
    "Sign",
    "SignResponse",
    "Startup",
    "StartupResponse",
    "StirRandom",
    "StirRandomResponse",
    "TestParms",
    "TestParmsResponse",
    "VerifySignature",
    "VerifySignatureResponse",
    "unpack_command",
    "unpack_response",
]
