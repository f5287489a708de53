"""A checkpoint in, the forms that peers ask for out: made once, kept in one cache."""
