"""Ciphers and shared secrets, against published numbers and computations by hand."""

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tpmwire import crypto, templates
from tpmwire.constants import TPM_ALG, TPM_ECC
from tpmwire.crypto import (
    CURVES,
    block_size,
    cfb_decrypt,
    cfb_encrypt,
    ecc_key,
    ecc_point,
    ecdh_seed,
    oaep,
    point_key,
    rsa_key,
    share_secret,
    xor,
)
from tpmwire.errors import DecodeError
from tpmwire.types import (
    TPMS_ECC_POINT,
    TPMS_KEYEDHASH_PARMS,
    TPMS_SCHEME_HASH,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_RSA_SCHEME,
)

# --- ciphers ----------------------------------------------------------------------------------

# SP 800-38A, F.3.13 to F.3.18
PLAIN = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
AES_CFB = {
    "2b7e151628aed2a6abf7158809cf4f3c": "3b3fd92eb72dad20333449f8e83cfb4a"
    "c8a64537a0b3a93fcde3cdad9f1ce58b26751f67a3cbb140b1808cf187a4f4df"
    "c04b05357c5d1c0eeac4c66f9ff7f2e6",
    "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b": "cdc80d6fddf18cab34c25909c99a4174"
    "67ce7f7f81173621961a2b70171d3d7a2e1e8a1dd59b88b1c8e60fed1efac4c9"
    "c05f9f9ca9834fa042ae8fba584b09ff",
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4": "dc7e84bfda79164b"
    "7ecd8486985d386039ffed143b28b1c832113c6331e5407bdf10132415e54b92a13ed0a8267ae2f9"
    "75a385741ab9cef82031623d55b1e471",
}


@pytest.mark.parametrize(("key", "encrypted"), AES_CFB.items(), ids=["128", "192", "256"])
def test_aes_in_cfb_mode_gives_the_published_octets(key: str, encrypted: str):
    octets = bytes.fromhex(key), bytes(range(16))
    assert cfb_encrypt(TPM_ALG.AES, *octets, PLAIN).hex() == encrypted
    assert cfb_decrypt(TPM_ALG.AES, *octets, bytes.fromhex(encrypted)) == PLAIN


# One block, as published; the first block of CFB is the data xor the encrypted IV.
# RFC 3713; GB/T 32907, A.1; SP 800-67, B.1.
BLOCKS = {
    TPM_ALG.CAMELLIA: (
        "0123456789abcdeffedcba9876543210",
        "0123456789abcdeffedcba9876543210",
        "67673138549669730857065648eabe43",
    ),
    TPM_ALG.SM4: (
        "0123456789abcdeffedcba9876543210",
        "0123456789abcdeffedcba9876543210",
        "681edf34d206965e86b3e94f536e4246",
    ),
    TPM_ALG.TDES: (
        "0123456789abcdef23456789abcdef01456789abcdef0123",
        "5468652071756663",
        "a826fd8ce53b855f",
    ),
}


@pytest.mark.parametrize("alg", BLOCKS)
def test_other_ciphers_encrypt_a_block_as_published(alg: TPM_ALG):
    key, block, encrypted = (bytes.fromhex(each) for each in BLOCKS[alg])
    assert block_size(alg) == len(block)
    assert cfb_encrypt(alg, key, block, bytes(len(block))) == encrypted
    assert cfb_decrypt(alg, key, block, encrypted) == bytes(len(block))


@given(st.sampled_from([16, 24, 32]), st.binary(max_size=70), st.randoms())
def test_what_is_encrypted_in_cfb_mode_has_its_size_and_comes_back(size: int, data: bytes, random):
    key, iv = random.randbytes(size), random.randbytes(16)
    encrypted = cfb_encrypt(TPM_ALG.AES, key, iv, data)
    assert len(encrypted) == len(data)
    assert cfb_decrypt(TPM_ALG.AES, key, iv, encrypted) == data


