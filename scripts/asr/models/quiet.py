"""FunASR without what it prints."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator

from asr.core.errors import RecipeError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence FunASR's prints and logging, which importing it configures; on an error they are shown after all."""
    held = io.StringIO()
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(held):
            yield
    except RecipeError:
        raise
    except BaseException:
        sys.stderr.write(held.getvalue())
        raise
    finally:
        logging.disable(disabled)
