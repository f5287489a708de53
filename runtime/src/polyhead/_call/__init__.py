"""Comes in: what a caller asks of a loaded model, and texts. Goes out: predictions.

`request` checks what is asked and says which graphs run for it, `answering` does the steps of a
call one after another, and `writing` has decoders write.
"""
