"""How far runs are: progress.jsonl, lines on the screen and curves of a training, and the state of every stage.

Imports core and pages.
"""
