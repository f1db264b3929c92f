"""The networks of the paper as Paddle layers: tensors in, tensors out. Nothing here reads or writes a file."""

from ppadaattn import runtime

runtime.import_paddle()
