"""The methods that the AdaAttN paper compares with, each in a file, as a feature transform in AdaAttN's place.

They share the network's encoder and decoder, its preparation of styles and its files; `TRANSFORMS` names them.
"""

from ppadaattn.baselines.adain import AdaIN
from ppadaattn.baselines.avatarnet import AvatarNet
from ppadaattn.baselines.linear import Linear
from ppadaattn.baselines.mast import MAST
from ppadaattn.baselines.mccnet import MCCNet
from ppadaattn.baselines.sanet import SANet

TRANSFORMS = {
    "adain": AdaIN,
    "avatarnet": AvatarNet,
    "linear": Linear,
    "mast": MAST,
    "mccnet": MCCNet,
    "sanet": SANet,
}
