"""The main job on a real device: a key is made in it, logs in over SSH, and is forgotten."""

from pathlib import Path

import pytest
from ssh_fixtures import Home, Server, agent, need

pytestmark = pytest.mark.device


@pytest.mark.parametrize("pin", ["", "1234"])
def test_a_key_of_the_device_logs_in(device: str, tmp_path: Path, pin: str):
    need("ssh", "ssh-add", "ssh-keygen", "sshd")
    home = Home(tmp_path, f"device:{device}")
    home.run("tpmwire-keygen", "-q", "-f", "id", "-N", pin)
    with agent(home, "id.tpm", **home.askpass(pin)) as running:
        home.env |= running.env
        server = Server(home, (home.path / "id.pub").read_text())
        try:
            assert home.run("ssh", "-F", "ssh_config", "server", "echo in").strip() == "in"
        finally:
            server.close()
        if pin:
            assert "PIN" in (home.path / "prompts").read_text()


def test_an_agent_whose_pin_is_wrong_does_not_log_in(device: str, tmp_path: Path):
    home = Home(tmp_path, f"device:{device}")
    home.run("tpmwire-keygen", "-q", "-f", "id", "-N", "1234")
    with agent(home, "id.tpm", **home.askpass("4321")) as running:
        home.env |= running.env
        home.refuses("ssh-add", "-T", "id.pub")
