"""Turn named arrays (.npz) into a weights file that `ppadaattn.load` takes.

`python tools/convert_weights.py FILE.npz --attention softmax --output FILE.pdparams`
"""

import sys

from ppadaattn.cli.convert_weights import main

if __name__ == "__main__":
    sys.exit(main())
