"""Checkpoints on disk: written whole, ranked, kept, and read back for resuming.

Imports core.
"""
