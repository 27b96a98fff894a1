"""Projective clustering: k linear subspaces, every row going to its closest.

Reading order: `statistics` (what is added up), `subspaces` (M-step and E-step kernels), `seeding`
(where a start comes from), `em` (one start), `search` (many starts, the cheapest kept).
"""
