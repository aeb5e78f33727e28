"""Who works on a message: one file an actor, plus the ways to the model and to the shop."""
