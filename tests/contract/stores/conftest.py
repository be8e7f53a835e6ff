"""The labs of the end-to-end tests, for backends on the real thing."""

from tests.e2e.conftest import labs, make_lab

__all__ = ["labs", "make_lab"]
