//! How strictly workers are confined.

/// Whether worker processes give up what copying does not need, before they look at the first entry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sandbox {
    /// As strictly as this kernel and this user allow. [`Summary::sandbox`](crate::Summary::sandbox) says how strictly that is.
    #[default]
    Auto,
    /// As strictly as can be for this user, or not at all: then the request is refused.
    Require,
    /// Not at all.
    Off,
}
