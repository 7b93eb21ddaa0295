"""What a test expects to be refused."""

import contextlib

import pytest
from lakefs_sdk.exceptions import ApiException


@contextlib.contextmanager
def refused(status, message=""):
    """Expects this status of the SDK, and a body that holds this text."""
    with pytest.raises(ApiException) as caught:
        yield
    assert caught.value.status == status, (caught.value.status, caught.value.body)
    assert message in (caught.value.body or "")
