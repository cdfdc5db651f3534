"""The log of a program that runs for long: a line for each event, as text or as JSON.

What belongs to an event stands in its `fields`: as key=value after the text, as members in JSON.
"""

import json
import logging
import os
from collections.abc import Mapping

SYSLOG = "/dev/log"


def fields(**known: object) -> Mapping[str, Mapping[str, object]]:
    """Make what a log call takes as `extra`."""
    return {"fields": known}


def to_standard_error(program: str, *, verbose: bool, as_json: bool) -> None:
    """Log there what went wrong, and with `verbose` everything."""
    _log_to(logging.StreamHandler(), f"{program}: ", verbose=verbose, as_json=as_json)


def to_syslog(program: str, *, verbose: bool, as_json: bool) -> None:
    """Log to the system's log, if there is one."""
    if not os.path.exists(SYSLOG):
        logging.getLogger().addHandler(logging.NullHandler())
        return
    # Imported only now, as it brings a lot along that no other way needs.
    from logging.handlers import SysLogHandler

    handler = SysLogHandler(SYSLOG, facility=SysLogHandler.LOG_AUTH)
    handler.ident = f"{program}[{os.getpid()}]: "
    _log_to(handler, "", verbose=verbose, as_json=as_json)


def _log_to(handler: logging.Handler, prefix: str, *, verbose: bool, as_json: bool) -> None:
    handler.setFormatter(_Json() if as_json else _Text(prefix))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO if verbose else logging.WARNING)


class _Text(logging.Formatter):
    """A text, and what belongs to it as key=value."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        words = [f"{self._prefix}{record.getMessage()}"]
        words += [f"{name}={_quoted(value)}" for name, value in _fields(record).items()]
        return _one_line(" ".join(words))


class _Json(logging.Formatter):
    """An object on a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        return json.dumps(told | _fields(record))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return dict(getattr(record, "fields", {}))


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and not set(text) & set(' "=\\') else json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    """Show what would begin a line of its own, or what a terminal might heed, as an escape."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
