"""Turn weights of other origin into a file that `ppadaattn.load` takes.

The authors' PyTorch checkpoints, for pictures or video:
`python tools/convert_weights.py FOLDER --encoder vgg_normalised.pth --output FILE.pdparams`

Named arrays: `python tools/convert_weights.py FILE.npz --attention softmax --output FILE.pdparams`
"""

from _launch import launch

if __name__ == "__main__":
    launch("convert")
