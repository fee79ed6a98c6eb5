//! Extended attributes, and what is kept in them: POSIX ACLs and file capabilities. They come after the owner, since a
//! change of owner clears capabilities, and before the mode, which opens what has an ACL to its group. What the destination cannot hold or this user may not set is
//! counted and fails nothing. Owner, mode and times are in metadata.rs.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, Stat, XattrFlags, fgetxattr, flistxattr, fstatvfs, getxattr, lgetxattr, listxattr, llistxattr};
use rustix::io::Errno;

use super::folders::Pair;
use super::keeping::Keeping;
use super::standing::Standing;
use super::{Flaw, Worker};
use crate::calls::{fchmod, fremovexattr, fsetxattr, fstat, lremovexattr, lsetxattr, patiently};
use crate::compare::Side;
use crate::error::Action;
use crate::facet::{Facet, Facets, Why};
use crate::task::Arrival;

const ACCESS_ACL: &CStr = c"system.posix_acl_access";
const DEFAULT_ACL: &CStr = c"system.posix_acl_default";
const CAPABILITY: &CStr = c"security.capability";
const LABEL: &CStr = c"security.selinux";

/// What is kept in extended attributes.
const HELD_IN_ATTRIBUTES: [Facet; 4] = [Facet::Context, Facet::Xattr, Facet::Acl, Facet::Capabilities];

/// A file system with so much room is not full: the largest attribute that the kernel takes has 64 KiB.
const AMPLE_BYTES: u64 = 1 << 20;

/// An ACL as the kernel takes it, `linux/posix_acl_xattr.h`: its version, then entries, each a tag, permissions and who is meant.
const ACL_VERSION: u32 = 2;
const ENTRY_BYTES: usize = 8;
const OWNER: u16 = 0x01;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;

/// Bytes of the buffer that is tried first. The kernel allocates as much as it is offered, for every call.
const FEW_BYTES: usize = 1 << 10;

/// The most that the kernel gives: `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`, both in xattr(7).
const MAX_BYTES: usize = 64 << 10;

/// An entry whose attributes are read or set.
pub(crate) enum Bearer<'a> {
    /// A file or folder that is open.
    Open(BorrowedFd<'a>),
    /// One that is not, by its name in a folder that is held.
    Named(Name<'a>),
    /// Likewise, but if that is a link, what it points to is meant; to be read only.
    Followed(Name<'a>),
}

/// A name in a folder. The kernel takes no folder with a name for attributes, or only since Linux 6.13, so that is gone to first.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    folder: BorrowedFd<'a>,
    standing: &'a Standing,
    name: &'a CStr,
}

impl<'a> Name<'a> {
    fn reached(&self) -> Result<&'a CStr, Errno> {
        match self.standing.go_to(self.folder) {
            Ok(()) => Ok(self.name),
            // Said of attributes this would mean that there are none.
            Err(errno) if is_unsupported(errno) => Err(Errno::IO),
            Err(errno) => Err(errno),
        }
    }
}

/// Which attributes the copy of an entry may have before it gets those of its source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slate {
    /// None: this run has made it.
    Clean,
    /// Some from before this run.
    Used,
}

impl<'a> Bearer<'a> {
    pub(crate) fn open(entry: &'a impl AsFd) -> Self {
        Self::Open(entry.as_fd())
    }

    /// An entry of the source that is not open.
    pub(super) fn of_source(here: &'a Pair, name: &'a CStr) -> Self {
        let name = Name { folder: here.source.as_fd(), standing: &here.source_standing, name };
        if here.follows() { Self::Followed(name) } else { Self::Named(name) }
    }

    /// An entry of the destination that is not open.
    pub(super) fn of_destination(here: &'a Pair, name: &'a CStr) -> Self {
        Self::Named(Name { folder: here.destination.as_fd(), standing: &here.destination_standing, name })
    }