@pytest.mark.parametrize("alg", [0, TPM_ALG.NULL, TPM_ALG.XOR, TPM_ALG.SHA256])
def test_an_unknown_cipher_is_a_decode_error(alg: int):
    for attempt in (
        lambda: block_size(alg),
        lambda: cfb_encrypt(alg, bytes(16), bytes(16), b""),
        lambda: cfb_decrypt(alg, bytes(16), bytes(16), b""),
    ):
        with pytest.raises(DecodeError, match="is not known on this machine"):
            attempt()


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40), st.binary())
def test_xor_masks_with_kdfa_and_twice_gives_the_data(key: bytes, u: bytes, v: bytes, data: bytes):
    hidden = xor(TPM_ALG.SHA256, key, u, v, data)
    assert xor(TPM_ALG.SHA256, key, u, v, hidden) == data
    # The mask by hand: SP 800-108 with HMAC, with the number of bits at the end.
    mask, fixed = b"", b"XOR\0" + u + v + (8 * len(data)).to_bytes(4, "big")
    for counter in range(1, len(data) // 32 + 2):
        padded = key.ljust(64, b"\0")
        inner = bytes(octet ^ 0x36 for octet in padded) + counter.to_bytes(4, "big") + fixed
        outer = bytes(octet ^ 0x5C for octet in padded) + hashlib.sha256(inner).digest()
        mask += hashlib.sha256(outer).digest()
    assert hidden == bytes(a ^ b for a, b in zip(data, mask, strict=False))


# --- RSA --------------------------------------------------------------------------------------

RSA_KEY = rsa.generate_private_key(65537, 2048)
SIZES = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}


def mgf1(seed: bytes, size: int, alg: str) -> bytes:
    counters = range(size // SIZES[alg] + 1)
    hashed = (hashlib.new(alg, seed + n.to_bytes(4, "big")).digest() for n in counters)
    return b"".join(hashed)[:size]


def masked(data: bytes, mask: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, mask, strict=True))


def oaep_encoded(secret: bytes, seed: bytes, label: bytes, size: int, alg: str) -> bytes:
    """Encode by hand.  [RFC 8017, 7.1.1]"""
    block = (hashlib.new(alg, label).digest() + b"\0" * size)[: size - SIZES[alg] - 2 - len(secret)]
    block = block.ljust(size - SIZES[alg] - 2 - len(secret), b"\0") + b"\1" + secret
    hidden = masked(block, mgf1(seed, len(block), alg))
    return b"\0" + masked(seed, mgf1(hidden, len(seed), alg)) + hidden


def oaep_opened(encoded: bytes, label: bytes, alg: str) -> bytes:
    """Decode by hand.  [RFC 8017, 7.1.2]"""
    first, seed, hidden = encoded[:1], encoded[1 : 1 + SIZES[alg]], encoded[1 + SIZES[alg] :]
    seed = masked(seed, mgf1(hidden, len(seed), alg))
    block = masked(hidden, mgf1(seed, len(hidden), alg))
    assert first == b"\0"
    assert block.startswith(hashlib.new(alg, label).digest())
    zeros, one, secret = block[SIZES[alg] :].partition(b"\1")
    assert (zeros.strip(b"\0"), one) == (b"", b"\1")
    return secret


