"""Key files appear together or not at all, whatever fails in between."""

import errno
import itertools
import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tpmwire.scripts import files

OLD = {"key.tpm": "old private", "key.pub": "old public"}
NEW = {"key.tpm": "new private", "key.pub": "new public"}
MODES = {"key.tpm": 0o600, "key.pub": 0o644}

CALLS = ("link", "replace", "rename", "unlink", "fchmod", "fsync")

SITUATIONS = {
    "nothing there": ((), False),
    "nothing there, but overwriting": ((), True),
    "both there": (("key.tpm", "key.pub"), True),
    "the private file there": (("key.tpm",), True),
    "the public file there": (("key.pub",), True),
}
every_situation = pytest.mark.parametrize("situation", SITUATIONS)


def content(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def write(directory: Path, *, overwrite: bool = False) -> None:
    contents = [(str(directory / name), text, MODES[name]) for name, text in NEW.items()]
    files.write_together(contents, overwrite=overwrite)


class Calls:
    """The system calls that write files, counted; at one of them something happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, links: bool = True) -> None:
        self.made: list[str] = []
        self.happening: Callable[[], None] | None = None
        self.at = -1
        for name in CALLS:
            self._watch(monkeypatch, os, name)
        self._watch(monkeypatch, tempfile, "mkstemp")
        monkeypatch.setattr(files, "open", self._open, raising=False)
        if not links:
            monkeypatch.setattr(os, "link", no_links)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self.count(name)
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    def _open(self, *arguments: Any, **options: Any) -> Any:
        file = open(*arguments, **options)  # noqa: SIM115 - its caller closes it
        real = file.write

        def write(text: str) -> int:
            self.count("write")
            return real(text)

        file.write = write
        return file

    def count(self, name: str) -> None:
        self.made.append(name)
        if len(self.made) - 1 == self.at and self.happening is not None:
            self.happening()

    def last(self) -> str | None:
        """Name the call at which it happened, if there were so many."""
        return self.made[self.at] if self.at < len(self.made) else None


def no_links(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def fail() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def interrupt() -> None:
    # To this thread: another one that a test has left might take a signal for the process.
    signal.raise_signal(signal.SIGINT)


def one_after_the_other(
    tmp_path: Path, situation: str, happening: Callable[[], None], links: bool
) -> Iterator[tuple[Path, dict[str, str], Calls, BaseException | None]]:
    """Write again and again in new directories, while it happens at the next call each time."""
    there, overwrite = SITUATIONS[situation]
    before = {name: OLD[name] for name in there}
    for number in itertools.count():
        directory = tmp_path / str(number)
        directory.mkdir()
        for name, text in before.items():
            (directory / name).write_text(text)
        with pytest.MonkeyPatch.context() as monkeypatch:
            calls = Calls(monkeypatch, links=links)
            calls.happening, calls.at = happening, number
            raised = attempt(directory, overwrite)
        if calls.last() is None:
            assert (raised, content(directory)) == (None, NEW)
            return
        yield directory, before, calls, raised


def attempt(directory: Path, overwrite: bool) -> BaseException | None:
    try:
        write(directory, overwrite=overwrite)
    except (OSError, KeyboardInterrupt) as error:
        return error
    return None


@every_situation
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_failure_of_any_system_call_leaves_all_as_it_was(
    tmp_path: Path, situation: str, links: bool
):
    failed = set()
    for directory, before, calls, raised in one_after_the_other(tmp_path, situation, fail, links):
        name = calls.last()
        failed.add(name)
        if name == "unlink":  # of what is no longer wanted; all is in place
            assert raised is None
            assert content(directory).items() >= NEW.items()
        else:
            assert isinstance(raised, OSError)
            assert raised.filename in (str(directory / "key.tpm"), str(directory / "key.pub"))
            assert content(directory) == before
    assert failed >= {"mkstemp", "fchmod", "write", "fsync"}
    assert failed & {"link", "rename", "replace"}


@every_situation
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_an_interrupt_at_any_system_call_waits_until_all_is_in_place(
    tmp_path: Path, situation: str, links: bool
):
    interrupted = set()
    runs = one_after_the_other(tmp_path, situation, interrupt, links)
    for directory, _, calls, raised in runs:
        interrupted.add(calls.last())
        assert isinstance(raised, KeyboardInterrupt)
        assert content(directory) == NEW
    assert interrupted >= {"mkstemp", "fchmod", "write", "fsync"}


def test_what_was_there_is_put_back_as_the_same_file(tmp_path: Path):
    (tmp_path / "key.tpm").write_text(OLD["key.tpm"])
    (tmp_path / "key.tpm").chmod(0o640)
    os.utime(tmp_path / "key.tpm", (1, 2))
    before = (tmp_path / "key.tpm").stat()
    (tmp_path / "key.pub").mkdir()  # which no file can replace
    with pytest.raises(IsADirectoryError) as raised:
        write(tmp_path, overwrite=True)
    assert raised.value.filename == str(tmp_path / "key.pub")
    assert sorted(os.listdir(tmp_path)) == ["key.pub", "key.tpm"]
    now = (tmp_path / "key.tpm").stat()
    assert (now.st_ino, now.st_nlink, now.st_mode) == (before.st_ino, 1, before.st_mode)
    assert (now.st_size, now.st_mtime) == (before.st_size, 2)


def test_what_cannot_be_put_back_is_kept_under_another_name(tmp_path: Path):
    for name, text in OLD.items():
        (tmp_path / name).write_text(text)
    real = os.replace

    def replace(source: str, target: str) -> None:
        # Into the place of the private file once, and never again anything.
        if (tmp_path / "key.tpm").read_text() != OLD["key.tpm"]:
            raise OSError(errno.EIO, os.strerror(errno.EIO), source, None, target)
        real(source, target)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match=r"\.tpmwire\.") as raised:
            write(tmp_path, overwrite=True)
    assert Path(raised.value.filename).read_text() == OLD["key.tpm"]
    assert (tmp_path / "key.pub").read_text() == OLD["key.pub"]


@pytest.mark.parametrize("there", ["key.tpm", "key.pub"])
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_without_overwrite_a_file_that_is_there_is_left_alone(
    tmp_path: Path, there: str, links: bool, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / there).write_text("mine")
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(FileExistsError) as raised:
        write(tmp_path)
    assert raised.value.filename == str(tmp_path / there)
    assert content(tmp_path) == {there: "mine"}


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_without_overwrite_a_link_into_the_void_is_left_alone_too(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "key.pub").symlink_to("nowhere")
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(FileExistsError):
        write(tmp_path)
    assert os.listdir(tmp_path) == ["key.pub"]
    assert os.readlink(tmp_path / "key.pub") == "nowhere"


def test_a_file_that_comes_after_the_question_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "key.tpm").write_text(OLD["key.tpm"])
    calls = Calls(monkeypatch)
    calls.at = 11
    calls.happening = lambda: (tmp_path / "key.pub").write_text("somebody else's")
    with pytest.raises(FileExistsError):
        write(tmp_path, overwrite=True)
    # To set aside what is in the second place has failed, for nothing was there.
    assert calls.made[8:12] == ["link", "replace", "link", "link"]
    assert content(tmp_path) == {"key.tpm": OLD["key.tpm"], "key.pub": "somebody else's"}


def test_a_symbolic_link_is_overwritten_and_not_what_it_points_to(tmp_path: Path):
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / "key.tpm").symlink_to("elsewhere")
    write(tmp_path, overwrite=True)
    assert content(tmp_path) == NEW | {"elsewhere": "untouched"}
    assert not (tmp_path / "key.tpm").is_symlink()


def test_a_symbolic_link_is_put_back_as_one(tmp_path: Path):
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / "key.tpm").symlink_to("elsewhere")
    (tmp_path / "key.pub").mkdir()  # which no file can replace
    with pytest.raises(OSError, match=r"key\.pub"):
        write(tmp_path, overwrite=True)
    assert os.readlink(tmp_path / "key.tpm") == "elsewhere"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "key.pub", "key.tpm"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
@pytest.mark.parametrize("there", [True, False])
def test_permissions_are_as_asked_for_whatever_the_umask_or_the_file_before(
    tmp_path: Path, umask: int, there: bool
):
    if there:
        for name, text in OLD.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o666)
    before = os.umask(umask)
    try:
        write(tmp_path, overwrite=there)
    finally:
        os.umask(before)
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()} == MODES


def test_nobody_else_can_read_a_file_before_it_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    modes = []
    real = os.fchmod

    def fchmod(descriptor: int, mode: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", fchmod)
    before = os.umask(0)
    try:
        write(tmp_path)
    finally:
        os.umask(before)
    assert modes == [0o600, 0o600]


def test_octets_that_are_no_text_are_written_as_they_came(tmp_path: Path):
    path = str(tmp_path / "key.pub")
    files.write_together([(path, os.fsdecode(b"caf\xe9 \xc3\xa9\n"), 0o644)])
    assert Path(path).read_bytes() == b"caf\xe9 \xc3\xa9\n"


def test_a_name_without_a_directory_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    files.check_directory("key.tpm")
    for overwrite in (False, True):
        files.write_together([("key.tpm", "new", 0o600)], overwrite=overwrite)
        assert content(tmp_path) == {"key.tpm": "new"}


def test_a_missing_directory_is_told_before_any_work(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as raised:
        files.check_directory(str(tmp_path / "no" / "key"))
    assert raised.value.filename == str(tmp_path / "no")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError):
        files.check_directory(str(tmp_path / "file" / "key"))


# --- another content --------------------------------------------------------------------------


def test_a_rewritten_file_has_its_permissions_and_owner_still(tmp_path: Path):
    path = tmp_path / "key.tpm"
    path.write_text("old")
    path.chmod(0o640)
    before = path.stat()
    files.rewrite(str(path), "new")
    after = path.stat()
    assert content(tmp_path) == {"key.tpm": "new"}
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert after.st_ino != before.st_ino


@pytest.mark.parametrize("call", ["mkstemp", "fchmod", "fsync", "replace"])
def test_a_failure_while_a_file_is_rewritten_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    path = tmp_path / "key.tpm"
    path.write_text("old")

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "broken", "elsewhere")

    monkeypatch.setattr(tempfile if call == "mkstemp" else os, call, fail)
    with pytest.raises(OSError, match="broken") as caught:
        files.rewrite(str(path), "new")
    assert caught.value.filename == str(path)
    assert content(tmp_path) == {"key.tpm": "old"}


def test_a_file_that_is_not_there_is_not_rewritten(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        files.rewrite(str(tmp_path / "none"), "new")
    assert content(tmp_path) == {}


def test_what_a_link_points_to_is_rewritten(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "key").write_text("old")
    (tmp_path / "link").symlink_to("deep/key")
    files.rewrite(str(tmp_path / "link"), "new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "deep") == {"key": "new"}
