"""What a signature costs the chip behind the kernel's resource manager, counted by the chip's log.

The resource manager saves what is loaded after each command, and loads it again before the next,
which no program sees.
"""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from ssh_fixtures import need

from tpmwire.constants import TPM_CC
from tpmwire.traces.messages import Kind, Message
from tpmwire.traces.swtpm import read_swtpm_log

ROOT = Path(__file__).parent.parent
MARK = 27  # octets that are asked for by GetRandom, between what is measured
GUEST = f"""
set -e
mkdir -p "$HOME/chip-work"
cd "$HOME/chip-work"
PATH={Path(sys.executable).parent}:$PATH
mark() {{
    python -c 'import tpmwire; from tpmwire.commands import GetRandom
with tpmwire.open() as tpm: tpm.execute(GetRandom(bytesRequested={MARK}))'
}}
python -c 'import tpmwire
from tpmwire import templates
from tpmwire.commands import EvictControl
from tpmwire.constants import TPM_RH
with tpmwire.open() as tpm, tpm.create_primary(templates.ECC_SRK) as key:
    tpm.execute(EvictControl(
        auth=TPM_RH.OWNER, objectHandle=key, persistentHandle=0x81000001))'
printf '#!/bin/sh\\necho 1234\\n' >ask
chmod +x ask
export SSH_ASKPASS=$PWD/ask SSH_ASKPASS_REQUIRE=force
tpmwire-keygen -q -f pin -N 1234
tpmwire-keygen -q -f none -N ''
eval "$(tpmwire-agent --pin-timeout 600 pin.tpm none.tpm)" >/dev/null
# The first time the agent asks for the parent and the PIN, and the TPM tests itself.
ssh-add -T pin.pub
ssh-add -T none.pub
mark; ssh-add -T pin.pub; mark; ssh-add -T none.pub; mark
kill "$SSH_AGENT_PID"
"""


def is_mark(message: Message) -> bool:
    octets = message.octets
    return octets[6:10] == TPM_CC.GetRandom.to_bytes(4, "big") and octets[10:] == bytes([0, MARK])


def exchanges(log: Path) -> Iterator[tuple[Message, bytes]]:
    """What the chip was told, each with the code that it answered."""
    with log.open("rb") as file:
        for message, answer in pairwise(read_swtpm_log(file)):
            if message.kind is Kind.COMMAND:
                yield message, answer.octets[6:10]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[str, bool]]]:
    """What the chip did between the marks: the names of commands, and whether they succeeded."""
    need("qemu-system-x86_64", "ssh-add", "busybox", "cpio")
    log = tmp_path_factory.mktemp("chip") / "log"
    command = [ROOT / "tools" / "vm", "--seconds", "300", "--log", log, "bash", "-c", GUEST]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    parts: list[list[tuple[str, bool]]] = [[]]
    for message, code in exchanges(log):
        if is_mark(message):
            parts.append([])
        else:
            name = TPM_CC(int.from_bytes(message.octets[6:10], "big")).name
            parts[-1].append((name, code == bytes(4)))
    assert len(parts) == 4
    return parts[1:3]


def test_a_signature_with_a_pin_takes_twelve_commands_of_the_chip(
    work: list[list[tuple[str, bool]]],
):
    """One more is refused: the kernel tries to save the session, which has ended with Sign."""
    with_pin, _ = work
    done = [name for name, succeeded in with_pin if succeeded]
    assert len(done) == 12
    assert [name for name, succeeded in with_pin if not succeeded] == ["ContextSave"]
    ours = [name for name in done if not name.startswith("Context") and name != "FlushContext"]
    assert ours == ["StartAuthSession", "Load", "Sign"]


def test_a_signature_without_a_pin_takes_seven_commands_of_the_chip(
    work: list[list[tuple[str, bool]]],
):
    _, without = work
    assert all(succeeded for _, succeeded in without)
    assert len(without) == 7