    /// The names of all attributes, each with a zero byte after it. None where there can be none.
    fn list(&self) -> Result<Vec<u8>, Errno> {
        let names = read(|buffer| match self {
            Self::Open(entry) => flistxattr(entry, spare_capacity(buffer)),
            Self::Named(name) => llistxattr(name.reached()?, spare_capacity(buffer)),
            Self::Followed(name) => listxattr(name.reached()?, spare_capacity(buffer)),
        });
        match names {
            Err(errno) if is_unsupported(errno) => Ok(Vec::new()),
            // A folder that may not be read is held by a descriptor that only marks its place; that was told when it was listed.
            Err(Errno::BADF) => Ok(Vec::new()),
            names => names,
        }
    }

    pub(super) fn get(&self, name: &CStr) -> Result<Vec<u8>, Errno> {
        read(|buffer| match self {
            Self::Open(entry) => fgetxattr(entry, name, spare_capacity(buffer)),
            Self::Named(entry) => lgetxattr(entry.reached()?, name, spare_capacity(buffer)),
            Self::Followed(entry) => getxattr(entry.reached()?, name, spare_capacity(buffer)),
        })
    }

    pub(super) fn set(&self, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(entry) => fsetxattr(entry, name, value, XattrFlags::empty()),
            Self::Named(entry) => lsetxattr(entry.reached()?, name, value, XattrFlags::empty()),
            Self::Followed(_) => Err(Errno::ROFS),
        }
    }

    pub(super) fn has_acl(&self) -> bool {
        self.get(ACCESS_ACL).is_ok()
    }

    /// Sets the permissions, and nothing else of the mode, as an ACL that says no more than these: the kernel makes a mode of
    /// it, and does not follow a link on the way.
    pub(super) fn set_permissions(&self, mode: u32) -> Result<(), Errno> {
        const NOBODY: u32 = u32::MAX;
        let mut acl = ACL_VERSION.to_le_bytes().to_vec();
        for (tag, permissions) in [(OWNER, mode >> 6), (GROUP, mode >> 3), (OTHERS, mode)] {
            acl.extend_from_slice(&tag.to_le_bytes());
            acl.extend_from_slice(&((permissions & 0o7) as u16).to_le_bytes());
            acl.extend_from_slice(&NOBODY.to_le_bytes());
        }
        self.set(ACCESS_ACL, &acl)
    }

    /// What is free in its file system for this user.
    fn n_free_bytes(&self) -> Result<u64, Errno> {
        let stat = match self {
            Self::Open(entry) => fstatvfs(entry)?,
            // A link would be followed, so its folder is asked.
            Self::Named(name) | Self::Followed(name) => fstatvfs(name.folder)?,
        };
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    pub(super) fn remove(&self, name: &CStr) -> Result<(), Errno> {
        let removed = match self {
            Self::Open(entry) => fremovexattr(entry, name),
            Self::Named(entry) => lremovexattr(entry.reached()?, name),
            Self::Followed(_) => Err(Errno::ROFS),
        };
        if removed == Err(Errno::NODATA) { Ok(()) } else { removed }
    }
}

impl Worker {
    /// Gives an entry whose mode is `present_mode` the attributes of its source, and counts what cannot be kept.
    pub(super) fn set_attributes(
        &mut self,
        source: &Bearer<'_>,
        copy: &Bearer<'_>,
        stat: &Stat,
        present_mode: u32,
        slate: Slate,
    ) -> Result<(), Flaw> {
        let preserve = self.facts.fidelity.preserve;
        if !HELD_IN_ATTRIBUTES.iter().any(|&facet| preserve.contains(facet)) {
            return Ok(());
        }
        let (is_veiled, keeping) = (self.is_acl_veiled, &mut self.keeping);
        let mode = preserve.contains(Facet::Mode).then_some(stat.st_mode);
        let mode_before = None;
        let mut transfer =
            Transfer { source, copy, mode, present_mode, slate, preserve, keeping, mode_before, is_veiled };
        let set = transfer.run();
        let restored = transfer.restore_mode();
        set.and(restored)
    }

