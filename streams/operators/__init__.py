"""What operators do: mend and send on dead letters, publish by hand; and the audit of it."""
