"""Stage 4: the mean of the best checkpoints, and the model folder made of it.

Imports core, scoring, models, config, training.checkpoints and decoding.
"""
