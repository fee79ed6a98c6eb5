//! What the arguments say about what is at the destination already.

use brigade_copy::{Existing, Newer, Policy, Sameness};

use crate::arguments::PolicyArguments;

/// The policy that was asked for.
pub fn of(arguments: &PolicyArguments) -> Policy {
    Policy {
        existing: if arguments.no_clobber { Existing::Keep } else { Existing::Replace },
        newer: if arguments.update { Newer::Keep } else { Newer::Replace },
        sameness: match (arguments.checksum, arguments.ignore_times) {
            (true, _) => Sameness::Contents,
            (_, true) => Sameness::Never,
            _ => Sameness::SizeAndTime,
        },
    }
}
