"""How models are aligned: the trainer, the losses, and one module for each algorithm."""
