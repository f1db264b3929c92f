"""Methods compared by figures: optical-flow error, losses and distances, speed, a report of all (tools/evaluate.py).

A method is a name and a weights file, which carries its architecture; nothing here knows what kind of network it is.
"""

from ppadaattn import runtime

runtime.import_paddle()
