"""Tokens and their texts: which may follow, so that an answer is in its codec's grammar."""
