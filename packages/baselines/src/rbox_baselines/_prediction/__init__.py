"""From a trained model and images to predictions.jsonl."""
