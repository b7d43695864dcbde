"""What is in a prepared corpus: statistics.json, and the text and the page made from it.

Imports core, scoring and pages.
"""
