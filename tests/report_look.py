"""What tests see of report.html in a browser; ``look`` of tests/unit/conftest.py opens it."""

import pytest


def column(view, name):
    """The cells of a column of the page that is shown, without the name that small screens show."""
    script = "cells => cells.map(cell => [...cell.childNodes].slice(1).map(node => node.textContent).join(''))"
    return view.locator(f".utterances .is-{name}").evaluate_all(script)


def head(view, words):
    """The header of a column of the list of utterances."""
    return view.locator(".utterances thead th", has=view.get_by_role("button", name=words, exact=True))


def field(view, label):
    """A filter."""
    return view.locator("#browser").get_by_label(label, exact=True)


def count(view):
    """How many utterances are shown, as it is said."""
    return view.locator(".count").inner_text()


def until(view, script):
    """Wait for ``script`` to be true: the page's policy lets no one else evaluate a string in it."""
    for _ in range(500):
        if view.evaluate(script):
            return
        view.wait_for_timeout(20)
    pytest.fail(f"never true: {script}")


def focused(view):
    """The key of the utterance that has the focus."""
    return view.evaluate("document.activeElement.closest('tbody')?.dataset.key ?? null")


def sideways(view):
    """How far the page goes beyond the screen's right edge."""
    return view.evaluate("document.documentElement.scrollWidth - innerWidth")
