"""Reading recordings, and pairing responses with commands.

tests/vectors/traces holds what the same programs said twice, once as swtpm logged it and once as
tpm2-tss captured it.
"""

import glob
import io
import itertools
import os
import random
import shutil
import struct
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Swtpm
from hypothesis import given
from hypothesis import strategies as st
from strategies import mutated
from vectors import DIRECTORY, VECTORS

from tpmwire.traces import FORMATS, Exchange, Kind, Message, Place, pair, read_exchanges

LOG = (DIRECTORY / "traces" / "create.log").read_bytes()
CAPTURE = (DIRECTORY / "traces" / "create.pcapng").read_bytes()
GET_RANDOM = bytes.fromhex("80010000000c0000017b0010")
RANDOM = bytes.fromhex("80010000000e00000000000201ff")
READ_CLOCK = bytes.fromhex("80010000000a00000181")
TEST_RESULT = bytes.fromhex("80010000000a0000017c")
ASYMMETRIC = READ_CLOCK  # as a response it is TPM_RC_ASYMMETRIC of handle 1
DISABLED = bytes.fromhex("80010000000a00000120")  # as a command it would be a bare EvictControl
TPM12_ANSWER = bytes.fromhex("00c40000000a0000001e")
VENDOR = bytes.fromhex("80010000000a20000001")

TPM2_TOOLS = shutil.which("tpm2_createprimary") and glob.glob("/usr/lib/*/libtss2-tcti-pcap.so*")

PAIRS = [(vector.sent, vector.received) for vector in VECTORS]
BINARY = b"".join(sent + received for sent, received in PAIRS)


def read(data: bytes, name: str | None = None) -> list[Exchange]:
    return list(read_exchanges(io.BytesIO(data), name))


def octets(exchanges: list[Exchange]) -> list[tuple[bytes | None, bytes | None]]:
    return [
        (command and command.octets, response and response.octets)
        for command, response, stray in exchanges
        if stray is None
    ]


