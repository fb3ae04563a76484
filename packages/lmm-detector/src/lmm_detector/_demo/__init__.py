"""The demonstration: a tiny model that learns drawn scenes by heart."""
