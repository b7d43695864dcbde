"""The machine a run stands on, and where the stages of the runs in exp/ stand.

Imports core and training.checkpoints; no torch.
"""
