"""Comparison of methods by figures: optical-flow error, losses and distances, speed, and a report of them all.

A method is a name and a weights file, which carries its architecture: the code here is the same for every network.
"""

from ppadaattn import runtime

runtime.import_paddle()
