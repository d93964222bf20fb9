"""Texts as a head reads them: vectors of an encoder and, of a static student, its tokens.

from stillroom_server.classification.features.load import load_encoder
from stillroom_server.classification.features.encode import encode_texts

encoder = load_encoder(folder, "static", options.encoding)
encoded = encode_texts(encoder, texts, context)
"""