def in_lines(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def spaced(data: bytes) -> str:
    return "".join(line.hex(" ").upper() + "\n" for line in in_lines(data, 16))


TEXTS: dict[str, Callable[[bytes], str]] = {
    "one line": lambda data: data.hex(),
    "lines of 60 digits": lambda data: "".join(f"{line.hex()}\n" for line in in_lines(data, 30)),
    "lines of odd length": lambda data: "\n".join(
        data.hex()[i : i + 75] for i in range(0, 2 * len(data), 75)
    ),
    "with spaces, in capitals": spaced,
    "with colons": lambda data: data.hex(":"),
    "as numbers in C": lambda data: ", ".join(f"0x{octet:02X}" for octet in data) + ",\r\n",
    "with a comment": lambda data: f"# from a log\n\n0x{data.hex()}  # the end",
}


# --- the formats -------------------------------------------------------------------------------


def codes(exchanges: list[Exchange]) -> list[tuple[bytes, bytes]]:
    """The code of each command and of its response."""
    return [(sent[6:10], got[6:10]) for sent, got in octets(exchanges) if sent and got]


def test_the_log_of_swtpm_and_the_capture_of_tpm2_tss_say_the_same():
    logged, captured = read(LOG), read(CAPTURE)
    assert codes(logged) == codes(captured)
    assert len(codes(logged)) == len(logged) > 50


@pytest.mark.skipif(not TPM2_TOOLS, reason="tpm2-tools or the TCTI pcap of tpm2-tss is missing")
def test_one_conversation_reads_the_same_from_the_log_and_from_the_capture(
    swtpm: Swtpm, tmp_path: Path
):
    capture, before = tmp_path / "a.pcapng", len(read(swtpm.log.read_bytes()))
    environment = os.environ | {
        "TPM2TOOLS_TCTI": f"pcap:{swtpm.conf}",
        "TCTI_PCAP_FILE": str(capture),
    }
    for line in ("tpm2_getrandom --hex 8", "tpm2_createprimary -Q", "tpm2_flushcontext -t"):
        subprocess.run(line.split(), env=environment, check=True, timeout=60, capture_output=True)
    logged = octets(read(swtpm.log.read_bytes()))[before:]
    assert octets(read(capture.read_bytes())) == logged
    assert len(logged) > 5


def test_a_binary_file_is_parted_into_its_buffers():
    assert octets(read(BINARY)) == PAIRS


@pytest.mark.parametrize("write", TEXTS.values(), ids=TEXTS.keys())
def test_hexadecimal_digits_may_be_written_in_many_ways(write: Callable[[bytes], str]):
    sample = b"".join(sent + received for sent, received in PAIRS[:12])
    assert octets(read(write(sample).encode())) == PAIRS[:12]


def test_messages_know_their_place():
    text = f"{GET_RANDOM.hex()}\n\n{RANDOM.hex()[:9]}\n{RANDOM.hex()[9:]} {GET_RANDOM.hex()}\n"
    first, second = read(text.encode())
    messages = (first.command, first.response, second.command)
    assert [str(message.place) for message in messages if message] == ["line 1", "line 3", "line 4"]
    (exchange,) = read(GET_RANDOM + RANDOM)
    assert exchange.response
    assert exchange.response.place == Place("octet", len(GET_RANDOM))
    log, capture = read(LOG)[1], read(CAPTURE)[1]
    assert log.command
    assert b"SWTPM_IO_Read" in LOG.split(b"\n")[log.command.place.number - 1]
    assert capture.response
    assert capture.response.place == Place("packet", 4)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (CAPTURE, "pcapng"),
        (bytes.fromhex("d4c3b2a1"), "pcapng"),
        (bytes.fromhex("a1b23c4d"), "pcapng"),
        (LOG, "swtpm"),
        (b" Ctrl Cmd: length 5\n 00 00 00 05 00 \n", "swtpm"),
        (b"\t0x80, 0x01", "hex"),
        (b"# a remark that is longer than needed", "hex"),
        (b"", "hex"),
        (BINARY, "binary"),
        (TPM12_ANSWER, "binary"),
        (b"abc\0", "binary"),
    ],
)
def test_the_format_is_found_out_by_the_first_octets(head: bytes, name: str):
    by_itself = [m.place.unit for exchange in read(head) for m in exchange if m]
    as_told = [m.place.unit for exchange in read(head, name) for m in exchange if m]
    assert by_itself == as_told
    others = set(FORMATS) - {name}
    assert not head or name == "hex" or any(read(head, other) != read(head) for other in others)


def test_an_input_that_comes_octet_by_octet_is_read_the_same():
    class Trickle(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, target: bytearray) -> int:
            data = self._data.read(1)
            target[: len(data)] = data
            return len(data)

    for data in (BINARY[:3000], LOG[:3000], CAPTURE[:3000], BINARY[:1000].hex().encode()):
        trickled = list(read_exchanges(io.BufferedReader(Trickle(data), 1)))
        assert octets(trickled) == octets(read(data))
        assert trickled


