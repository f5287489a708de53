"""ordinal.v1: one of several classes that have an order, such as 1 to 5 stars."""
