//! A POSIX ACL as the kernel takes it in an extended attribute.

/// What the ACL of one user beside the owner and the group looks like.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    /// Of user 4242.
    pub user: u16,
    /// Of everybody else.
    pub others: u16,
}

/// Version 2, then tag, rights and number of the owner, of user 4242, of the group, of the mask and of all others.
#[must_use]
pub fn acl(rights: Rights) -> Vec<u8> {
    let nobody = u32::MAX;
    let entries =
        [(1, 7, nobody), (2, rights.user, 4242), (4, 4, nobody), (0x10, 7, nobody), (0x20, rights.others, nobody)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(u16::to_le_bytes(rights));
        bytes.extend(u32::to_le_bytes(id));
    }
    bytes
}
