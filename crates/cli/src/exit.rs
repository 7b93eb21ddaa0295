//! Exit codes: a script can tell what to do next without reading text (docs/cli.md).

/// How a verb ended. The numbers are part of the interface and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed for a reason that has no number of its own.
    Failed = 1,
    /// The command line is wrong, or a confirmation is missing.
    Usage = 2,
    /// Whoever read the output closed it.
    BrokenPipe = 3,
    /// Not signed in, or not allowed.
    Denied = 4,
    /// A repository, ref, path or commit does not exist.
    NotFound = 5,
    /// A name is taken, or a merge, revert or cherry-pick found both sides changed.
    Conflict = 6,
    /// Refused by the state of things: protected branch, read-only repository, hook, condition.
    Precondition = 7,
    /// `diff --exit-code` found differences.
    Differences = 9,
    /// Some files of many failed; each is named on stderr.
    Partial = 10,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The number for the shell.
    pub fn code(self) -> i32 {
        self as i32
    }
}
