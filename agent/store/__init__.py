"""The objects that the agent knows, indexed, with a record of who read what: a change recomputes only its readers."""