def test_an_input_that_comes_in_a_small_and_a_large_piece_is_read_the_same():
    class Pieces(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            return self.read(3) if self.tell() == 0 else self.read(size)

    many = PAIRS * (0x20000 // len(BINARY) + 1)
    data = b"".join(sent + received for sent, received in many)
    assert octets(list(read_exchanges(Pieces(data)))) == many


# --- pairing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "pairs"),
    [
        ([GET_RANDOM, RANDOM], [(GET_RANDOM, RANDOM)]),
        ([GET_RANDOM], [(GET_RANDOM, None)]),
        ([RANDOM], [(None, RANDOM)]),
        ([RANDOM, GET_RANDOM], [(None, RANDOM), (GET_RANDOM, None)]),
        ([GET_RANDOM, GET_RANDOM, RANDOM], [(GET_RANDOM, None), (GET_RANDOM, RANDOM)]),
        ([GET_RANDOM, RANDOM, RANDOM], [(GET_RANDOM, RANDOM), (None, RANDOM)]),
        # what could be either is what is due
        ([READ_CLOCK, RANDOM], [(READ_CLOCK, RANDOM)]),
        ([GET_RANDOM, ASYMMETRIC], [(GET_RANDOM, ASYMMETRIC)]),
        ([GET_RANDOM, RANDOM, READ_CLOCK], [(GET_RANDOM, RANDOM), (READ_CLOCK, None)]),
        # what cannot be is not
        ([GET_RANDOM, TEST_RESULT, RANDOM], [(GET_RANDOM, None), (TEST_RESULT, RANDOM)]),
        ([GET_RANDOM, VENDOR], [(GET_RANDOM, None), (VENDOR, None)]),
        ([DISABLED], [(None, DISABLED)]),
        ([VENDOR, TPM12_ANSWER], [(VENDOR, TPM12_ANSWER)]),
        ([TPM12_ANSWER], [(None, TPM12_ANSWER)]),
    ],
)
def test_a_response_goes_with_the_command_before_it(
    messages: list[bytes], pairs: list[tuple[bytes | None, bytes | None]]
):
    assert octets(read(b"".join(messages), "binary")) == pairs


def test_channels_are_paired_apart_from_each_other():
    def on(channel: str, data: bytes) -> Message:
        return Message(data, Place("packet", 1), None, channel)

    messages = [on("a", GET_RANDOM), on("b", READ_CLOCK), on("a", RANDOM), on("b", TPM12_ANSWER)]
    assert octets(list(pair(messages))) == [(GET_RANDOM, RANDOM), (READ_CLOCK, TPM12_ANSWER)]


def test_no_more_than_some_channels_are_waited_for():
    messages = [Message(GET_RANDOM, Place("packet", n), Kind.COMMAND, n) for n in range(1000)]
    coming = iter(messages)
    given_up = next(pair(coming))
    assert given_up.command == messages[0]
    assert len(list(coming)) > 900
    assert octets(list(pair(messages))) == [(GET_RANDOM, None)] * 1000


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wound", ["lost", "added", "size"])
def test_damage_to_one_buffer_of_a_binary_file_leaves_the_others(wound: str):
    data = bytearray(BINARY)
    start = sum(len(sent) + len(received) for sent, received in PAIRS[:5])
    match wound:
        case "lost":
            del data[start + 40 : start + 47]
        case "added":
            data[start + 40 : start + 40] = b"\xaa" * 30
        case "size":
            data[start + 2 : start + 6] = (0x8000).to_bytes(4, "big")
    found = octets(read(bytes(data)))
    assert found[:5] == PAIRS[:5]
    assert found[-len(PAIRS) + 7 :] == PAIRS[7:]


def test_octets_that_belong_to_no_buffer_are_told_as_stray():
    rubbish = b"\x80\x01 rubbish \x80\x02"
    first, stray, second = read(GET_RANDOM + RANDOM + rubbish + GET_RANDOM + RANDOM, "binary")
    assert stray.stray
    assert (stray.stray.octets, stray.stray.place) == (rubbish, Place("octet", 26))
    assert stray.stray.kind is Kind.STRAY
    assert octets([first, second]) == [(GET_RANDOM, RANDOM)] * 2


@given(data=st.binary(max_size=300) | mutated(BINARY[:2000]))
def test_no_octet_of_a_binary_file_is_lost(data: bytes):
    messages = [message for exchange in read(data, "binary") for message in exchange if message]
    messages.sort(key=lambda message: message.place.number)
    assert b"".join(message.octets for message in messages) == data


@pytest.mark.parametrize("size", [1, 2, 5, 9, 11])
def test_a_binary_file_may_end_inside_of_a_buffer(size: int):
    cut = GET_RANDOM[:size]
    assert octets(read(GET_RANDOM + RANDOM + cut, "binary")) == [(GET_RANDOM, RANDOM), (cut, None)]


def test_a_cut_buffer_in_hexadecimal_ends_where_the_next_line_begins_one():
    text = f"{GET_RANDOM.hex()[:-2]}\n{RANDOM.hex()}\n"
    assert octets(read(text.encode())) == [(GET_RANDOM[:-1], RANDOM)]


def test_what_is_no_hexadecimal_is_told_with_its_line():
    text = f"{GET_RANDOM.hex()}\nno digits here\n{RANDOM.hex()}\n{GET_RANDOM.hex()}f"
    first, second, third, fourth = read(text.encode(), "hex")
    assert first.stray
    assert str(first.stray.place) == "line 2"
    assert "hexadecimal" in first.stray.fault
    assert octets([second, fourth]) == [(GET_RANDOM, RANDOM), (GET_RANDOM, None)]
    assert third.stray
    assert "half an octet" in third.stray.fault


def test_a_dump_in_a_log_may_be_interrupted():
    lines = LOG.splitlines(keepends=True)
    between = [
        b"Data client disconnected\n",
        b" Ctrl Cmd: length 9\n",  # it never comes to its end
        b" 00 11 \n",
        b" Ctrl Cmd: length 20\n",
        b" 00 11 22 33 44 55 66 77 88 99 AA BB CC DD EE FF \n",
        b" 00 11 22 33 \n",
        b" Ctrl Rsp: length 4\n",
        b" 00 00 00 00 \n",
    ]
    torn = b"".join(b"".join(between) + line for line in lines if b"Ctrl" not in line)
    assert len(torn) > 3 * len(LOG)
    assert octets(read(torn)) == octets(read(LOG))


def test_a_log_with_a_prefix_is_read():
    prefixed = b"".join(b"swtpm[4711]: " + line for line in LOG.splitlines(keepends=True))
    assert octets(read(prefixed)) == octets(read(LOG))


def test_a_dump_that_never_ends_is_given_up_at_the_next_one():
    text = b" SWTPM_IO_Read: length 12\n 80 01 00 00 00 0C 00 \n" + LOG
    first, *others = read(text)
    assert octets([first]) == [(GET_RANDOM[:7], None)]
    assert octets(others) == octets(read(LOG))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda data: data[:-30], "the file ends inside of a block"),
        (lambda data: data[:-4] + b"\0\0\0\1", "two different sizes"),
        (lambda data: data + struct.pack("<II", 6, 0x7FFFFFFC), "a block of 2147483644 octets"),
        (lambda data: data + struct.pack("<II", 6, 13) + bytes(5), "a block of 13 octets"),
        (lambda data: data + struct.pack("<IIII", 6, 16, 0, 16), "a packet without its head"),
        (lambda data: data + struct.pack("<IIII", 1, 16, 0, 16), "an interface"),
        (lambda data: data + bytes.fromhex("0a0d0d0a") + bytes(24), "mark of its byte order"),
        (lambda data: data + b"\6", "inside of a block"),
    ],
)
def test_a_capture_is_read_up_to_where_it_is_damaged(damage: Callable[[bytes], bytes], fault: str):
    found = read(damage(CAPTURE))
    (stray,) = (exchange.stray for exchange in found if exchange.stray)
    assert fault in stray.fault
    assert octets(found)[:57] == octets(read(CAPTURE))[:57]


