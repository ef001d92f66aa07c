"""Fakes of what unit tests do not run: the kernel's maps, Envoys, the parts around the controllers."""