# github.com/chrisfenner/tpm-test-vectors, RSA 09_2048_SHA256_128_restricted (TPM2_Import)
PUBLISHED_RSA = (
    "0001000b000304600000000600800043001008000000000001008054bc2c75a670a0d6372d5d37944609a79e94865c"
    "48c16c46e9354912f4aab3213c2cb204f104329de5a6e21fd459ad7e5e6e9afbbd8ee14d22ebd23821815be7b3e225"
    "ffd06c0097b91b0e0d71c27d5eee235ea37ae1d6ff84ffca71ea9926103ab5da58befeaad5df0de20662cc05096706"
    "aeafaaa5b231e6bd0fddbb26c1fa1c9f05861e11525360373789f9e07c96d65f8a9f3483bb7d95e5286ed66b4ae558"
    "8e5ed38ab15d40059b5c7d8d9ef0a67d7ab9e0b923f618e5a2cddad5b644080391196d0214d6d4bef749cb8228b947"
    "ea0a1feb305414e0023ec6022e1b8098f96a53c1e878ddb85a3dc39dbbfc600bffaa34ace17465825ddccd7796dbaf"
)
PUBLISHED_SALT = "45f3b20066316295a445d670aee039cac8a765c4e683ba948d51110aad0bb9ff"
PUBLISHED_SECRET = "f2967d61ba8a08c9f1877f1965868ded9e418057b984b17fcc40f55e00035b00"
PUBLISHED_ENCRYPTED = (
    "116936814cee006c2acbe000cebdc22afd7a2f5ede9d05b0e88900a2a98cdd09c4841f31e7ffa337d22f6e69b53092"
    "9a440082d9e4e880dd00b7630d989f71ac7ac220c2f9bab31950eba8b77cf5e4813223eefe4b5b1b5e952888e3dcdd"
    "d101320c17d77106c67251e42ca888d585085c3ec43b0ef6c6aeeb63057d3e345d9f35865ba199e740d4724766f9a2"
    "be23f684a9c6f1e3236969f0e1cc58250cd9774656dbec546340245d6501e4267e194565847f4dc7f2cea86719abfc"
    "85b309f3fb1587b089c9d3c7fc928e1bfafe464803bf19424765e04185220f99e1ed004a8dae0d2798a946a1088624"
    "7523d455692fdcf7fcce3f198db30d899e160f0d8b"
)


def test_the_oaep_by_hand_that_these_tests_compare_with_gives_the_published_octets():
    secret, salt = bytes.fromhex(PUBLISHED_SECRET), bytes.fromhex(PUBLISHED_SALT)
    numbers = rsa_key(TPMT_PUBLIC.unpack(bytes.fromhex(PUBLISHED_RSA))).public_numbers()
    encoded = oaep_encoded(secret, salt, b"DUPLICATE\0", 256, "sha256")
    made = pow(int.from_bytes(encoded, "big"), numbers.e, numbers.n)
    assert made.to_bytes(256, "big").hex() == PUBLISHED_ENCRYPTED


def rsa_public(name_alg: TPM_ALG, scheme: TPMT_RSA_SCHEME | None = None) -> TPMT_PUBLIC:
    modulus = RSA_KEY.private_numbers().public_numbers.n.to_bytes(256, "big")
    public = templates.RSA_SRK.replace(nameAlg=name_alg, unique=modulus)
    if scheme is None:
        return public
    return public.replace(parameters=public.parameters.replace(scheme=scheme))


def opened(encrypted: bytes, label: bytes, alg: str) -> bytes:
    numbers = RSA_KEY.private_numbers()
    number = pow(int.from_bytes(encrypted, "big"), numbers.d, numbers.public_numbers.n)
    return oaep_opened(number.to_bytes(256, "big"), label, alg)


@pytest.mark.parametrize("label", [b"SECRET", b"DUPLICATE", b"IDENTITY"])
@pytest.mark.parametrize("alg", ["SHA1", "SHA256", "SHA384", "SHA512"])
def test_a_secret_for_an_rsa_key_opens_with_the_label_and_hash_of_its_name(alg: str, label: bytes):
    shared = share_secret(rsa_public(TPM_ALG[alg]), label)
    assert len(shared.secret) == SIZES[alg.lower()]
    assert opened(shared.encrypted, label + b"\0", alg.lower()) == shared.secret


def test_an_oaep_scheme_of_the_key_chooses_the_hash():
    scheme = TPMT_RSA_SCHEME(scheme=TPM_ALG.OAEP, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA384))
    shared = share_secret(rsa_public(TPM_ALG.SHA256, scheme), b"SECRET")
    assert opened(shared.encrypted, b"SECRET\0", "sha384") == shared.secret


