"""Reading for people: what is on the topics, and what became of a conversation."""
