"""`recalltrap doctor`: what of this machine, its Ray and a study could keep a run from working."""
