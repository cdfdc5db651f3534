"""The kernel's driver and its resource manager: what they do between a program and the TPM.

In the virtual machine of tools/vm, or on any machine with a TPM.  Nothing is cleared or made
persistent, and nothing stays loaded.
"""

import contextlib
import errno
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tpmwire import templates
from tpmwire.client import Tpm
from tpmwire.commands import FlushContext, GetCapability, GetRandom, Hash, ReadPublic
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_HT, TPM_RC, TPM_RH
from tpmwire.errors import TpmError, TransportError, tpm_error
from tpmwire.objects import LoadedObject
from tpmwire.transport import DeviceTransport, connect
from tpmwire.types import TPMS_SCHEME_HASH, TPMS_SIGNATURE_ECC, TPMT_SIG_SCHEME

pytestmark = pytest.mark.device

ECDSA = TPMT_SIG_SCHEME(scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))
NOBODY = 65534


@pytest.fixture
def tpm(device: str) -> Iterator[Tpm]:
    """An open Tpm on the device."""
    with Tpm(DeviceTransport(device)) as opened:
        yield opened


def primary(tpm: Tpm) -> LoadedObject:
    """A storage key of the null hierarchy, which nobody keeps."""
    return tpm.create_primary(templates.ECC_SRK, TPM_RH.NULL)


def loaded(tpm: Tpm) -> tuple[int, ...]:
    question = GetCapability(
        capability=TPM_CAP.HANDLES, property=TPM_HT.TRANSIENT << 24, propertyCount=64
    )
    return tuple(tpm.execute(question).capabilityData.data)


def signs(key: LoadedObject) -> bool:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(b"data")
    made = key.sign(digest.finalize(), ECDSA).signature
    assert isinstance(made, TPMS_SIGNATURE_ECC)
    numbers = (int.from_bytes(n, "big") for n in (made.signatureR, made.signatureS))
    point = key.public.unique
    x, y = (int.from_bytes(n, "big") for n in (point.x, point.y))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(encode_dss_signature(*numbers), b"data", ec.ECDSA(hashes.SHA256()))
    return True


# --- opening ----------------------------------------------------------------------------------


