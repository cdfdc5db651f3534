"""The structures of TPM 2.0, Part 2 of the library specification, one module per chapter."""

from tpmwire.types.algorithms import *
from tpmwire.types.attestation import *
from tpmwire.types.base import *
from tpmwire.types.capabilities import *
from tpmwire.types.components import *
from tpmwire.types.contexts import *
from tpmwire.types.interface import *
from tpmwire.types.nv import *
from tpmwire.types.objects import *
from tpmwire.types.postquantum import *
from tpmwire.types.structures import *
