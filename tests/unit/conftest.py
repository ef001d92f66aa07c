"""The fake kernel serves the tests of the loop too, and the worlds of the property tests those of the simulation."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
for folder in ("unit/datapath", "property"):
    sys.path.insert(0, str(TESTS / folder))
