"""What is proven, one file per proof, in this order: behaviour that a host's configuration can't show.

local: containers on a network that each host has by itself reach one another, come out, and are reached where they publish.
builtin: a container on `none` has only loopback, one on `host` the host's addresses.
overlay: every host reaches every other one over an overlay network, by name and by address, at full packet size.
dns: names outside are forwarded to the resolvers of the inventory.
internal: from a container on a network that is to have no way out no other host is reached.
isolation: a container on one network finds none of another, neither by name nor by address.
"""
