//! Where the runs are remembered that were not whole: a folder that the environment names. What is in it, the engine knows.

use std::ffi::OsString;
use std::path::PathBuf;

use brigade_copy::Resume;

/// How the runs of this user are remembered; not at all where nobody says where.
pub fn kept() -> Resume {
    let is_root = rustix::process::geteuid().is_root();
    folder(|name| std::env::var_os(name), is_root).map_or(Resume::Never, Resume::Recorded)
}

/// By the XDG Base Directory specification, which has paths that are not absolute ignored. Services often have no home.
fn folder(variable: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .or_else(|| is_root.then(|| PathBuf::from("/var/lib")))?;
    Some(state.join("brigade"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn records_lie_where_the_user_keeps_the_state_of_programs() {
        let in_environment = |pairs: &[(&str, &str)], is_root| {
            let variable = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            folder(variable, is_root)
        };
        let both = [("XDG_STATE_HOME", "/state"), ("HOME", "/home/a")];
        assert_eq!(in_environment(&both, false).as_deref(), Some(Path::new("/state/brigade")));
        let relative = [("XDG_STATE_HOME", "state"), ("HOME", "/home/a")];
        assert_eq!(in_environment(&relative, true).as_deref(), Some(Path::new("/home/a/.local/state/brigade")));
        assert_eq!(in_environment(&[("HOME", "")], true).as_deref(), Some(Path::new("/var/lib/brigade")));
        assert_eq!(in_environment(&[], false), None);
    }
}
