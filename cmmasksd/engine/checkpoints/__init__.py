"""Checkpoints on disk: written whole or not at all, where there is room for them."""
