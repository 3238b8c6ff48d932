"""What alignments maximise: rewards of whole responses."""
