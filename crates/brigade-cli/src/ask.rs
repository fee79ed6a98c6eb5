//! The question for the folder, when the command is given none. Whether there is somebody to ask is decided in wishes.rs.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use brigade_copy::shown;

use crate::language::Language;
use crate::messages;
use crate::problem;

/// Asks until a folder is named that is there. `None` at the end of the input (Ctrl-D).
///
/// A symbolic link is followed, and that is said. What cannot be printed is no reason not to read on.
///
/// # Errors
/// The input cannot be read.
pub fn folder(
    language: Language,
    home: Option<&Path>,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Option<PathBuf>> {
    loop {
        let _ = write!(output, "{}", messages::ask_folder(language));
        let _ = output.flush();
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            let _ = writeln!(output);
            return Ok(None);
        }
        let Some(typed) = typed_path(&line, home) else {
            continue;
        };
        match looked_up(language, typed, output) {
            Ok(folder) => return Ok(Some(folder)),
            Err(sentence) => drop(writeln!(output, "{sentence}")),
        }
    }
}

/// The folder itself, or what is wrong with it.
fn looked_up(language: Language, typed: PathBuf, output: &mut impl Write) -> Result<PathBuf, String> {
    let text = shown(&typed).to_string();
    let is_folder = match std::fs::metadata(&typed) {
        Ok(metadata) => metadata.is_dir(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(messages::asked_missing(language, &text));
        }
        Err(cause) => {
            let reason = problem::reason(language, &cause);
            return Err(messages::asked_unusable(language, &text, &reason));
        }
    };
    if !is_folder {
        return Err(messages::asked_not_folder(language, &text));
    }
    // Without a slash at the end, which would make the kernel follow the link before it is seen.
    if !typed.components().as_path().is_symlink() {
        return Ok(typed);
    }
    let folder = std::fs::canonicalize(&typed).map_err(|cause| {
        let reason = problem::reason(language, &cause);
        messages::asked_unusable(language, &text, &reason)
    })?;
    let real = shown(&folder).to_string();
    let _ = writeln!(output, "{}", messages::followed(language, &text, &real));
    Ok(folder)
}

/// What was meant by a line: blanks around it and quotes go, `~` becomes the home folder. `None` if nothing is left.
fn typed_path(line: &[u8], home: Option<&Path>) -> Option<PathBuf> {
    let line = line.trim_ascii();
    let bytes = match line {
        [] | [b'\'', b'\''] | [b'"', b'"'] => return None,
        // A name dropped on a terminal comes as the shell would need it.
        [b'\'', inner @ .., b'\''] => replaced(inner, br"'\''", b"'"),
        [b'"', inner @ .., b'"'] => inner.to_vec(),
        _ => return Some(with_home(line, home)),
    };
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

fn with_home(line: &[u8], home: Option<&Path>) -> PathBuf {
    let literal = || PathBuf::from(OsString::from_vec(line.to_vec()));
    match (line, home) {
        (b"~", Some(home)) => home.to_path_buf(),
        ([b'~', b'/', rest @ ..], Some(home)) => {
            // Joining an absolute path would replace the home folder.
            let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
            home.join(std::ffi::OsStr::from_bytes(&rest[slashes..]))
        }
        _ => literal(),
    }
}

fn replaced(bytes: &[u8], pattern: &[u8], replacement: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, others)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(pattern) {
            result.extend_from_slice(replacement);
            rest = after;
        } else {
            result.push(*first);
            rest = others;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Option<PathBuf> {
        typed_path(line.as_bytes(), Some(Path::new("/home/li")))
    }

    #[test]
    fn a_typed_path_is_read_as_it_was_meant() {
        let table = [
            ("photos\n", Some("photos")),
            ("  my photos \r\n", Some("my photos")),
            ("'my photos' \n", Some("my photos")),
            ("\" photos\"\n", Some(" photos")),
            (r"'/it'\''s'", Some("/it's")),
            ("~\n", Some("/home/li")),
            ("~/照片\n", Some("/home/li/照片")),
            ("~//x\n", Some("/home/li/x")),
            ("'~/x'\n", Some("~/x")),
            ("~other/x\n", Some("~other/x")),
            ("'\n", Some("'")),
            ("\n", None),
            ("''\n", None),
            ("   \n", None),
        ];
        for (line, wanted) in table {
            assert_eq!(typed(line), wanted.map(PathBuf::from), "{line:?}");
        }
        assert_eq!(typed_path(b"~/x", None), Some(PathBuf::from("~/x")));
    }

    #[test]
    fn it_asks_again_until_a_folder_is_named() {
        let folder_here = tempfile::tempdir().unwrap();
        let here = folder_here.path();
        std::fs::write(here.join("file"), "").unwrap();
        std::fs::create_dir(here.join("real")).unwrap();
        std::os::unix::fs::symlink("real", here.join("link")).unwrap();
        let lines = ["gone", "file", "", "link/"].map(|name| match name {
            "" => "\n".to_owned(),
            name => format!("{}\n", here.join(name).display()),
        });
        let mut output = Vec::new();
        let answer = folder(Language::English, None, &mut lines.concat().as_bytes(), &mut output);
        let here = here.display();
        let real = std::fs::canonicalize(folder_here.path().join("real")).unwrap();
        assert_eq!(answer.unwrap(), Some(real.clone()));
        assert_eq!(
            String::from_utf8(output).unwrap(),
            format!(
                "Folder to copy: there is no folder '{here}/gone'\n\
                 Folder to copy: '{here}/file' is not a folder\n\
                 Folder to copy: Folder to copy: '{here}/link/' is a symbolic link; copying the folder '{}'\n",
                real.display()
            )
        );
    }

    #[test]
    fn the_end_of_the_input_ends_the_question() {
        let mut output = Vec::new();
        let answer = folder(Language::Chinese, None, &mut io::empty(), &mut output);
        assert_eq!(answer.unwrap(), None);
        assert_eq!(String::from_utf8(output).unwrap(), "请输入要复制的文件夹：\n");
    }
}
