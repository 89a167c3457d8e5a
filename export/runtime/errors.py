"""The errors that a user can mend; each message is one plain sentence."""


class RuntimeFault(Exception):
    """Base of all errors of the runtime: show the message, never a traceback."""


class ModelFault(RuntimeFault):
    """The model file cannot be used: damaged, unsafe, or without a card."""


class InputFault(RuntimeFault):
    """The raster does not fit the model, or cannot be read or written."""


class Cancelled(RuntimeFault):
    """The host asked to stop."""
