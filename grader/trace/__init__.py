"""From an strace log to the promises that a power loss would break."""

from .kernel import TRACED, KernelModelError, replay
from .ordering import Promise, check
from .strace import TraceSyntaxError, parse

__all__ = ["TRACED", "KernelModelError", "Promise", "TraceSyntaxError",
           "check", "parse", "replay"]
