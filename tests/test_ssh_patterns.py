"""Patterns, compared with a regular expression, and with what OpenSSH makes of them."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tpmwire.ssh.patterns import matches

few = st.text("ab*?", max_size=8)


def by_expression(text: bytes, pattern: bytes) -> bool:
    parts = {ord("*"): b".*", ord("?"): b"."}
    expression = b"".join(parts.get(octet, re.escape(bytes([octet]))) for octet in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


@given(text=st.text("ab", max_size=8), pattern=few)
@example(text="", pattern="")
@example(text="a", pattern="a*a")
@example(text="aba", pattern="a*ba")
def test_a_pattern_fits_what_the_same_expression_does(text: str, pattern: str):
    octets, wanted = text.encode(), pattern.encode()
    assert matches(octets, wanted) is by_expression(octets, wanted)


@given(text=st.binary(max_size=6), pattern=st.binary(max_size=6))
def test_so_it_is_with_any_octets(text: bytes, pattern: bytes):
    assert matches(text, pattern) is by_expression(text, pattern)


@pytest.mark.parametrize("pattern", ["*a" * 127 + "b", "*?" * 128, "a*" * 128], ids=len)
def test_no_pattern_takes_long(pattern: str):
    start = time.process_time()
    matches(b"a" * 10_000, pattern.encode())
    assert time.process_time() - start < 2
