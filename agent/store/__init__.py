"""The agent's objects, indexed, with a record of which unit read what: a change recomputes only its readers."""