@pytest.mark.parametrize("name", FORMATS)
@given(
    data=st.binary(max_size=400)
    | mutated(LOG[:1500])
    | mutated(CAPTURE[:1500])
    | mutated(BINARY[:400].hex().encode())
)
def test_whatever_the_input_is_it_is_read_to_its_end(name: str, data: bytes):
    for exchange in read(data, name):
        assert any(exchange)
    read(data)


# --- captures ----------------------------------------------------------------------------------

HOST, TPM = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
ETHERNET = bytes(12) + b"\x08\x00"
LINKS = {
    "Ethernet": (1, ETHERNET),
    "Ethernet with a VLAN": (1, bytes(12) + bytes.fromhex("810000070800")),
    "BSD loopback": (0, bytes.fromhex("02000000")),
    "raw IP": (101, b""),
    "IPv4": (228, b""),
    "Linux any": (113, bytes(14) + b"\x08\x00"),
    "Linux any, version 2": (276, b"\x08\x00" + bytes(18)),
}


def segment(data: bytes, *, up: bool, sequence: int, version: int = 4) -> bytes:
    """An IP packet with a TCP segment: from the host up to the TPM, or down."""
    ports = (50000, 2321) if up else (2321, 50000)
    tcp = struct.pack(">HHIIHHHH", *ports, sequence, 0, 0x5010, 8192, 0, 0) + data
    hosts = (HOST, TPM) if up else (TPM, HOST)
    if version == 6:
        long = b"".join(bytes(12) + host for host in hosts)
        return struct.pack(">IHBB", 0x60000000, len(tcp), 6, 64) + long + tcp
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0)
    return head + b"".join(hosts) + tcp


