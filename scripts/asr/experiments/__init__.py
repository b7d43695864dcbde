"""Settings, seeds and folds over run.sh, and one score of all folds.

Imports core, scoring, pages, system, config and reporting.
"""
