"""What goes wrong on a cluster, noticed and told: a lost head, an endless wait, a worker's log."""
