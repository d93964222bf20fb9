"""Texts to flat ids and offsets: the tokenizer engines, and the check between them."""
