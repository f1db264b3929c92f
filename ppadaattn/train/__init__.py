"""Training: data, losses, objectives, the loop, a run put together from a configuration."""
