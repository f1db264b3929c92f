"""Turn weights of other origin into a file that `ppadaattn.load` takes.

The authors' PyTorch checkpoints, for pictures or video:
`python tools/convert_weights.py FOLDER --encoder vgg_normalised.pth --output FILE.pdparams`

Named arrays: `python tools/convert_weights.py FILE.npz --attention softmax --output FILE.pdparams`
"""

import sys

from _launch import PROGRAM, run

if __name__ == "__main__":
    sys.exit(run("convert", prog=PROGRAM))
