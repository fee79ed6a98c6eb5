//! Which language the user reads. What is said in it is not here: see messages.rs.

use std::ffi::OsString;

/// A language that every message exists in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Language {
    /// English.
    #[value(name = "en")]
    English,
    /// Simplified Chinese.
    #[value(name = "zh-CN")]
    Chinese,
}

/// Where a locale's name may stand; the first that is not empty counts, as POSIX has it for messages.
const VARIABLES: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

impl Language {
    /// The language for these arguments in this environment: `--lang`, else the locale's name.
    ///
    /// `--lang` is looked for before the arguments are parsed, so that a mistake in them is told in the wanted language.
    pub fn wanted(arguments: &[OsString]) -> Self {
        Self::asked_for(arguments).unwrap_or_else(|| Self::of_locale(|name| std::env::var_os(name)))
    }

    /// The suffix of a copy that is made beside its source, and then those that such a copy has in other languages.
    pub fn copy_suffixes(self) -> [&'static str; 2] {
        const ENGLISH: &str = "_copy";
        const CHINESE: &str = "_复件";
        match self {
            Self::English => [ENGLISH, CHINESE],
            Self::Chinese => [CHINESE, ENGLISH],
        }
    }

    fn asked_for(arguments: &[OsString]) -> Option<Self> {
        let texts: Vec<&str> = arguments
            .iter()
            .map(|argument| argument.to_str().unwrap_or(""))
            .take_while(|argument| *argument != "--")
            .collect();
        let joined = texts.iter().rev().find_map(|text| text.strip_prefix("--lang="));
        let separate = || {
            let option_idx = texts.iter().rposition(|text| *text == "--lang")?;
            texts.get(option_idx + 1).copied()
        };
        match joined.or_else(separate)? {
            "en" => Some(Self::English),
            "zh-CN" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The locale is read as text, because a machine need not have it installed for its user to read Chinese.
    fn of_locale(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let name = VARIABLES.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        let is_chinese = name
            .and_then(|name| name.into_string().ok())
            .is_some_and(|name| name.to_ascii_lowercase().starts_with("zh"));
        if is_chinese { Self::Chinese } else { Self::English }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locale(pairs: &[(&str, &str)]) -> Language {
        Language::of_locale(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_first_locale_variable_that_is_not_empty_counts() {
        assert_eq!(locale(&[]), Language::English);
        assert_eq!(locale(&[("LANG", "zh_CN.UTF-8")]), Language::Chinese);
        assert_eq!(locale(&[("LANG", "zh_TW")]), Language::Chinese);
        assert_eq!(locale(&[("LANG", "ZH")]), Language::Chinese);
        assert_eq!(locale(&[("LC_ALL", "C"), ("LANG", "zh_CN.UTF-8")]), Language::English);
        assert_eq!(locale(&[("LC_ALL", ""), ("LC_MESSAGES", "zh_CN"), ("LANG", "en_GB")]), Language::Chinese);
    }

    #[test]
    fn an_asked_for_language_is_found_before_parsing() {
        let asked = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            Language::asked_for(&arguments)
        };
        assert_eq!(asked(&["copy", "--lang=zh-CN", "a"]), Some(Language::Chinese));
        assert_eq!(asked(&["--lang", "en", "copy"]), Some(Language::English));
        assert_eq!(asked(&["copy", "--", "--lang=zh-CN"]), None);
        assert_eq!(asked(&["copy", "--lang=fr"]), None);
        assert_eq!(asked(&["copy", "--lang"]), None);
    }
}
