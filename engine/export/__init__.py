"""From a model to a smaller one: loaded, measured beside the old one, written as a model folder.

The steps, for who needs less than `engine.compress_model`: `engine.export.models.open_model` finds
and checks a model, `engine.export.smaller.shrink` puts a factorization into it and measures both,
`SmallerModel.write` fills a folder.
"""
