"""Python side of the recipe: sub-packages named after concerns, and a command each in the modules beside them."""

__version__ = "0.1.0"
