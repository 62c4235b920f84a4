//! Why a container did not start, in names for programs.

use crate::failure::{Cause, Failure};

/// What kind of trouble a start ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The program is not in the image.
    ProgramNotFound,
    /// The program is there, and cannot be executed.
    ProgramNotExecutable,
    /// What image, flags or spec want cannot be honoured.
    Refused,
    /// The system did not do what it takes.
    Failed,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ProgramNotFound,
        Self::ProgramNotExecutable,
        Self::Refused,
        Self::Failed,
    ];

    /// The name, which stays the same from version to version.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProgramNotFound => "program-not-found",
            Self::ProgramNotExecutable => "program-not-executable",
            Self::Refused => "container-refused",
            Self::Failed => "container-failed",
        }
    }

    /// Whether the same may succeed later, or on another machine.
    pub fn is_retryable(self) -> bool {
        self == Self::Failed
    }

    /// What kind of trouble a step of a start ended with.
    pub fn of_failure(failure: &Failure) -> Self {
        match (failure.exit_code(), &failure.cause) {
            (127, _) => Self::ProgramNotFound,
            (126, _) => Self::ProgramNotExecutable,
            (_, Cause::System { .. } | Cause::Orphaned | Cause::Ended(_)) => Self::Failed,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Step;

    #[test]
    fn what_the_image_wants_is_refused_and_what_the_system_does_not_do_fails() {
        let of = |step, cause: Cause| Code::of_failure(&Failure::new(step, "x", cause));
        assert_eq!(of(Step::Mounts, Cause::Link), Code::Refused);
        let full = ucr_sys::Error::new("mkdir", "x", ucr_sys::Errno::NOSPC).into();
        assert_eq!(of(Step::Mounts, full), Code::Failed);
        assert_eq!(of(Step::Execute, Cause::Format), Code::ProgramNotExecutable);
        assert_eq!(of(Step::Execute, Cause::NotFound), Code::ProgramNotFound);
    }
}
