"""What every workflow uses: the connections, one step on the hosts of a scope, and the results of a run."""
