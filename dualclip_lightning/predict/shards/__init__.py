"""Division of a run among processes of this machine or of a cluster, each of which scores one share of the images."""
