"""Which placement of a model on a wafer is best, and how far it is from what physics allows."""
