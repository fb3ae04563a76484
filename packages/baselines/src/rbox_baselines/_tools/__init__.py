"""What stands beside training and prediction: results, logs, curves, pictures of the data, facts of a model."""
