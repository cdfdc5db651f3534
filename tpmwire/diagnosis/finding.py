"""A finding: what was looked at, how it is, and what to do about it."""

import enum
from dataclasses import dataclass


class Severity(enum.Enum):
    """How bad a finding is."""

    FINE = "fine"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What one look at one thing has told; `fix` is empty where there is nothing to do."""

    severity: Severity
    subject: str
    text: str
    fix: str = ""


def fine(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(Severity.FINE, subject, text)


def note(subject: str, text: str, fix: str = "") -> Finding:
    """Worth knowing."""
    return Finding(Severity.NOTE, subject, text, fix)


def warning(subject: str, text: str, fix: str = "") -> Finding:
    """It works, but not well or not for long."""
    return Finding(Severity.WARNING, subject, text, fix)


def problem(subject: str, text: str, fix: str = "") -> Finding:
    """It does not work, or protects nothing."""
    return Finding(Severity.PROBLEM, subject, text, fix)
