"""Stage 1: from a corpus to manifests, splits, statistics and a list of problems.

Imports core, audio, scoring, pages, progress and models; no torch.
"""
