"""Stage 3: the trainer, checkpoints, exact resume, and the launch by torchrun.

Imports core, audio, scoring, system, progress, models, config and data.
"""
