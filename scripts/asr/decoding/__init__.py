"""Stages 2 and 5: from clips to hypotheses, in batches, in one process or several.

Imports core, audio, scoring, progress, models, config and language; reaches FunASR through models.
"""
