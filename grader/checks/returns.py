"""What a call returned, held against what it should return."""

import errno

from ..result import Finding
from ..run import Reply, Run


def errno_name(error: int) -> str:
    """0, or the name of a negative errno."""
    return f"{error} (-{errno.errorcode[-error]})" if -error in errno.errorcode else str(error)


def wrong_return(run: Run, reply: Reply, want: int, code: str, when: str):
    """Yields a finding, at the fault that the call met if it met one."""
    got = reply["ret"]
    if got != want:
        message = f"{reply.call}() returned {errno_name(got)} {when}, and should return {errno_name(want)}"
        finding = Finding(code, message)
        if reply.faults:
            yield run.at_fault(finding, reply.faults[-1])
        else:
            yield run.at_function(finding, reply.call)
