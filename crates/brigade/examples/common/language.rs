//! The reader's language: every line of these programs exists in Chinese and in English. Which lines those are is not
//! decided here: each program says its own.

/// Whether the reader reads Chinese: the first of these variables that is not empty names the locale.
pub fn is_chinese() -> bool {
    ["LC_ALL", "LC_MESSAGES", "LANG"].iter().filter_map(std::env::var_os).find(|locale| !locale.is_empty()).is_some_and(
        |locale| {
            let name = locale.to_string_lossy().to_ascii_lowercase();
            name.starts_with("zh")
        },
    )
}

/// `text!("中文", "English")`: the text for the reader, with `{variables}` filled in.
macro_rules! text {
    ($chinese:literal, $english:literal) => {
        if $crate::language::is_chinese() { format!($chinese) } else { format!($english) }
    };
}

/// `say!("中文", "English")`: prints the text as a line.
macro_rules! say {
    ($chinese:literal, $english:literal) => {
        println!("{}", text!($chinese, $english))
    };
}
