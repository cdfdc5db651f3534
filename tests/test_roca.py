"""The structure of RSA keys that can be computed: found in what is made so, and in nothing else."""

import itertools
import math

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from tpmwire import roca

REAL = int(
    "9dcd7420e420c270a68060eb8b5aa7457a9f6648f86fafed2775cc1f79ae962f1e63f1b9e51c55f9ea6fdc7332e9b005"
    "8c9ff2eb1fc89855029cf6aafe21e689feb38ac9ffb12f1ce371bb5d0e9aae64161abce74b4244bf68f1edb4411f756a"
    "097c8929c14740245ea355f8332d1aa36bb50c7dcb4505da8de02e4e53d38f8df06097da7524df0df93db48eac8cc4af"
    "2d3a16257eb2b2adca6ba464e5974fa92550d31b1babf161e7692d00b86e3dd886ecab4abfbe1a8f8cc263ff4af55cdb"
    "45f4249a5193925f5e983d762f0b6800943eb0267b08f42ed311ce1f5c86eacbc8ce4d3cb7a2fee1ef5641423a1cf411"
    "4e5ecf50034a60a412523af9e6f4aa11",
    16,
)
"""The modulus of a key that such a chip has made.  [crocs-muni/roca, tests/data/mod03.txt]"""


def first_primes(count: int) -> list[int]:
    found: list[int] = []
    for number in itertools.count(2):
        if len(found) == count:
            return found
        if all(number % prime for prime in found):
            found.append(number)
    raise AssertionError


FIRST = first_primes(126)

# By the size of the key, of how many of the first primes M is the product.  [Nemec et al., table 1]
SIZES = {512: 39, 1024: 71, 2048: 126}


def is_prime(number: int) -> bool:
    """Tell by the test of Fermat, which is good enough for numbers that nobody has chosen."""
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7))


def structured_prime(bits: int, primes: int, a: int, start: int) -> int:
    """Make a prime k·M + (65537^a mod M) as the library did, with the first k that gives one."""
    product = math.prod(FIRST[:primes])
    rest = pow(65537, a, product)
    smallest = (1 << bits - 1) // product + 1 + start
    return next(n for k in itertools.count(smallest) if is_prime(n := k * product + rest))


@pytest.mark.parametrize("bits", SIZES)
def test_a_key_made_by_the_published_formula_is_found(bits: int):
    p = structured_prime(bits // 2, SIZES[bits], 12345, 0)
    q = structured_prime(bits // 2, SIZES[bits], 987654321, 1000)
    assert (p * q).bit_length() in (bits - 1, bits)
    assert roca.is_weak(p * q)
    assert not roca.is_weak(p * q + 2)


def test_a_key_of_a_real_chip_is_found():
    assert REAL.bit_length() == 2048
    assert roca.is_weak(REAL)


@pytest.mark.parametrize("odd_one", [13, 41, 97, 163, 167])
def test_a_modulus_that_has_the_structure_for_each_prime_but_not_for_all_is_not_found(odd_one: int):
    """Those that look at each prime alone call it weak."""
    exponents = {prime: 4711 + (prime == odd_one) for prime in FIRST[1:39]}
    product = math.prod(exponents)
    modulus = sum(
        pow(65537, a, prime) * (product // prime) * pow(product // prime, -1, prime)
        for prime, a in exponents.items()
    )
    assert pow(modulus, ORDER, product) == 1
    assert not roca.is_weak(modulus)
    consistent = pow(65537, 4711, product)
    assert roca.is_weak(consistent)
    assert [prime for prime in exponents if (modulus - consistent) % prime] == [odd_one]


@given(st.integers(min_value=0, max_value=1 << 80), st.integers(min_value=1, max_value=1 << 300))
def test_every_power_of_the_generator_has_the_structure(a: int, k: int):
    product = math.prod(FIRST[:39])
    assert roca.is_weak(k * product + pow(65537, a, product))


ORDER = 2454106387091158800
"""Of 65537 modulo the product of the first 39 primes.  [crocs-muni/roca, detect.py]"""


@given(st.integers(min_value=3, max_value=1 << 2048))
def test_what_is_weak_is_an_element_of_the_order_of_the_generator(modulus: int):
    if pow(modulus, ORDER, math.prod(FIRST[:39])) != 1:
        assert not roca.is_weak(modulus)


@given(st.lists(st.integers(min_value=1, max_value=ORDER - 1), min_size=1, max_size=5))
def test_products_of_powers_stay_in_the_structure_and_leave_it_by_a_factor(exponents: list[int]):
    product = math.prod(FIRST[:39])
    number = math.prod(pow(65537, a, product) for a in exponents) % product
    assert roca.is_weak(number)
    assert pow(number, ORDER, product) == 1
    assert not roca.is_weak(number * 2)


def test_keys_that_are_made_well_are_not_found():
    for bits in (1024, 2048):
        for _ in range(10):
            key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
            assert not roca.is_weak(key.public_key().public_numbers().n)


@pytest.mark.parametrize("modulus", [0, 2, 3])
def test_what_is_no_modulus_is_not_found(modulus: int):
    assert not roca.is_weak(modulus)


@pytest.mark.parametrize(
    ("manufacturer", "version", "affected"),
    [
        ("IFX", (4, 33), True),
        ("IFX", (4, 34), False),
        ("IFX", (4, 40), True),
        ("IFX", (4, 42), True),
        ("IFX", (4, 43), False),
        ("IFX", (5, 51), True),
        ("IFX", (5, 61), True),
        ("IFX", (5, 62), False),
        ("IFX", (6, 42), True),
        ("IFX", (6, 43), False),
        ("IFX", (7, 40), True),
        ("IFX", (7, 61), True),
        ("IFX", (7, 62), False),
        ("IFX", (7, 85), False),
        ("IFX", (15, 21), False),
        ("IFX", (133, 32), True),
        ("IFX", (133, 33), False),
        ("STM", (7, 61), False),
        ("IBM", (5, 51), False),
    ],
)
def test_the_firmware_that_makes_such_keys_is_known(
    manufacturer: str, version: tuple[int, int], affected: bool
):
    assert roca.is_affected(manufacturer, version[0] << 16 | version[1]) == affected