def pcap(packets: list[bytes], link: int = 228, order: str = "<") -> bytes:
    """An old pcap file."""
    head = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return head + b"".join(struct.pack(order + "IIII", 0, 0, len(p), len(p)) + p for p in packets)


def conversation(pairs: list[tuple[bytes, bytes]], size: int, **kwargs: int) -> list[bytes]:
    """Packets of a whole conversation, with at most `size` octets in each."""
    packets, sent = [], [0xFFFFFF00, 77]
    for pair_ in pairs:
        for up in (True, False):
            for part in in_lines(pair_[0 if up else 1], size):
                packets.append(segment(part, up=up, sequence=sent[up], **kwargs))
                sent[up] = (sent[up] + len(part)) % 2**32
    return packets


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS.keys())
def test_captures_of_every_kind_of_link_are_read(link: tuple[int, bytes]):
    packets = [link[1] + packet + b"trailer" for packet in conversation(PAIRS[:5], 5000)]
    assert octets(read(pcap(packets, link[0]))) == PAIRS[:5]


@pytest.mark.parametrize("order", "<>")
def test_old_pcap_files_are_read_in_either_byte_order(order: str):
    assert octets(read(pcap(conversation(PAIRS[:5], 5000), order=order))) == PAIRS[:5]


@pytest.mark.parametrize("order", "<>")
def test_pcapng_files_are_read_in_either_byte_order(order: str):
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    unknown, interface = block(0xBAD, b"?"), block(1, struct.pack(order + "HHI", 228, 0, 0))
    enhanced, simple = [], []
    for packet in conversation(PAIRS[:5], 5000):
        size = len(packet)
        enhanced.append(block(6, struct.pack(order + "5I", 0, 0, 0, size, size) + packet))
        simple.append(block(3, struct.pack(order + "I", size) + packet))
    for packets in (enhanced, simple):
        assert octets(read(b"".join([section, unknown, interface, *packets]))) == PAIRS[:5]


def test_ipv6_is_read():
    packets = [
        bytes(12) + b"\x86\xdd" + packet for packet in conversation(PAIRS[:5], 5000, version=6)
    ]
    assert octets(read(pcap(packets, 1))) == PAIRS[:5]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_buffers_may_be_spread_over_segments(size: int):
    assert octets(read(pcap(conversation(PAIRS[:5], size)))) == PAIRS[:5]


def test_a_segment_that_comes_again_is_read_once():
    packets = conversation(PAIRS[:5], 50)
    twice = [packet for packet in packets for _ in range(2)]
    assert octets(read(pcap(twice))) == PAIRS[:5]


def test_where_a_segment_is_missing_the_buffer_ends():
    packets = conversation(PAIRS[:5], 100)
    sent = PAIRS[0][0]
    assert len(sent) > 100
    found = octets(read(pcap(packets[:1] + packets[2:])))
    assert found[0] == (sent[:100], PAIRS[0][1])
    assert found[1:] == PAIRS[1:5]


def test_the_protocol_of_the_simulator_is_taken_away():
    framed = [
        (
            struct.pack(">IBI", 8, 0, len(sent)) + sent,
            struct.pack(">I", len(received)) + received + bytes(4),
        )
        for sent, received in PAIRS
    ]
    framed[3:3] = [(struct.pack(">I", 11), bytes(4))]  # NV_ON and its answer
    framed.append((struct.pack(">I", 20), b""))  # SESSION_END
    for size in (3, 11, 5000):
        assert octets(read(pcap(conversation(framed, size)))) == PAIRS


