//! Rights on files, with Landlock: what is not below one of the two trees cannot be opened, made, removed, renamed or linked. It says
//! nothing about metadata by name: see calls.rs.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{Lack, Purpose, Wall};

/// The newest rights on files that are known here.
const FILES: ABI = ABI::V5;
/// The first that can allow what every copy of a hard link needs: a link from one folder to another.
const FILES_AT_LEAST: ABI = ABI::V2;
/// The first that can keep signals in.
const SCOPES: ABI = ABI::V6;

/// Keeps signals and abstract sockets in, where the kernel can.
pub(super) fn restrict_scope() -> Result<(), Lack> {
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::from_all(SCOPES))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    restricted.map(drop).map_err(lack)
}

/// Lets nothing be opened or changed but what is below the trees, and keeps signals in.
pub(super) fn restrict<'a>(
    trees: impl Iterator<Item = (BorrowedFd<'a>, BorrowedFd<'a>)>,
    purpose: Purpose,
) -> Result<(), Lack> {
    // With each opening the kernel asks for Truncate too, and where a tree does not have it, in every folder up to the root of all.
    // It allows nothing here: what may not be written is not opened for it, and truncate(2) is none of the calls of calls.rs.
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Truncate;
    let written = match purpose {
        Purpose::Comparing => read,
        Purpose::Copying | Purpose::CopyingWhatLinksPointTo => written(),
    };
    let anywhere = match purpose {
        Purpose::CopyingWhatLinksPointTo => Some(
            openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| lack_of(errno.into()))?,
        ),
        Purpose::Copying | Purpose::Comparing => None,
    };
    let rules = trees
        .flat_map(|(source, destination)| [(source, read), (destination, written)])
        .chain(anywhere.as_ref().map(|root| (root.as_fd(), read)))
        .map(|(tree, rights)| Ok::<_, RulesetError>(PathBeneath::new(tree, rights)));
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(FILES_AT_LEAST))
        .and_then(|rights| rights.set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(FILES)))
        .and_then(|rights| rights.scope(Scope::from_all(SCOPES)))
        .and_then(Ruleset::create)
        .and_then(|created| created.add_rules(rules))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(lack)?;
    if restricted.ruleset == RulesetStatus::NotEnforced {
        return Err(lack_of(io::ErrorKind::Unsupported.into()));
    }
    Ok(())
}

/// What is done in the destination: everything but running programs and talking to devices.
fn written() -> BitFlags<AccessFs> {
    let never = AccessFs::Execute | AccessFs::IoctlDev | AccessFs::MakeBlock;
    AccessFs::from_all(FILES) & !never
}

fn lack(error: RulesetError) -> Lack {
    lack_of(io::Error::other(error))
}

fn lack_of(cause: io::Error) -> Lack {
    Wall::Landlock.lacking(cause)
}
