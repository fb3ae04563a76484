"""Runs pushed to the hub, with a card of each."""
