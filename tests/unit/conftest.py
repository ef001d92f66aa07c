"""The fake kernel serves the tests of the loop too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "reconcile"))