def test_a_signature_scheme_of_the_key_does_not():
    scheme = TPMT_RSA_SCHEME(
        scheme=TPM_ALG.RSASSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA384)
    )
    padding = oaep(rsa_public(TPM_ALG.SHA256, scheme), b"SECRET")
    assert padding.algorithm.name == "sha256"


def test_no_secret_is_made_twice():
    public = rsa_public(TPM_ALG.SHA256)
    one, other = share_secret(public, b"SECRET"), share_secret(public, b"SECRET")
    assert one.secret != other.secret
    assert one.encrypted != other.encrypted


# --- ECC --------------------------------------------------------------------------------------

# github.com/chrisfenner/tpm-test-vectors, ECC 06 (TPM2_StartAuthSession), 07 (TPM2_Import),
# 12 (TPM2_ActivateCredential), 03 and 22 (other hashes), 17 (a scheme, which does not count)
PUBLISHED_ECC = {
    "06": (
        b"SECRET",
        "897989c19f950c5f32f3a2156832bb49b39b0562f372e6e180be309c2bbc07c0",
        "428bee6074a8d9c43979617363ca78cedc7b56673d43750678c965d0fddeb4be",
        "0023000b00030460000000060080004300100003001000207d1f639091f4f93753e5ca964f537491e2ee50058b"
        "df8d93c2f6f165d02a6f2c00205b4e618a7dad9e0cbc7d974ff78ac75ac3ca7be3c54a2b064e0f42f3b43de892",
        "00208588b3516e0cc43073b2577362ff1b712373213043bcb0c7364c74bfc6f626e200203534ac662cd4462172"
        "cdd0dbe3f0d0e28edb9e08484a3a34b8e8e00d9cb5b4c1",
    ),
    "07": (
        b"DUPLICATE",
        "7f6b770bd2b5ca9a5a08999823efc73c75fb0dd3b676ea9fc0ff53e9d845406e",
        "7acf2e8296c4100f700c6ed84df8aded6f1b308fe469f74886bce6bb2d6d542e",
        "0023000b00030460000000060080004300100003001000207d1f639091f4f93753e5ca964f537491e2ee50058b"
        "df8d93c2f6f165d02a6f2c00205b4e618a7dad9e0cbc7d974ff78ac75ac3ca7be3c54a2b064e0f42f3b43de892",
        "002073eecdd4c2ec3d396c3d77d2fd0760d4b155dd803708f84b92350e0f9899c00700205067d286710a4837e3"
        "1767fbb7336c2cd74a0c3767572834cf4fc55e329a67ac",
    ),
    "12": (
        b"IDENTITY",
        "9efafbaf83563f8ac5a27815eae1017ca78c92f9cde976b1a2e0ad95b8a19bc1",
        "2a03ff2b874e44d36a567e67a0bf08227b9e65a0e9ca5215d4a9e573c23159a1",
        "0023000b0003046000000006010000430010000300100020fe4cf1f3e8f583c19e1af6190a7c20751658914a93"
        "cd77efb871cb1557377560002007b6b7c55bea1d17b1a9d96f367cf315b2942d517fd8642e9d9157036831c4d5",
        "002017ca41bd94c7f12436cf135ff1852408ef6a1ee1989e4e6250ef73c348dd6fa90020346f6016d6f6a2ef8e"
        "07df6d7b53b362005fc21cda1e1ab25e61f38a87e017b8",
    ),
    "03": (
        b"DUPLICATE",
        "7b8660ae1b24c201adc1633263ed7fd05fbe236ba5f9842ab24abc4e84671e8b",
        "5440d25a6df974590ef7429c13ff82f92cc1550e",
        "002300040003046000000006010000430010000300100020d692dc89cec5c2fae358950668f782ba23c0d991fd"
        "2b83eec52adbb53096cbcd0020400e0cacdc9f575e9e818d3696e74bbd13dca6afeb21f02b47a694421c5e94b0",
        "00206b6d587188e18038a83d048d441928f1c84f1da9a64a061f36c92b0860d183d4002082cac26146c0bb3b2e"
        "b5731a300c6cbaabda565bef263960252b618b9c4da356",
    ),
    "22": (
        b"SECRET",
        "7ab6e4461509bc96e42de81b6ace267b70bea0ef280eea3b2739e424161bf0cb",
        "fc2c863f0418b5050f74493cfce81a27e5e89cb345f389b34035dbf8546c558d"
        "9fc0050b4456431457718fcc7bc31317",
        "0023000c000304600000000601000043001000030010002071f00a80dc755a5d1cf0276ab6991922eb30d8585a"
        "de524bc385056e84fe20a300203b606eefdb63718d8d3e2c726b346471fad7ef02f66e4488d96d7afc77be55c6",
        "0020ac3f7d587b7decb2f6c2119b689e50b591d845a7c5fe93fe1788085631d8712e0020a8e12dfdfc22f5aaf2"
        "1109ae1c69509ed60a29f3bc65f5e9c9c754808b500842",
    ),
    "17": (
        b"SECRET",
        "05ab558b85bf953e76d16fd29ec19ee0f99d67767e0536c6a5d3c153ac1fe52d",
        "96c83694c408fd4847f9e404f0b93357c81fbc48b86816ffc7c6d907e77def08",
        "0023000b0002046000000010001900040003001000201104221d8bfa95cd029b1ec7187112f643a5eec449fb17"
        "d0e93f533228a6a60a002074441cc6a418de9e6a382a8722024f7b2d343c602c92a338b02d82794530fbf6",
        "002015b1b494f4d56e91e372c3c49d69875ab442d71fe068459817e431c908e4421100200949e79572cdc5ccdd"
        "7b823c682d5174acc1a566b3be764cc9e78a92b5d56c2c",
    ),
}


