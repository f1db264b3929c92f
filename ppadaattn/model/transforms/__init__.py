"""The feature transforms that a network can have: AdaAttN, and the methods that its paper compares with.

Each file is one method, which takes AdaAttN's place in the network; encoder, decoder, styles and files are the same.
`TRANSFORMS` gives their names in configurations and weights files.
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
