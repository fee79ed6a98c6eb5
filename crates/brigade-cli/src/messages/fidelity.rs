//! What was kept beside the contents and what was not, in words.

use brigade_copy::{Facet, Lost, Tally};

use crate::language::Language;
use crate::units::grouped;

/// What became of one facet in a whole run, in one line.
pub fn facet_line(language: Language, facet: Facet, tally: Tally) -> String {
    let name = facet_name(language, facet);
    let kept = kept(language, &grouped(tally.n_kept));
    let mut parts = vec![kept];
    if tally.n_unsupported > 0 {
        parts.push(unsupported(language, &grouped(tally.n_unsupported)));
    }
    if tally.n_denied > 0 {
        parts.push(denied(language, &grouped(tally.n_denied)));
    }
    facet_told(language, &name, &parts.join(super::comma(language)))
}

/// What an entry lost, as a list of words.
pub fn lost_words(language: Language, lost: Lost) -> String {
    let names: Vec<_> = lost.facets().iter().map(|facet| facet_name(language, facet)).collect();
    names.join(super::comma(language))
}

fn facet_name(language: Language, facet: Facet) -> String {
    match facet {
        Facet::Mode => modes(language),
        Facet::Ownership => owners(language),
        Facet::Timestamps => times(language),
        Facet::Links => links(language),
        Facet::Context => contexts(language),
        Facet::Xattr => attributes(language),
        Facet::Acl => acls(language),
        Facet::Capabilities => capabilities(language),
        Facet::Holes => holes(language),
        // The engine may learn of more; its own word is better than none.
        other => other.word().to_owned(),
    }
}

catalogue! {
    modes(): "modes", "权限";
    owners(): "owners", "所有者";
    times(): "times", "时间";
    links(): "hard links", "硬链接";
    contexts(): "security labels", "安全标签";
    attributes(): "extended attributes", "扩展属性";
    acls(): "ACLs", "ACL";
    capabilities(): "capabilities", "capabilities";
    holes(): "holes", "空洞";
    facet_told(facet: &str, counts: &str): "{facet}: {counts}", "{facet}：{counts}";
    kept(count: &str): "{count} kept", "保留 {count} 项";
    unsupported(count: &str): "{count} not supported by the destination", "目标不支持 {count} 项";
    denied(count: &str): "{count} denied to this user", "当前用户无权处理 {count} 项";
    lost_of_entry(line: &str, facets: &str): "{line} (not kept: {facets})", "{line}（未保留：{facets}）";
    reason_lost(facets: &str): "not kept: {facets}", "未保留：{facets}";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_facet_is_told_with_what_is_not_zero() {
        let tally = Tally { n_kept: 0, n_unsupported: 1_200, n_denied: 1 };
        assert_eq!(
            facet_line(Language::English, Facet::Xattr, tally),
            "extended attributes: 0 kept, 1 200 not supported by the destination, 1 denied to this user"
        );
        let tally = Tally { n_kept: 5, n_unsupported: 0, n_denied: 3 };
        assert_eq!(facet_line(Language::Chinese, Facet::Acl, tally), "ACL：保留 5 项，当前用户无权处理 3 项");
    }

    #[test]
    fn every_facet_has_a_name_in_both_languages() {
        for facet in Facet::ALL {
            let [english, chinese] = [Language::English, Language::Chinese].map(|one| facet_name(one, facet));
            assert!(english != chinese || matches!(facet, Facet::Capabilities), "{facet:?}");
        }
    }
}
