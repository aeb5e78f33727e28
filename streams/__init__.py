"""How messages travel: the message, its route slip, the mailboxes, and the bridge to JetStream."""
