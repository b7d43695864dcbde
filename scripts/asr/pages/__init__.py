"""What the recipe's HTML pages and pictures are put together from, knowing nothing of their content.

Imports core; no torch.
"""
