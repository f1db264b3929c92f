"""Weights and styles in files: this project's own, the model zoo, downloads, conversions."""
