"""Routes: which parents they bind to, what they ask for, what of it is valid, and who wins."""
