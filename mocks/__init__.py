"""The outside world for a laptop and for tests: the shop's three APIs, a model, servers."""
