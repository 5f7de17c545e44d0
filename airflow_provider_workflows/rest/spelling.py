"""Suggestions for misspelt words."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean STARTED?``, or an empty text if no known word is similar."""
    from difflib import get_close_matches  # only misspelt words need it

    spellings = {one.lower(): one for one in known}
    like = get_close_matches(word.lower(), spellings, n=1)
    return f"; did you mean {spellings[like[0]]}?" if like else ""
