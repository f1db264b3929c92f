"""Training: data, losses, objectives, the loop, a run put together from a configuration."""

from ppadaattn import runtime

runtime.import_paddle()