@pytest.mark.parametrize("number", PUBLISHED_ECC)
def test_a_secret_from_a_known_ephemeral_key_is_the_published_one(number: str):
    label, scalar, secret, public_area, encrypted = PUBLISHED_ECC[number]
    public = TPMT_PUBLIC.unpack(bytes.fromhex(public_area))
    ephemeral = ec.derive_private_key(int(scalar, 16), ec.SECP256R1())
    point = ecc_point(ephemeral.public_key())
    assert point.pack().hex() == encrypted
    z = ephemeral.exchange(ec.ECDH(), ecc_key(public))
    assert ecdh_seed(public, label, z, point).hex() == secret


# By hand: points of y^2 = x^3 - 3x + b.
PRIMES = {
    TPM_ECC.NIST_P256: 2**256 - 2**224 + 2**192 + 2**96 - 1,
    TPM_ECC.NIST_P384: 2**384 - 2**128 - 2**96 + 2**32 - 1,
    TPM_ECC.NIST_P521: 2**521 - 1,
}
Point = tuple[int, int]


def added(one: Point, other: Point, prime: int) -> Point:
    if one == other:
        slope = (3 * one[0] ** 2 - 3) * pow(2 * one[1], -1, prime)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, prime)
    x = (slope**2 - one[0] - other[0]) % prime
    return x, (slope * (one[0] - x) - one[1]) % prime


def times(scalar: int, point: Point, prime: int) -> Point:
    product = point
    for bit in bin(scalar)[3:]:
        product = added(product, product, prime)
        if bit == "1":
            product = added(product, point, prime)
    return product