    /// Whether a copy has the attributes of its source already. Says no where that cannot be found out.
    pub(super) fn is_in_line(&mut self, source: &Bearer<'_>, copy: &Bearer<'_>) -> bool {
        let preserve = self.facts.fidelity.preserve;
        if !HELD_IN_ATTRIBUTES.iter().any(|&facet| preserve.contains(facet)) {
            return true;
        }
        let (Ok(wanted), Ok(present)) = (source.list(), copy.list()) else {
            return false;
        };
        let wanted: HashSet<_> = names(&wanted).filter(|name| is_kept(name, preserve)).collect();
        let is_same = names(&present).filter(|name| is_removed(name, preserve)).all(|name| wanted.contains(name))
            && wanted.iter().all(|name| source.get(name).is_ok_and(|value| copy.get(name) == Ok(value)));
        if is_same {
            wanted.iter().for_each(|name| self.keeping.had.insert(facet_of(name)));
        }
        is_same
    }

    /// Whether what is made in this destination folder inherits an ACL from it that it is not to have.
    pub(super) fn is_acl_inherited(&self, here: &Pair, arrival: Arrival) -> bool {
        // A folder that this run has made was freed of what it inherited, and gets a default ACL of its own when all is in it.
        // Where neither modes nor ACLs are kept, what is there for new files is meant for these, too.
        if arrival == Arrival::Fresh || !(self.is_kept(Facet::Mode) || self.is_kept(Facet::Acl)) {
            return false;
        }
        let ask = || match Bearer::open(&here.destination).get(DEFAULT_ACL) {
            // A folder that may be passed through but not read is held by a mark of its place.
            Err(Errno::BADF) => Bearer::of_destination(here, c".").get(DEFAULT_ACL).is_ok(),
            acl => acl.is_ok(),
        };
        let is_inherited = here.is_acl_inherited.get().unwrap_or_else(ask);
        here.is_acl_inherited.set(Some(is_inherited));
        is_inherited
    }
}

/// Which kinds of attributes two entries differ in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct DifferingKinds {
    pub(super) attributes: bool,
    pub(super) acls: bool,
    pub(super) capabilities: bool,
}

/// Compares what a copy keeps of the attributes of its source, and would have removed because the source does not have it.
/// `ask` is told before either of them is asked.
pub(super) fn kinds_that_differ(
    source: &Bearer<'_>,
    copy: &Bearer<'_>,
    mut ask: impl FnMut(Side),
) -> Result<DifferingKinds, Errno> {
    ask(Side::Source);
    let wanted = source.list()?;
    ask(Side::Destination);
    let present = copy.list()?;
    let mut kinds = DifferingKinds::default();
    let mut note = |name: &CStr| match () {
        () if is_acl(name) => kinds.acls = true,
        () if name == CAPABILITY => kinds.capabilities = true,
        () => kinds.attributes = true,
    };
    let kept: HashSet<_> = names(&wanted).filter(|name| is_kept(name, Facets::ALL)).collect();
    names(&present).filter(|name| is_removed(name, Facets::ALL) && !kept.contains(name)).for_each(&mut note);
    for name in kept {
        ask(Side::Source);
        let value = source.get(name)?;
        ask(Side::Destination);
        match copy.get(name) {
            Ok(there) if there == value => {}
            Ok(_) | Err(Errno::NODATA | Errno::OPNOTSUPP) => note(name),
            Err(errno) => return Err(errno),
        }
    }
    Ok(kinds)
}

/// Frees a new entry of the ACLs that it was born with.
pub(crate) fn remove_inherited_acl(entry: &Bearer<'_>) -> Result<(), Errno> {
    for name in [ACCESS_ACL, DEFAULT_ACL] {
        match entry.remove(name) {
            Err(errno) if !is_unsupported(errno) => return Err(errno),
            _ => {}
        }
    }
    Ok(())
}

/// The attributes of one entry on their way to its copy.
struct Transfer<'a> {
    source: &'a Bearer<'a>,
    copy: &'a Bearer<'a>,
    /// That the copy is to have, if that is the source's.
    mode: Option<u32>,
    /// That it has.
    present_mode: u32,
    slate: Slate,
    preserve: Facets,
    keeping: &'a mut Keeping,
    /// The mode that the copy is to have again.
    mode_before: Option<u32>,
    /// The ACL is not to hold yet.
    is_veiled: bool,
}

