"""Turn named arrays (.npz) into a weights file that `ppadaattn.load` takes.

`python tools/convert_weights.py FILE.npz --attention softmax --output FILE.pdparams`
"""

import sys

from ppadaattn.cli import convert_weights

if __name__ == "__main__":
    sys.exit(convert_weights())
