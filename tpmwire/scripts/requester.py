"""Who asks for a signature, in words: the process, its command line, and what started it.

That is a hint for people and proves nothing: a process can call itself what it likes, and may have
become another one since it has connected.
"""

from collections.abc import Iterator

from tpmwire.ssh.occasion import Occasion, Peer

MOST_ANCESTORS = 4
_LONGEST, _LONGEST_ANCESTOR = 100, 40  # characters of a command line
_MOST_OCTETS = 4096  # of a file of /proc


def introduce(question: str, occasion: Occasion) -> str:
    """Put in front of a question who asks, and what for if that is known."""
    lines = [f"Asked by {describe(occasion.peer)}"] if occasion.peer.pid else []
    if occasion.purpose:
        lines.append(f"To {harmless(occasion.purpose, 300)}")
    return "\n".join([*lines, question])


def describe(peer: Peer) -> str:
    """Tell which process it is, and what started it."""
    asking, *before = [*_family(peer.pid)] or [peer.pid]
    told = [_told(asking, _LONGEST)]
    told += [f"from {_told(pid, _LONGEST_ANCESTOR)}" for pid in before]
    return ", ".join(told)


def harmless(text: str, longest: int) -> str:
    """Cut a text to a length, with question marks for what a terminal might heed."""
    shown = "".join(each if each.isprintable() else "?" for each in text)
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def short_name(peer: Peer) -> str:
    """Tell the name of the program, without its arguments, as fits in a log."""
    return harmless(_name(peer.pid), 16)


def _family(pid: int) -> Iterator[int]:
    """Go up from a process to what started it, but not to the one that starts everything."""
    for _ in range(MOST_ANCESTORS + 1):
        if pid <= 1 or not (status := _read(pid, "stat")):
            return
        yield pid
        # The name of the program stands in parentheses before, and may have some in it.
        fields = status.rpartition(b")")[2].split()
        pid = int(fields[1])


def _told(pid: int, longest: int) -> str:
    line = " ".join(words(pid)).strip() or f"[{_name(pid)}]"
    return f"{harmless(line, longest)} ({pid})"


def _name(pid: int) -> str:
    return name(pid) or "a process that has ended"


def words(pid: int) -> list[str]:
    """Read the command line of a process; nothing if it has none, or has ended."""
    return _read(pid, "cmdline").decode("utf-8", "replace").split("\0")


def name(pid: int) -> str:
    """Read what the kernel calls a process; nothing if it has ended."""
    return _read(pid, "comm").strip().decode("utf-8", "replace")


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read(_MOST_OCTETS)
    except OSError:
        return b""
