//! The exact command that goes on with an interrupted copy, fit for being pasted into a shell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::arguments::{CopyArguments, Given};

/// The command that does what `arguments` asked for, whatever has been made at the destination in the meantime.
///
/// `pairs` are source and destination of each source. A single one is named with `-T`, since a destination that exists by now
/// would otherwise be copied into; several go into a folder that was there before, so naming that with `-t` is enough.
pub fn command(arguments: &CopyArguments, pairs: &[(PathBuf, PathBuf)]) -> Option<String> {
    let mut words = vec!["brigade copy".to_owned()];
    words.extend(options(&arguments.given));
    let operands: Vec<&Path> = match pairs {
        [] => return None,
        [(source, destination)] => {
            words.push("-T".to_owned());
            vec![source, destination]
        }
        _ => {
            let (folder, sources) = match &arguments.what.target_directory {
                Some(folder) => (folder, arguments.paths.as_slice()),
                None => arguments.paths.split_last()?,
            };
            words.push(format!("-t {}", quoted(folder.as_os_str())));
            sources.iter().map(PathBuf::as_path).collect()
        }
    };
    let looks_like_option = |path: &&Path| path.as_os_str().as_bytes().starts_with(b"-");
    if operands.iter().any(looks_like_option) {
        words.push("--".to_owned());
    }
    words.extend(operands.iter().map(|path| quoted(path.as_os_str())));
    Some(words.join(" "))
}

fn options(given: &Given) -> Vec<String> {
    let options = given.options.iter().map(|(name, value)| match value {
        Some(value) => format!("--{name}={}", quoted(value)),
        None => format!("--{name}"),
    });
    options.collect()
}

/// A word as a shell reads it back: plain, in single quotes, or in `$'…'` where it holds what a terminal must not see.
pub fn quoted(word: &OsStr) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(byte);
    let bytes = word.as_bytes();
    if let Some(text) = word.to_str() {
        if !bytes.is_empty() && bytes.iter().all(is_plain) {
            return text.to_owned();
        }
        // What `shown` leaves as it is can be seen; quotes and backslashes can be too, and need care of their own.
        let seen = brigade_copy::shown(&text.replace(['\'', '\\'], "")).to_string();
        if !seen.contains('\\') {
            return format!("'{}'", text.replace('\'', r"'\''"));
        }
    }
    let escaped: String = bytes.iter().map(|byte| escaped_byte(*byte)).collect();
    format!("$'{escaped}'")
}

fn escaped_byte(byte: u8) -> String {
    match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        // Three octal digits always end by themselves; `\x` would swallow a digit that follows.
        _ => format!("\\{byte:03o}"),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::arguments::{Command, CommandLine};
    use crate::language::Language;

    fn parsed(arguments: &[&str]) -> CopyArguments {
        let words: Vec<OsString> = ["brigade", "copy"].iter().chain(arguments).map(OsString::from).collect();
        let Command::Copy(arguments) = CommandLine::read(&words, Language::English).unwrap().command else {
            panic!("this is a copy");
        };
        *arguments
    }

    #[test]
    fn one_source_is_named_with_its_place() {
        let pairs = [("my photos".into(), "/backup/it's".into())];
        assert_eq!(
            command(&parsed(&["-j3", "--progress=json", "x", "y"]), &pairs).unwrap(),
            r"brigade copy --workers=3 --progress=json -T 'my photos' '/backup/it'\''s'"
        );
        let pairs = [("-x".into(), "照片".into())];
        assert_eq!(command(&parsed(&["-q", "x", "y"]), &pairs).unwrap(), "brigade copy --quiet -T -- -x '照片'");
    }

    #[test]
    fn a_list_of_names_goes_on_as_deep_as_it_began_and_what_means_nothing_is_left_out() {
        let pairs = [("x".into(), "y".into())];
        assert_eq!(
            command(&parsed(&["-dpr0", "--files-from=list", "x", "y"]), &pairs).unwrap(),
            "brigade copy --recursive --from0 --files-from=list -T x y"
        );
    }

    #[test]
    fn several_sources_go_into_their_folder() {
        let pairs = [("a/.".into(), "dir".into()), ("b/c".into(), "dir/c".into())];
        for arguments in [["-v", "a/.", "b/c", "dir"], ["-vtdir", "--", "a/.", "b/c"]] {
            assert_eq!(command(&parsed(&arguments), &pairs).unwrap(), "brigade copy --verbose -t dir a/. b/c");
        }
    }

    #[test]
    fn bash_reads_every_name_back_as_it_was() {
        let names: [&[u8]; 8] = [
            b"plain",
            b"",
            b"a b'c\\d\"$e`f",
            b"new\nline",
            b"\x1b[2J1",
            b"\xff\xfe7",
            "é\u{202e}x".as_bytes(),
            b"it's \\n not",
        ];
        for name in names {
            let word = quoted(OsStr::from_bytes(name));
            assert!(!word.chars().any(char::is_control), "{word:?}");
            let output =
                std::process::Command::new("bash").args(["-c", &format!("printf %s {word}")]).output().unwrap();
            assert_eq!(output.stdout, name, "{word}");
        }
    }
}
