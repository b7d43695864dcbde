"""Stages 2 and 5: from clips to hypotheses, in batches, in one process or several.

Imports core, audio, models and config; reaches FunASR through models.
"""
