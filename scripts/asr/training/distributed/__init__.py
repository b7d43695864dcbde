"""Several machines and DeepSpeed, which one GPU never needs.

Imports core and the trainer; imported where stage 3 is started and nowhere else.
"""
