"""The feature transforms that a network can be built of: AdaAttN, and the methods that its paper compares with.

Each is in a file, in AdaAttN's place. They share the network's encoder and decoder, its preparation of styles and its
files; `TRANSFORMS` names them.
"""

from ppadaattn.model.transforms.adaattn import AdaAttN
from ppadaattn.model.transforms.adain import AdaIN
from ppadaattn.model.transforms.avatarnet import AvatarNet
from ppadaattn.model.transforms.linear import Linear
from ppadaattn.model.transforms.mast import MAST
from ppadaattn.model.transforms.mccnet import MCCNet
from ppadaattn.model.transforms.sanet import SANet

TRANSFORMS = {
    "adaattn": AdaAttN,
    "adain": AdaIN,
    "avatarnet": AvatarNet,
    "linear": Linear,
    "mast": MAST,
    "mccnet": MCCNet,
    "sanet": SANet,
}
