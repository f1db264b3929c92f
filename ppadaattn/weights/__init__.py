"""Weights and styles in files: this project's own, the model zoo, downloads, conversions."""

from ppadaattn import runtime

runtime.import_paddle()
