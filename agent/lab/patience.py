"""How long the lab waits, times `WEFT_LAB_PATIENCE`: on a slow machine, limits are longer and it looks less often."""

import os

FACTOR = float(os.environ.get("WEFT_LAB_PATIENCE", "1"))


def patient(seconds: float) -> float:
    """A limit, or a pause between two looks, on this machine; in seconds."""
    return seconds * FACTOR
