//! How faithful a copy is: what is kept, what becomes of a loss, and how contents are laid out.

use brigade_copy::{Facet, Facets, Fidelity, NewMode, OnLoss, Reflink, Sparse};
use clap::builder::PossibleValue;
use clap::{ArgAction, Args, ValueEnum};

use super::{Given, When};

/// How faithful a copy is.
#[derive(Args, Debug)]
#[command(next_help_heading = "fidelity")]
pub struct FidelityArguments {
    /// What is kept, and nothing else.
    #[arg(
        long,
        value_name = "LIST",
        action = ArgAction::Append,
        value_delimiter = ',',
        num_args = 0..,
        require_equals = true,
        default_missing_values = ["mode", "ownership", "timestamps"]
    )]
    pub preserve: Vec<Word>,
    /// What is not kept.
    #[arg(long, value_name = "LIST", action = ArgAction::Append, value_delimiter = ',')]
    pub no_preserve: Vec<Word>,
    /// A loss is a failure.
    #[arg(long)]
    pub strict: bool,
    /// Whether contents are shared with the source.
    #[arg(
        long,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_value = "auto",
        default_missing_value = "always"
    )]
    pub reflink: When,
    /// Whether the copy has holes.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub sparse: When,
}

/// A word in a list of what is kept: those of `cp`, and names for what `cp` has no word of its own for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Word {
    /// One facet, and what `cp` means beside it.
    Of(Facet),
    /// Everything.
    All,
}

impl FidelityArguments {
    /// What the engine is asked for. As in `cp`, what comes later goes over what comes earlier, so the order of the options
    /// matters, which `given` knows.
    pub fn read(&self, given: &Given) -> Fidelity {
        let mut preserve = if self.preserve.is_empty() { Facets::ALL } else { Facets::NONE };
        let mut new_mode = NewMode::OfSource;
        for (name, value) in &given.options {
            let word = value.as_deref().and_then(|value| value.to_str());
            let Some(word) = word.and_then(|word| Word::from_str(word, false).ok()) else {
                continue;
            };
            match name.as_str() {
                "preserve" => preserve = preserve.union(word.facets()),
                "no-preserve" => {
                    word.facets().iter().for_each(|facet| preserve.remove(facet));
                    if word.facets().contains(Facet::Mode) {
                        new_mode = NewMode::Plain;
                    }
                }
                _ => {}
            }
        }
        Fidelity {
            preserve,
            new_mode,
            on_loss: if self.strict { OnLoss::Fail } else { OnLoss::Count },
            reflink: match self.reflink {
                When::Auto => Reflink::Auto,
                When::Always => Reflink::Always,
                When::Never => Reflink::Never,
            },
            sparse: match self.sparse {
                When::Auto => Sparse::Auto,
                When::Always => Sparse::Always,
                When::Never => Sparse::Never,
            },
        }
    }

    /// Contents that are shared have the holes that they have.
    pub fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        match (self.reflink, self.sparse) {
            (When::Always, When::Always) => Some(("--reflink=always", "--sparse=always")),
            (When::Always, When::Never) => Some(("--reflink=always", "--sparse=never")),
            _ => None,
        }
    }
}

impl Word {
    /// ACLs go with modes and capabilities with extended attributes, as in `cp`.
    fn facets(self) -> Facets {
        match self {
            Self::Of(Facet::Mode) => [Facet::Mode, Facet::Acl].into_iter().collect(),
            Self::Of(Facet::Xattr) => [Facet::Xattr, Facet::Capabilities].into_iter().collect(),
            Self::Of(facet) => std::iter::once(facet).collect(),
            Self::All => Facets::ALL,
        }
    }
}

impl ValueEnum for Word {
    fn value_variants<'a>() -> &'a [Self] {
        // What becomes of holes is said with --sparse.
        &[
            Self::Of(Facet::Mode),
            Self::Of(Facet::Ownership),
            Self::Of(Facet::Timestamps),
            Self::Of(Facet::Links),
            Self::Of(Facet::Context),
            Self::Of(Facet::Xattr),
            Self::Of(Facet::Acl),
            Self::Of(Facet::Capabilities),
            Self::All,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Of(facet) => facet.word(),
            Self::All => "all",
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::arguments::{Command, CommandLine};
    use crate::language::Language;

    fn fidelity(options: &[&str]) -> Fidelity {
        let words = ["brigade", "copy"].iter().chain(options).chain(&["a", "b"]);
        let words: Vec<OsString> = words.map(OsString::from).collect();
        let Command::Copy(copy) = CommandLine::read(&words, Language::English).unwrap().command else {
            panic!("a copy was asked for");
        };
        copy.fidelity.read(&copy.given)
    }

    fn kept(options: &[&str]) -> Vec<&'static str> {
        let kept = fidelity(options).preserve;
        kept.iter().filter(|facet| *facet != Facet::Holes).map(Facet::word).collect()
    }

    #[test]
    fn what_comes_later_goes_over_what_comes_earlier() {
        let all = ["mode", "ownership", "timestamps", "links", "context", "xattr", "acl", "capabilities"];
        assert_eq!(kept(&[]), all);
        assert_eq!(kept(&["--preserve"]), ["mode", "ownership", "timestamps", "acl"]);
        assert_eq!(kept(&["--preserve=timestamps"]), ["timestamps"]);
        assert_eq!(
            kept(&["--preserve=timestamps,links", "--preserve=xattr"]),
            ["timestamps", "links", "xattr", "capabilities"]
        );
        assert_eq!(kept(&["--preserve=mode", "--no-preserve=acl"]), ["mode"]);
        assert_eq!(kept(&["--no-preserve=acl", "--preserve=mode"]), ["mode", "acl"]);
        assert_eq!(kept(&["--no-preserve=all"]), [""; 0]);
        assert_eq!(
            kept(&["--preserve=all", "--no-preserve=ownership,mode"]),
            ["timestamps", "links", "context", "xattr", "capabilities"]
        );
        assert_eq!(kept(&["--no-preserve=capabilities", "-a"]), all[..7]);
    }

    #[test]
    fn modes_that_were_given_up_by_name_are_plain() {
        assert_eq!(fidelity(&["--preserve=timestamps"]).new_mode, NewMode::OfSource);
        assert_eq!(fidelity(&["--no-preserve=mode"]).new_mode, NewMode::Plain);
    }

    #[test]
    fn reflink_without_a_word_means_always() {
        assert_eq!(fidelity(&[]).reflink, Reflink::Auto);
        assert_eq!(fidelity(&["--reflink"]).reflink, Reflink::Always);
        assert_eq!(fidelity(&["--reflink=never", "--sparse=always"]).sparse, Sparse::Always);
    }
}
