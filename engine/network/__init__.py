"""A smaller layer inside real transformers; see README.md in this folder.

Kept empty: `engine` imports `engine.network.registration`, which must stay light.
"""
