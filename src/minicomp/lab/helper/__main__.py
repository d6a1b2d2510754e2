"""`python -m minicomp.lab.helper`: see `serve`."""

import sys

from minicomp.lab.helper.serve import main

sys.exit(main())
