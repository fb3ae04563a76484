"""Fine-tuning: settings, data, model, run."""
