"""RESULTS.md and report.html, made from score.json and provenance.json.

Imports core, audio, scoring, pages, system, progress and config; no torch.
"""
