"""RESULTS.md and report.html, made from score.json and provenance.json.

Imports core, scoring, pages, progress and config; no torch.
"""
