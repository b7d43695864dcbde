"""Fun-ASR-Nano: its family, training step and decoding. Imports core and models."""
