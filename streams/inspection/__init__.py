"""Looking into the streams, for people: what there is, how far it is read, what is in it."""