impl Transfer<'_> {
    fn run(&mut self) -> Result<(), Flaw> {
        let wanted = match self.source.list() {
            Ok(wanted) => wanted,
            // Which they are is not known, so no kind is more likely than the plain one.
            Err(errno) => return self.lose_unread(c"", errno),
        };
        if self.slate == Slate::Used {
            self.remove_others(&wanted)?;
        }
        let preserve = self.preserve;
        names(&wanted).filter(|name| is_kept(name, preserve)).try_for_each(|name| self.keep(name))
    }

    fn keep(&mut self, name: &CStr) -> Result<(), Flaw> {
        self.keeping.had.insert(facet_of(name));
        let value = match self.source.get(name) {
            Ok(value) if self.is_veiled && name == ACCESS_ACL => veiled(value),
            Ok(value) => value,
            // Removed since the names were read.
            Err(Errno::NODATA) => return Ok(()),
            Err(errno) => return self.lose_unread(name, errno),
        };
        let present = if self.slate == Slate::Used { self.copy.get(name) } else { Err(Errno::NODATA) };
        if present.as_ref() == Ok(&value) {
            return Ok(());
        }
        let set = match present {
            Err(Errno::NODATA) if name == ACCESS_ACL => self.set_first_acl(&value),
            _ => self.alter(name, |copy| copy.set(name, &value)),
        };
        set.or_else(|errno| self.lose(name, errno))
    }

    /// Sets an ACL where none is. Some file systems set the mode that comes with it a moment before, and what that says the ACL grants at
    /// most is the group's until the ACL is there. So no more is granted first than the group has.
    fn set_first_acl(&self, acl: &[u8]) -> Result<(), Errno> {
        let first = narrowed(acl.to_vec(), Some(self.present_mode));
        if first != acl {
            self.copy.set(ACCESS_ACL, &first)?;
        }
        self.copy.set(ACCESS_ACL, acl)
    }

    /// Removes from the copy what its source does not have. Labels that the system gives by itself stay.
    fn remove_others(&mut self, wanted: &[u8]) -> Result<(), Flaw> {
        let present = self.copy.list().map_err(|errno| Flaw::new(Action::SetAttributes, errno))?;
        let wanted: HashSet<_> = names(wanted).collect();
        let preserve = self.preserve;
        for name in names(&present).filter(|name| is_removed(name, preserve) && !wanted.contains(name)) {
            let removed =
                if name == ACCESS_ACL { self.remove_acl() } else { self.alter(name, |copy| copy.remove(name)) };
            removed.or_else(|errno| self.lose(name, errno))?;
        }
        Ok(())
    }

    /// Other file systems end an ACL a moment before they set the mode that comes with that, and what the ACL granted at most is the
    /// group's until then. So no more is granted first than the group is to have.
    fn remove_acl(&self) -> Result<(), Errno> {
        match self.copy.get(ACCESS_ACL) {
            Ok(acl) => self.copy.set(ACCESS_ACL, &narrowed(acl, self.mode))?,
            // Removed since the names were read.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
        match self.mode {
            Some(mode) => self.copy.set_permissions(mode),
            None => self.copy.remove(ACCESS_ACL),
        }
    }

    fn alter(&mut self, name: &CStr, act: impl Fn(&Bearer<'_>) -> Result<(), Errno>) -> Result<(), Errno> {
        match act(self.copy) {
            Err(Errno::ACCESS) if name.to_bytes().starts_with(b"user.") && self.ease_mode() => act(self.copy),
            done => done,
        }
    }

    /// Makes the copy writable for its owner, who else may not change the attributes of his own file.
    fn ease_mode(&mut self) -> bool {
        let Bearer::Open(copy) = self.copy else {
            return false;
        };
        let Ok(stat) = fstat(copy) else {
            return false;
        };
        let mode = stat.st_mode & 0o7777;
        let is_eased = mode & 0o200 == 0 && fchmod(copy, Mode::from_raw_mode(mode | 0o200)).is_ok();
        if is_eased {
            self.mode_before.get_or_insert(mode);
        }
        is_eased
    }

    fn restore_mode(&self) -> Result<(), Flaw> {
        match (self.copy, self.mode_before) {
            (Bearer::Open(copy), Some(mode)) => {
                fchmod(copy, Mode::from_raw_mode(mode)).map_err(|errno| Flaw::new(Action::SetMode, errno))
            }
            _ => Ok(()),
        }
    }

    /// Counts what cannot be set. A destination that could take it and fails is an error.
    fn lose(&mut self, name: &CStr, errno: Errno) -> Result<(), Flaw> {
        // Also users and groups that mean nothing in this user namespace.
        let is_denied = is_denied(errno) || (errno == Errno::INVAL && is_acl(name));
        let why = match () {
            () if is_unsupported(errno) || self.is_too_large(errno) => Why::Unsupported,
            () if is_denied => Why::Denied,
            () => return Err(Flaw::new(Action::SetAttributes, errno)),
        };
        self.keeping.lose(facet_of(name), why);
        Ok(())
    }

    /// Whether an attribute does not fit in however much is free: most file systems give an entry no more than a block or
    /// so, and answer as if they were full.
    fn is_too_large(&self, errno: Errno) -> bool {
        match errno {
            Errno::TOOBIG | Errno::RANGE => true,
            Errno::NOSPC => self.copy.n_free_bytes().is_ok_and(|n_bytes| n_bytes >= AMPLE_BYTES),
            _ => false,
        }
    }

    /// Counts what may not be read.
    fn lose_unread(&mut self, name: &CStr, errno: Errno) -> Result<(), Flaw> {
        if !is_denied(errno) && !is_unsupported(errno) {
            return Err(Flaw::new(Action::ReadAttributes, errno));
        }
        self.keeping.lose(facet_of(name), Why::Denied);
        Ok(())
    }
}

fn facet_of(name: &CStr) -> Facet {
    match () {
        () if is_acl(name) => Facet::Acl,
        () if name == CAPABILITY => Facet::Capabilities,
        () if name == LABEL => Facet::Context,
        () => Facet::Xattr,
    }
}

/// Reads with little room first, and with as much as there can be if that does not do: what is read may grow meanwhile.
fn read(mut read: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::with_capacity(FEW_BYTES);
    match patiently(|| read(&mut buffer)) {
        Err(Errno::RANGE) => {
            buffer.reserve_exact(MAX_BYTES);
            patiently(|| read(&mut buffer))?;
        }
        n_read => {
            n_read?;
        }
    }
    Ok(buffer)
}

fn names(list: &[u8]) -> impl Iterator<Item = &CStr> {
    list.split_inclusive(|&byte| byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok())
}

/// An ACL that gives nobody but the owner anything, until the mode is set, which is a part of it: see acl(5).
fn veiled(acl: Vec<u8>) -> Vec<u8> {
    let has_mask = permissions_of(&acl, MASK).is_some();
    with_permissions(acl, |tag, permissions| match tag {
        OWNER => 6,
        MASK | OTHERS => 0,
        GROUP if !has_mask => 0,
        _ => permissions,
    })
}

/// An ACL that grants at most what the group has by the mode, or else by the ACL itself.
fn narrowed(acl: Vec<u8>, mode: Option<u32>) -> Vec<u8> {
    let most = mode.map_or_else(|| permissions_of(&acl, GROUP).unwrap_or(0), |mode| (mode >> 3 & 0o7) as u16);
    with_permissions(acl, |tag, permissions| if tag == MASK { permissions & most } else { permissions })
}

fn with_permissions(mut acl: Vec<u8>, of: impl Fn(u16, u16) -> u16) -> Vec<u8> {
    for entry in acl.get_mut(size_of_val(&ACL_VERSION)..).unwrap_or_default().chunks_exact_mut(ENTRY_BYTES) {
        let (tag, permissions) = tag_and_permissions(entry);
        entry[2..4].copy_from_slice(&of(tag, permissions).to_le_bytes());
    }
    acl
}

fn permissions_of(acl: &[u8], wanted: u16) -> Option<u16> {
    let entries = acl.get(size_of_val(&ACL_VERSION)..).unwrap_or_default().chunks_exact(ENTRY_BYTES);
    entries.map(tag_and_permissions).find_map(|(tag, permissions)| (tag == wanted).then_some(permissions))
}

fn tag_and_permissions(entry: &[u8]) -> (u16, u16) {
    (u16::from_le_bytes([entry[0], entry[1]]), u16::from_le_bytes([entry[2], entry[3]]))
}

/// Everything but what file systems make up in `system.`, such as the form in which a server keeps its own ACLs.
fn is_kept(name: &CStr, preserve: Facets) -> bool {
    let is_data = is_acl(name) || !(name.to_bytes().starts_with(b"system.") || is_second_form(name));
    is_data && preserve.contains(facet_of(name))
}

fn is_removed(name: &CStr, preserve: Facets) -> bool {
    let is_data = [b"user.".as_slice(), b"trusted."].iter().any(|space| name.to_bytes().starts_with(space));
    ((is_data && !is_second_form(name)) || is_acl(name) || name == CAPABILITY) && preserve.contains(facet_of(name))
}

/// The ACLs as XFS stores them, which it lists beside those that POSIX knows. To remove one is to remove the ACL.
fn is_second_form(name: &CStr) -> bool {
    name.to_bytes().starts_with(b"trusted.SGI_ACL_")
}

fn is_acl(name: &CStr) -> bool {
    name == ACCESS_ACL || name == DEFAULT_ACL
}

fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::OPNOTSUPP | Errno::NOSYS)
}

