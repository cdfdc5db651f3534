"""Looking around for `tpmwire doctor`: the devices, the key files, the agent, the environment."""

import glob
import grp
import os
import pwd
import shutil
import socket
import stat
import struct

import tpmwire
from tpmwire.diagnosis.agent import PROGRAM, Asking, Socket
from tpmwire.diagnosis.device import CHIP, Device, Node
from tpmwire.diagnosis.keys import Entry, Found
from tpmwire.errors import DecodeError, Error
from tpmwire.keyfile import KeyFile
from tpmwire.scripts import prompts, requester, storing
from tpmwire.scripts.console import UserError, explain
from tpmwire.ssh.messages import IDENTITIES_ANSWER, REQUEST_IDENTITIES, IdentitiesAnswer
from tpmwire.ssh.tpmkey import TpmKey
from tpmwire.transport import DEFAULT_DEVICE, ENVIRONMENT

_VERSION = "/sys/class/tpm/tpm0/tpm_version_major"
_MOST = 1 << 16  # octets of a key file
_PATIENCE = 5.0  # seconds for an agent to answer
_LONGEST = 1 << 18  # octets of an agent's message
_CREDENTIALS = struct.Struct("=iII")  # process, user, group


def device(conf: str | None) -> Device | None:
    """Look at the devices of the kernel; None if the TPM is reached in another way."""
    kind, _, rest = chosen(conf).partition(":")
    if kind != "device":
        return None
    wanted = rest or DEFAULT_DEVICE
    return Device(
        wanted=wanted,
        node=_node(wanted),
        chip=_node(CHIP),
        version=_text(_VERSION).strip(),
        groups=frozenset(_group(number) for number in {os.getegid(), *os.getgroups()}),
        listed=_listed(),
    )


def chosen(conf: str | None) -> str:
    """Tell which TPM would be used."""
    return conf or os.environ.get(ENVIRONMENT) or "device"


def _node(path: str) -> Node | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Node(
        path=path,
        is_device=stat.S_ISCHR(status.st_mode),
        mode=stat.S_IMODE(status.st_mode),
        group=_group(status.st_gid),
        usable=os.access(path, os.R_OK | os.W_OK),
    )


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _listed() -> frozenset[str]:
    """Tell in which groups the user is by the system's list."""
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:
        return frozenset()
    return frozenset(map(_group, os.getgrouplist(user.pw_name, user.pw_gid)))


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(4096)
    except OSError:
        return ""


def entry(path: str) -> Entry | None:
    """Look at the permissions of a file or directory; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = f"user {status.st_uid}"
    return Entry(path, status.st_mode, owner, status.st_uid in (os.getuid(), 0))


def keys(directory: str) -> list[Found]:
    """Read the key files of a directory."""
    paths = sorted(glob.glob(os.path.join(glob.escape(directory), "*.tpm")))
    found = ((path, entry(path)) for path in paths)
    return [_key(path, there) for path, there in found if there is not None]


def _key(path: str, there: Entry) -> Found:
    keyfile: KeyFile | None = None
    try:
        keyfile = _keyfile(path, there)
        # Nobody is asked, and no TPM opened, as long as nothing is signed.
        blob = TpmKey(keyfile, path, tpmwire.open, lambda _, occasion: b"").blob
    except OSError as error:
        return Found(there, complaint=error.strerror or str(error))
    except Error as error:
        return Found(there, keyfile, complaint=str(error))
    beside = storing.public_beside(path.removesuffix(storing.ENDING)).blob
    return Found(there, keyfile, blob, beside=beside or None)


def _keyfile(path: str, there: Entry) -> KeyFile:
    if not stat.S_ISREG(there.mode):
        raise UserError("not an ordinary file")
    with open(path, "rb") as file:
        return KeyFile.from_pem(file.read(_MOST))


def agent() -> Socket | None:
    """Look at what SSH_AUTH_SOCK leads to; None if it is not set."""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(path)
            pid = _listener(connection)
            return Socket(path, _program(pid), pid, blobs=_identities(connection))
    except TimeoutError:
        return Socket(path, complaint=f"nobody answers within {_PATIENCE:.0f} s")
    except OSError as error:
        return Socket(path, complaint=explain(error))
    except DecodeError as error:
        return Socket(path, complaint=f"what answers is no agent: {error}")


def _listener(connection: socket.socket) -> int:
    """Tell which process has made the socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid


def _program(pid: int) -> str:
    """Tell what a process is called, and of an interpreter what it runs."""
    words = filter(None, requester.words(pid))
    names = [os.path.basename(word) for word in words if not word.startswith("-")]
    if len(names) > 1 and names[0].startswith("python"):
        return PROGRAM if names[1] == "tpmwire.scripts.agent" else names[1]
    return names[0] if names else requester.name(pid)


def _identities(connection: socket.socket) -> tuple[bytes, ...]:
    connection.sendall(bytes((0, 0, 0, 1, REQUEST_IDENTITIES)))
    with connection.makefile("rb") as stream:
        size = int.from_bytes(stream.read(4), "big")
        answer = stream.read(size) if size <= _LONGEST else b""
    if answer[:1] != bytes([IDENTITIES_ANSWER]):
        raise DecodeError("it lists no keys")
    return tuple(each.blob for each in IdentitiesAnswer.unpack(answer[1:]).identities)


def asking() -> Asking:
    """Look at what the environment tells of asking for a PIN."""
    program = prompts.program()
    return Asking(
        program=program,
        runnable=shutil.which(program) is not None if program else False,
        display=prompts.has_display(),
        require=prompts.required(),
    )


def has_ssh() -> bool:
    """Tell whether there is an ssh to use the keys with."""
    return shutil.which("ssh") is not None
