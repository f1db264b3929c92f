"""PaddleHub's calls under their short name: `ppadaattn.hub.Module`."""

from ppadaattn.serve.hub import Module
from ppadaattn.serve.protocol import decode, encode, transfer
