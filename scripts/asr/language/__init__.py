"""What the language says of a recogniser's candidates: n-grams, search, sounds, phrases, and how sure a text is.

Imports core and scoring; no torch. It knows neither models nor the folders of a run.
"""
