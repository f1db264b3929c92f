"""Painting for other programs: PaddleHub's calls and the HTTP service."""
