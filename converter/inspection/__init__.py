"""Looking into weights: statistics, differences, pictures, and what they say of a training."""
