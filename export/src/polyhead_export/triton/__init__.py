"""A bundle comes in; a folder for the model repository of a Triton server goes out."""
