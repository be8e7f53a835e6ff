"""From an inventory of Linux hosts to one proven multi-host Docker overlay network."""

__version__ = "0.1.0"
