"""What every workflow runs on: the connections, one step on the hosts of a scope, and the record of what a run has come to."""
