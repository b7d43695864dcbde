"""The YAML that a user edits: its keys, how it is checked, and the files that the stages read from it.

Imports core and models' families; no torch.
"""