def secret_by_hand(public: TPMT_PUBLIC, label: bytes, scalar: int, encrypted: bytes) -> bytes:
    """What the holder of the key computes, with its scalar."""
    prime = PRIMES[public.parameters.curveID]
    size = (prime.bit_length() + 7) // 8
    ephemeral = TPMS_ECC_POINT.unpack(encrypted)
    point = int.from_bytes(ephemeral.x, "big"), int.from_bytes(ephemeral.y, "big")
    z = times(scalar, point, prime)[0].to_bytes(size, "big")
    ours = int.from_bytes(public.unique.x, "big").to_bytes(size, "big")
    others = point[0].to_bytes(size, "big")
    alg = TPM_ALG(public.nameAlg).name.lower()
    hashed = b"\0\0\0\1" + z + label + b"\0" + others + ours
    return hashlib.new(alg, hashed).digest()


def ecc_public(curve: TPM_ECC, key: ec.EllipticCurvePrivateKey, alg: TPM_ALG) -> TPMT_PUBLIC:
    parameters = templates.ECC_SRK.parameters.replace(curveID=curve)
    unique = ecc_point(key.public_key())
    return templates.ECC_SRK.replace(nameAlg=alg, parameters=parameters, unique=unique)


@pytest.mark.parametrize("curve", PRIMES)
@pytest.mark.parametrize("alg", ["SHA1", "SHA256", "SHA384", "SHA512"])
def test_a_secret_for_an_ecc_key_is_what_its_holder_computes(curve: TPM_ECC, alg: str):
    key = ec.generate_private_key(CURVES[curve]())
    public = ecc_public(curve, key, TPM_ALG[alg])
    shared = share_secret(public, b"SECRET")
    scalar = key.private_numbers().private_value
    assert secret_by_hand(public, b"SECRET", scalar, shared.encrypted) == shared.secret


def key_with_short_x() -> ec.EllipticCurvePrivateKey:
    """A key of which the x-coordinate begins with a zero octet."""
    scalars = range(1, 5000)
    keys = (ec.derive_private_key(scalar, ec.SECP256R1()) for scalar in scalars)
    return next(key for key in keys if key.public_key().public_numbers().x >> 248 == 0)


def test_leading_zeros_of_a_coordinate_are_sent_and_hashed():
    point = ecc_point(key_with_short_x().public_key())
    assert (len(point.x), len(point.y)) == (32, 32)
    assert point.x[0] == 0


def test_a_key_whose_tpm_has_left_out_leading_zeros_is_shared_with_all_the_same():
    key = key_with_short_x()
    public = ecc_public(TPM_ECC.NIST_P256, key, TPM_ALG.SHA256)
    short = public.replace(unique=public.unique.replace(x=public.unique.x.lstrip(b"\0")))
    assert len(short.unique.x) < 32
    shared = share_secret(short, b"SECRET")
    scalar = key.private_numbers().private_value
    assert secret_by_hand(public, b"SECRET", scalar, shared.encrypted) == shared.secret


def test_leading_zeros_of_the_shared_and_the_ephemeral_coordinate_are_hashed():
    # Neither can be chosen through share_secret, but here both.
    key = key_with_short_x()
    public = ecc_public(TPM_ECC.NIST_P256, key, TPM_ALG.SHA256)
    z = b"\0" + bytes(range(31))
    point = TPMS_ECC_POINT(x=b"\7" * 30, y=bytes(32))
    hashed = b"\0\0\0\1" + z + b"SECRET\0" + b"\0\0" + b"\7" * 30 + public.unique.x
    assert ecdh_seed(public, b"SECRET", z, point) == hashlib.sha256(hashed).digest()


# --- what cannot be used ----------------------------------------------------------------------

