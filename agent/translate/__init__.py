"""From the store to the plan: pure functions, no clock, no log, no random choice, no input or output."""