def test_the_device_is_what_is_opened_by_itself(device: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TPMWIRE_TCTI", raising=False)
    if device != "/dev/tpmrm0":
        pytest.skip("another device is tested")
    with Tpm(connect(None)) as tpm:
        assert len(tpm.execute(GetRandom(bytesRequested=8)).randomBytes) == 8


def test_an_ordinary_user_is_told_which_group_may_open_it(device: str):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    before = os.stat(device)
    os.chown(device, 0, 1)
    os.chmod(device, 0o660)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(TransportError, match=r"permission denied.*group daemon") as caught:
            DeviceTransport(device)
        assert caught.value.errno == errno.EACCES
    finally:
        os.seteuid(0)
        os.chown(device, before.st_uid, before.st_gid)
        os.chmod(device, before.st_mode & 0o777)


def test_many_descriptors_are_served_at_once(device: str):
    with ExitStack() as stack:
        tpms = [stack.enter_context(Tpm(DeviceTransport(device))) for _ in range(50)]
        keys = [primary(tpm) for tpm in tpms[:8]]
        assert len({key.name for key in keys}) == 1
        for tpm in tpms:
            assert tpm.execute(GetRandom(bytesRequested=4)).randomBytes


def test_what_is_busy_points_to_the_resource_manager(device: str):
    bare = device.replace("tpmrm", "tpm")
    with contextlib.closing(DeviceTransport(bare)):
        with pytest.raises(
            TransportError, match="in use by another program; /dev/tpmrm0"
        ) as caught:
            DeviceTransport(bare)
        assert caught.value.errno == errno.EBUSY


# --- what goes through ------------------------------------------------------------------------


def test_the_longest_buffers_go_through(tpm: Tpm):
    """A thousand octets at once is what every TPM takes.  [Part 2, A.2: MAX_DIGEST_BUFFER]"""
    data = secrets.token_bytes(1024)
    command = Hash(data=data, hashAlg=TPM_ALG.SHA256, hierarchy=TPM_RH.NULL)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    assert tpm.execute(command).outHash == digest.finalize()


def test_a_command_that_is_too_long_is_a_transport_error_and_the_device_goes_on(device: str):
    with contextlib.closing(DeviceTransport(device)) as transport:
        with pytest.raises(TransportError) as caught:
            transport.send(b"\x80\x01" + (8192).to_bytes(4, "big") + bytes(8186))
        assert caught.value.errno == errno.E2BIG
    with Tpm(DeviceTransport(device)) as tpm:
        assert tpm.execute(GetRandom(bytesRequested=4)).randomBytes


def test_a_command_unknown_to_the_tpm_is_refused_by_the_resource_manager(device: str):
    """Its response code carries the layer of the resource manager, 11."""
    with contextlib.closing(DeviceTransport(device)) as transport:
        answer = transport.send(bytes.fromhex("8001 0000000a 00000fff"))
    assert answer == bytes.fromhex("8001 0000000a 000b0143")
    error = tpm_error(0x000B0143, "Unknown")
    assert error.code == TPM_RC.COMMAND_CODE
    assert "resource manager" in str(error)


# --- the resource manager ---------------------------------------------------------------------


def test_objects_beyond_the_slots_of_the_chip_are_swapped(device: str):
    """Each descriptor has three slots of its own, which is what the chip has in all."""
    with ExitStack() as stack:
        keys = []
        for _ in range(3):
            tpm = stack.enter_context(Tpm(DeviceTransport(device)))
            parent = stack.enter_context(primary(tpm))
            made = parent.create(templates.without_lockout(templates.ECC_SIGN))
            for _ in range(2):
                loaded_one = parent.load(made.outPrivate, made.outPublic)
                keys.append(stack.enter_context(loaded_one))
        assert all(signs(key) for key in keys)


def test_one_descriptor_has_room_for_three_objects(tpm: Tpm):
    """The fourth is refused, and nothing that is loaded gets lost."""
    with primary(tpm), primary(tpm), primary(tpm) as third:
        with pytest.raises((TpmError, TransportError)) as caught:
            primary(tpm)
        if isinstance(caught.value, TransportError):
            assert caught.value.errno in (errno.ENOMEM, errno.EFAULT)
            return  # the descriptor is closed now, and the kernel forgets
        assert caught.value.code in (TPM_RC.OBJECT_MEMORY, TPM_RC.OBJECT_HANDLES)
        assert tpm.execute(ReadPublic(objectHandle=third)).name == third.name


def test_sessions_of_many_descriptors_are_swapped(device: str):
    with ExitStack() as stack:
        sessions = []
        for _ in range(8):
            tpm = stack.enter_context(Tpm(DeviceTransport(device)))
            sessions.append((tpm, stack.enter_context(tpm.session())))
        for tpm, session in sessions:
            command = GetRandom(bytesRequested=4)
            assert tpm.execute(command, session.use(audit=True)).randomBytes


def test_a_descriptor_sees_nothing_of_another_one(device: str):
    with (
        Tpm(DeviceTransport(device)) as one,
        Tpm(DeviceTransport(device)) as other,
        primary(one) as key,
    ):
        assert len(loaded(one)) == 1
        assert loaded(other) == ()
        with pytest.raises(TransportError) as caught:
            other.execute(FlushContext(flushHandle=key.handle))
        assert caught.value.errno == errno.EINVAL
        assert one.execute(ReadPublic(objectHandle=key)).name == key.name


def test_closing_is_enough_to_forget_what_is_loaded(device: str):
    for _ in range(6):  # more than there is room for
        tpm = Tpm(DeviceTransport(device))
        primary(tpm)
        tpm.start_session()
        tpm._transport.close()
    with Tpm(DeviceTransport(device)) as tpm:
        assert loaded(tpm) == ()


def test_a_process_killed_in_the_middle_of_a_command_leaves_nothing(device: str):
    script = """if True:
        import sys
        from tpmwire import templates
        from tpmwire.client import Tpm
        from tpmwire.constants import TPM_RH
        from tpmwire.transport import DeviceTransport
        tpm = Tpm(DeviceTransport(sys.argv[1]))
        first = tpm.create_primary(templates.ECC_SRK, TPM_RH.NULL)
        print("begun", flush=True)
        while True:
            tpm.create_primary(templates.RSA_SRK, TPM_RH.NULL).flush()
    """
    child = subprocess.Popen([sys.executable, "-c", script, device], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.2)
        child.send_signal(signal.SIGKILL)
    with Tpm(DeviceTransport(device)) as tpm:
        assert loaded(tpm) == ()
        with primary(tpm) as key:
            assert len(loaded(tpm)) == 1
            assert key.name


def test_a_forked_child_that_ends_takes_nothing_from_its_parent(device: str):
    """The descriptor is one and the same in both, and open until the last one closes it."""
    with Tpm(DeviceTransport(device)) as tpm, primary(tpm) as key:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                tpm.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert tpm.execute(ReadPublic(objectHandle=key)).name == key.name


def test_threads_with_descriptors_of_their_own_do_not_disturb_each_other(device: str):
    names: list[bytes] = []

    def work() -> None:
        with Tpm(DeviceTransport(device)) as tpm:
            for _ in range(3):
                with primary(tpm) as key:
                    names.append(key.name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 12
    assert len(set(names)) == 1
