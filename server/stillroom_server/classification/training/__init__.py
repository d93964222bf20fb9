"""Heads fitted to labeled texts, alone or together with the table of a static student.

from stillroom_server.classification.training.train import PHASES, Trained, train
"""
