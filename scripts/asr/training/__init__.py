"""Stage 3: the trainer, checkpoints, exact resume, and the launch by torchrun.

Imports core, models, config, data and progress.
"""
