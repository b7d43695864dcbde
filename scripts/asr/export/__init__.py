"""A tuned model as other runtimes want it, with proof that its texts are those that were scored.

Imports core, audio, scoring, pages, models, config, language and decoding; the runtimes only in functions that use
them.
"""