KEYED_HASH = TPMT_PUBLIC(
    type=TPM_ALG.KEYEDHASH,
    nameAlg=TPM_ALG.SHA256,
    objectAttributes=templates.ECC_SRK.objectAttributes,
    parameters=TPMS_KEYEDHASH_PARMS(scheme=TPMT_KEYEDHASH_SCHEME(scheme=TPM_ALG.NULL)),
    unique=bytes(32),
)
ECC_PUBLIC = ecc_public(TPM_ECC.NIST_P256, key_with_short_x(), TPM_ALG.SHA256)
NOT_ON_CURVE = ECC_PUBLIC.replace(unique=TPMS_ECC_POINT(x=bytes(31) + b"\1", y=bytes(31) + b"\1"))
BEYOND_THE_FIELD = ECC_PUBLIC.replace(unique=TPMS_ECC_POINT(x=b"\xff" * 40, y=b"\xff" * 40))
AT_INFINITY = ECC_PUBLIC.replace(unique=TPMS_ECC_POINT())
UNKNOWN_CURVE = ECC_PUBLIC.replace(parameters=ECC_PUBLIC.parameters.replace(curveID=0x7777))
NO_MODULUS = rsa_public(TPM_ALG.SHA256).replace(unique=b"")
EVEN_EXPONENT = rsa_public(TPM_ALG.SHA256).replace(
    parameters=templates.RSA_SRK.parameters.replace(exponent=2)
)
UNKNOWN_HASH = rsa_public(TPM_ALG.SHA256).replace(nameAlg=0x7777)
NO_HASH = ECC_PUBLIC.replace(nameAlg=TPM_ALG.NULL)


@pytest.mark.parametrize(
    "public",
    [
        KEYED_HASH,
        NOT_ON_CURVE,
        BEYOND_THE_FIELD,
        AT_INFINITY,
        UNKNOWN_CURVE,
        NO_MODULUS,
        EVEN_EXPONENT,
        UNKNOWN_HASH,
        NO_HASH,
    ],
)
def test_a_key_that_no_secret_can_be_encrypted_for_is_a_decode_error(public: TPMT_PUBLIC):
    with pytest.raises(DecodeError):
        share_secret(public, b"SECRET")


@settings(max_examples=30)
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_point_is_a_key_or_a_decode_error(x: bytes, y: bytes):
    try:
        key = point_key(TPM_ECC.NIST_P256, TPMS_ECC_POINT(x=x, y=y))
    except DecodeError:
        return
    assert key.public_numbers().x == int.from_bytes(x, "big")


@settings(max_examples=30)
@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_any_modulus_and_exponent_are_a_key_or_a_decode_error(modulus: bytes, exponent: int):
    parameters = templates.RSA_SRK.parameters.replace(exponent=exponent)
    public = templates.RSA_SRK.replace(unique=modulus, parameters=parameters)
    try:
        shared = share_secret(public, b"SECRET")
    except DecodeError:
        return
    assert len(shared.secret) == 32


@pytest.mark.parametrize("take", [rsa_key, ecc_key])
def test_a_key_of_another_type_is_a_decode_error(take: Callable[[TPMT_PUBLIC], object]):
    other = ECC_PUBLIC if take is rsa_key else rsa_public(TPM_ALG.SHA256)
    for public in (other, KEYED_HASH):
        with pytest.raises(DecodeError, match="not an"):
            take(public)


def test_a_seed_is_not_derived_for_a_key_without_a_point():
    with pytest.raises(DecodeError):
        ecdh_seed(KEYED_HASH, b"SECRET", bytes(32), TPMS_ECC_POINT())


def test_a_shared_secret_is_not_shown():
    shared = crypto.Shared(b"not for your eyes", b"for the bus")
    for shown in (repr(shared), str(shared), f"{[shared]}"):
        assert "not for your eyes" not in shown
    assert "for the bus" in repr(shared)


def test_a_coordinate_beyond_the_field_is_no_point_of_the_curve():
    """What is left of it modulo the prime would be one."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    numbers = ec.derive_private_key(1234567, ec.SECP256R1()).public_key().public_numbers()
    point = crypto.ecc_point(numbers.public_key())
    assert crypto.point_key(TPM_ECC.NIST_P256, point).public_numbers() == numbers
    for field, number in (("x", numbers.x), ("y", numbers.y)):
        beyond = point.replace(**{field: (number + prime).to_bytes(33, "big")})
        with pytest.raises(DecodeError, match="not in the field"):
            crypto.point_key(TPM_ECC.NIST_P256, beyond)
