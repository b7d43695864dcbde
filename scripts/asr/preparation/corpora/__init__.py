"""Readers of corpora as they lie on disk: Kaldi folders, lhotse manifests, JSONL.

Imports core and preparation.
"""
