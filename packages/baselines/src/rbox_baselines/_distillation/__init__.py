"""Distillation: a backbone learns to give the feature maps of a larger one, from images without labels."""