def test_only_the_port_of_the_tpm_is_looked_at():
    other = segment(b"GET / HTTP/1.1", up=True, sequence=1).replace(
        struct.pack(">H", 2321), struct.pack(">H", 80)
    )
    packets = conversation(PAIRS[:2], 5000)
    assert octets(read(pcap([other, *packets, other]))) == PAIRS[:2]
    elsewhere = list(read_exchanges(io.BytesIO(pcap(packets)), pcapng={"port": 80}))
    assert elsewhere == []
    assert len(list(read_exchanges(io.BytesIO(pcap([other])), pcapng={"port": 80}))) == 1


def test_what_is_no_tcp_is_passed_over():
    packets = conversation(PAIRS[:2], 5000)
    udp = packets[0][:9] + b"\x11" + packets[0][10:]
    noise = segment(b"the rest of something", up=True, sequence=0x12345678)
    fragment = noise[:6] + b"\x20\x01" + noise[8:]
    short = packets[0][:30]
    assert octets(read(pcap([udp, fragment, short, b"", *packets]))) == PAIRS[:2]


@pytest.mark.skipif(shutil.which("editcap") is None, reason="editcap of Wireshark is not installed")
def test_what_wireshark_makes_of_a_capture_is_read_the_same(tmp_path: Path):
    source, target = tmp_path / "a.pcapng", tmp_path / "a.pcap"
    source.write_bytes(CAPTURE)
    for form in ("pcap", "nsecpcap", "pcapng"):
        subprocess.run(["editcap", "-F", form, source, target], check=True, timeout=60)
        assert octets(read(target.read_bytes())) == octets(read(CAPTURE))


# --- memory ------------------------------------------------------------------------------------


def peak(make: Callable[[], "io.RawIOBase"], name: str) -> int:
    """The most memory that reading an input takes."""
    tracemalloc.start()
    found = sum(1 for _ in read_exchanges(io.BufferedReader(make()), name))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found
    return most


class Repeated(io.RawIOBase):
    """The same octets over and over, without holding them more than once."""

    def __init__(self, data: bytes, times: int) -> None:
        self._parts = itertools.repeat(data, times)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: "memoryview") -> int:
        self._rest = self._rest or memoryview(next(self._parts, b""))
        size = min(len(self._rest), len(target))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


LONG = {
    "binary": BINARY[:20000],
    "hex": BINARY[:20000].hex().encode(),  # a single line without an end
    "swtpm": LOG,
    "pcapng": CAPTURE,
}


@pytest.mark.parametrize("name", FORMATS)
def test_memory_does_not_grow_with_the_input(name: str):
    data = LONG[name]
    assert peak(lambda: Repeated(data, 1), name)  # what is made once, like caches
    short, long = (peak(lambda n=n: Repeated(data, n), name) for n in (4, 40))
    assert long < 1.2 * short + 20000


def test_memory_does_not_grow_with_rubbish():
    noise = random.Random(1).randbytes(50000) + b"\n" + LOG[:2000]
    for name in FORMATS:
        if name != "pcapng":
            short = peak(lambda: Repeated(noise, 2), name)
            assert peak(lambda: Repeated(noise, 20), name) < 1.2 * short + 20000


def test_memory_does_not_grow_with_connections_that_never_end():
    def packets(count: int) -> bytes:
        begun = [segment(GET_RANDOM[:8], up=True, sequence=1) for _ in range(count)]
        return pcap([p[:12] + struct.pack(">I", n) + p[16:] for n, p in enumerate(begun)])

    short, long = packets(500), packets(5000)
    few = peak(lambda: Repeated(short, 1), "pcapng")
    many = peak(lambda: Repeated(long, 1), "pcapng")
    assert many < 1.2 * few + 20000
