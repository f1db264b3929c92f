"""Painting: the Stylizer, the engines that run its network, frames and clips, exported programs."""