fn is_denied(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::ACCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_since_it_was_measured_is_read_with_more_room() {
        let mut rooms = Vec::new();
        let value = read(|buffer| {
            rooms.push(buffer.capacity());
            if buffer.capacity() < 5_000 {
                return Err(Errno::RANGE);
            }
            buffer.extend_from_slice(&[7; 5_000]);
            Ok(5_000)
        });
        assert_eq!(value.unwrap(), [7; 5_000]);
        assert!(rooms.len() == 2 && rooms[0] < 5_000 && rooms[1] >= MAX_BYTES, "{rooms:?}");
        assert_eq!(read(|_| Err(Errno::IO)), Err(Errno::IO));
    }

    #[test]
    fn a_narrowed_acl_grants_what_the_group_is_to_have() {
        let acl = |mask: u16| {
            let mut acl = ACL_VERSION.to_le_bytes().to_vec();
            for (tag, permissions) in [(OWNER, 6), (0x02, 7), (GROUP, 4), (MASK, mask), (OTHERS, 1_u16)] {
                acl.extend_from_slice(&tag.to_le_bytes());
                acl.extend_from_slice(&permissions.to_le_bytes());
                acl.extend_from_slice(&[0xff; 4]);
            }
            acl
        };
        assert_eq!(narrowed(acl(7), Some(0o100_625)), acl(2));
        assert_eq!(narrowed(acl(5), Some(0o677)), acl(5));
        assert_eq!(narrowed(acl(7), None), acl(4));
        assert!(narrowed(Vec::new(), Some(0o777)).is_empty());
    }

    #[test]
    fn names_are_told_apart() {
        let list =
            b"user.a\0system.posix_acl_access\0system.nfs4_acl\0security.selinux\0security.capability\0trusted.t\0\
                     trusted.SGI_ACL_FILE\0";
        let texts = |is: fn(&CStr, Facets) -> bool| -> Vec<_> {
            names(list).filter(|name| is(name, Facets::ALL)).map(|name| name.to_str().unwrap()).collect()
        };
        let kept = ["user.a", "system.posix_acl_access", "security.selinux", "security.capability", "trusted.t"];
        assert_eq!(texts(is_kept), kept);
        assert_eq!(texts(is_removed), ["user.a", "system.posix_acl_access", "security.capability", "trusted.t"]);
    }
}
