"""Whether a plan can ever run on this machine, or on the cluster that is joined."""
