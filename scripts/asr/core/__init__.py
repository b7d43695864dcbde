"""What every other sub-package stands on: errors, files that are whole, manifests, names, processes.

Imports nothing of the recipe, and neither torch nor FunASR.
"""
