"""How fast, how small: `make bench` prints medians beside their limits. Never part of the tests."""
