"""Conformer and Transformer: their family, decoding and training step. Imports core and models."""
