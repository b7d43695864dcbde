"""Which utterance falls into which set, by a file or by a rule.

Imports core and preparation.
"""
