"""From hypotheses and references to error rates, intervals, tests and comparisons; also the text normaliser.

Imports core; no torch.
"""
