"""From an strace log to the promises that a power loss would break."""

from .kernel import TRACED, KernelModelError, Trace, replay, replay_children
from .ordering import Promise, check
from .strace import TraceSyntaxError, parse

__all__ = ["TRACED", "KernelModelError", "Promise", "Trace",
           "TraceSyntaxError", "check", "parse", "replay", "replay_children"]
