"""The YAML that a user edits: its keys, how it is checked, and the files that the stages read from it.

Imports core, audio and models; no torch.
"""
