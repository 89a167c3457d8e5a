"""The pages of the panel, from features to the saved model."""
