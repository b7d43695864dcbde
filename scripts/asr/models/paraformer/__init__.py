"""Paraformer: its family, decoding and training step. Imports core and models."""
