"""Training data: manifests, augmentation, batches and the loader that FunASR's trainer takes.

Imports core, audio, models and config.
"""
