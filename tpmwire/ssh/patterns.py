"""Patterns of OpenSSH: a * stands for anything, a ? for one octet.  [ssh_config(5), PATTERNS]"""


def matches(text: bytes, pattern: bytes) -> bool:
    """Tell whether a pattern fits all of a text, in a time that no pattern makes explode."""
    first, *others = pattern.split(b"*")
    if not others:
        return len(text) == len(first) and _fits(text, first, 0)
    *middle, last = others
    end = len(text) - len(last)
    if not (len(first) <= end and _fits(text, first, 0) and _fits(text, last, end)):
        return False
    at = len(first)
    for part in middle:
        # The first place is as good as any: the less is used up, the more is left.
        found = _find(text, part, at, end)
        if found is None:
            return False
        at = found + len(part)
    return True


def _find(text: bytes, part: bytes, start: int, end: int) -> int | None:
    places = range(start, end - len(part) + 1)
    return next((at for at in places if _fits(text, part, at)), None)


def _fits(text: bytes, part: bytes, at: int) -> bool:
    here = text[at : at + len(part)]
    return all(wanted in (octet, ord("?")) for octet, wanted in zip(here, part, strict=True))
