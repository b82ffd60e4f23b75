"""What can go wrong with the store, on one page.

    StoreError             anything below; its text is one line that a user can act on
    ├── NotFound           an id that the store doesn't know, or no live vote to withdraw
    ├── Conflict           an id that is taken by another body, a release made meanwhile, or a
    │                      promotion in a frozen project
    ├── Refused            a value that must not be stored; sending it again won't help
    ├── Damaged            bytes that are not what was written: restore them or build them again
    ├── Unavailable        full disk, held lock, no permission: put it right and send the same again
    └── EmptySnapshot      there is nothing to train on; the text says why each row fell out

A write that raises has changed nothing, so the same call can be made again once the cause is gone.
A malformed field never gets this far: building the record raises `pydantic.ValidationError`.
"""


class StoreError(Exception):
    """Any failure of the feedback store."""


class NotFound(StoreError):
    """The id is unknown, or there is no live value for the key."""


class Conflict(StoreError):
    """The id is taken by another body, or somebody else wrote first."""


class Refused(StoreError):
    """The value must not be stored."""


class Damaged(StoreError):
    """The bytes on disk are not what was written."""


class Unavailable(StoreError):
    """The store can't be reached or written just now; nothing was changed."""


class EmptySnapshot(StoreError):
    """No trainable row came out of the votes."""
