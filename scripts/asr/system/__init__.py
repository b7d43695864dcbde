"""The machine a run stands on: Python, packages, CPU, memory, disk and GPUs.

Imports core; no torch.
"""
