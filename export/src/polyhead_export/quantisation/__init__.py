"""int8 that gives the trained model's answers: observe, search, then rewrite the graph.

A *point* is a tensor that linears of the encoder read. Each has one smoothing and one range, found
by the error that they cause in what its linears compute. A `Plan` says which linears are too
sensitive for that. A bundle stores what was found, so that another export can take it over.
"""
