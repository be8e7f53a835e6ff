"""What is proven, one file per proof, in this order: behaviour that a host's configuration can't show.

overlay: every host reaches every other one over an overlay network, by name and by address, at full packet size.
dns: names outside are forwarded to the resolvers of the inventory.
isolation: a container on one network finds none of another, neither by name nor by address.
"""
