"""Recorded traffic with a TPM: from a file's octets to commands paired with their responses.

Each reader takes a binary file object and yields messages as it meets them, so that memory does not
grow with the input, and damage ends nothing but the message that it is in.
"""

from tpmwire.traces.detection import FORMATS, read_exchanges
from tpmwire.traces.messages import Exchange, Kind, Message, Place
from tpmwire.traces.pairing import pair

__all__ = ["FORMATS", "Exchange", "Kind", "Message", "Place", "pair", "read_exchanges"]
