"""Settings, seeds and folds over run.sh, and one score of all folds.

Imports core, config, scoring, reporting and system.
"""
