"""What a training reports while it runs: progress.jsonl, the lines on the screen, and the curves drawn from it.

Imports core and pages.
"""
