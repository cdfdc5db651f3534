"""ROCA: RSA keys whose primes give themselves away.  [CVE-2017-15361; Nemec et al., CCS 2017]

A library of Infineon made its primes as k·M + (65537^a mod M), where M is the product of the first
primes.  So the modulus is a power of 65537 modulo M as well, and modulo each of these primes.  Of
other keys one in 2^154 is so by chance.
"""

from functools import cache
from itertools import combinations
from math import gcd

GENERATOR = 65537

PRIMES = (
    *(3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71),
    *(73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167),
)
"""Those that are in M whatever the size of the key."""

MANUFACTURER = "IFX"

_AFFECTED = {4: ((0, 33), (40, 42)), 5: ((0, 61),), 6: ((0, 42),), 7: ((0, 61),), 133: ((0, 32),)}
"""By the first number of the firmware's version the second ones that made such keys."""


def is_weak(modulus: int) -> bool:
    """Tell whether a modulus has the structure, so that it can be factored."""
    logarithms = []
    for prime in PRIMES:
        powers = _powers(prime)
        if modulus % prime not in powers:
            return False
        logarithms.append((powers[modulus % prime], len(powers)))
    # All of them have to be of one and the same power.
    pairs = combinations(logarithms, 2)
    return all((x - y) % gcd(order, other) == 0 for (x, order), (y, other) in pairs)


def is_affected(manufacturer: str, firmware: int) -> bool:
    """Tell whether a TPM makes such keys, by the first word of its firmware's version."""
    major, minor = firmware >> 16, firmware & 0xFFFF
    ranges = _AFFECTED.get(major, ()) if manufacturer == MANUFACTURER else ()
    return any(first <= minor <= last for first, last in ranges)


@cache
def _powers(prime: int) -> dict[int, int]:
    """Map the powers of the generator modulo a prime to their exponents."""
    powers: dict[int, int] = {}
    power = 1
    while power not in powers:
        powers[power] = len(powers)
        power = power * GENERATOR % prime
    return powers
