"""The degradations themselves, a module for each cause; dataset_tools/degradations.py is the way to them."""
