"""The SSH agent, messages in and messages out.  [RFC 9987]

A request is one octet that tells its kind, and a body.  Whatever is not understood, not supported
or not possible is answered with FAILURE, and the conversation goes on.  Nothing here does I/O; a
key signs by means of its own.
"""

from collections.abc import Callable, Iterable, Sequence

from tpmwire.ssh.conversation import Conversation
from tpmwire.ssh.keyring import Key, Keyring
from tpmwire.ssh.loading import Surroundings
from tpmwire.ssh.locking import AgentLock
from tpmwire.ssh.messages import MAX_MESSAGE
from tpmwire.ssh.occasion import Occasion, Peer
from tpmwire.ssh.others import Other

__all__ = ["MAX_MESSAGE", "Agent", "Conversation", "Key"]


class Agent:
    """Keys, and what guards them.  Each client has a conversation of its own.

    Whatever is given is called without any lock held, by the threads of many clients at a time:

    `load` finds the keys of a token when `ssh-add -s` is told its id and PIN; it raises
    NotOursError for an id that means nothing to it, which may mean something to another agent.
    `load_pem` makes a key of a key file that `ssh-tpm-add` has sent.  `confirm` asks somebody
    whether a key may be used.  `others` are agents whose keys are offered beside ours.  With
    `only`, nothing is signed that is not of one of the kinds that `purposes` names.

    `keyring` may be changed at any time, and each conversation is closed when its client has gone.
    """

    def __init__(
        self,
        keys: Iterable[Key] = (),
        *,
        load: Callable[[str, bytes], Iterable[Key]] | None = None,
        load_pem: Callable[[bytes], Key] | None = None,
        confirm: Callable[[Key, Occasion], bool] | None = None,
        others: Sequence[Other] = (),
        only: frozenset[str] | None = None,
        keyring: Keyring | None = None,
        lock: AgentLock | None = None,
    ) -> None:
        self.keyring = keyring or Keyring()
        self.keyring.add(keys)
        self._lock = lock or AgentLock()
        self._around = Surroundings(load, load_pem, confirm, others, only)

    def conversation(self, peer: Peer) -> Conversation:
        """Begin to talk with whoever has connected."""
        return Conversation(self.keyring, self._lock, self._around, peer)

    def exchange(self, gone: Iterable[Key], new: Iterable[Key]) -> None:
        """Forget keys that are not there any more, and add new ones; FullError if too many."""
        self.keyring.exchange(gone, new)
