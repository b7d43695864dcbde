"""Clips on disk and in memory: reading samples and headers, checking and converting files.

Imports core.
"""
