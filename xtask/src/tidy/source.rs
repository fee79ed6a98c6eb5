//! A Rust file as the rules see it: comments and literals blanked out, test code told from product code.
//! What is forbidden where is not known here: see rust.rs.

/// One Rust file.
#[derive(Debug)]
pub(super) struct Source {
    /// From the workspace's folder, with `/`.
    pub path: String,
    /// As it stands.
    pub text: String,
    /// The same, line by line and column by column, with comments and literals blanked out.
    pub code: String,
    /// `code` without what only tests see.
    pub product_code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank_comments_and_literals(text);
        let product_code = if is_test_path(path) { String::new() } else { blank_test_items(&code) };
        Self { path: path.to_owned(), text: text.to_owned(), code, product_code }
    }

    /// Takes the whole file for test code, since it is declared as such elsewhere.
    pub fn take_for_tests(&mut self) {
        self.product_code.clear();
    }

    /// The modules that this file declares for tests only, as paths without `.rs`.
    pub fn test_modules(&self) -> Vec<String> {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = file.trim_end_matches(".rs");
        let inside = match stem {
            "lib" | "main" | "mod" => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        };
        let items = test_items(&self.code).into_iter().map(|(start, end)| &self.code[start..end]);
        let name = |item: &str| {
            let declaration = item.strip_suffix(';')?;
            let (_, name) = declaration.rsplit_once("mod ")?;
            Some(format!("{inside}/{}", name.trim()))
        };
        items.filter_map(name).collect()
    }

    /// Whether this file is the module `path`, or inside it.
    pub fn is_in_module(&self, path: &str) -> bool {
        let rest = self.path.strip_prefix(path);
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Without the folder.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether this file is beside `other`, or in the folder of its modules.
    pub fn is_near(&self, other: &Self) -> bool {
        let folder = self.path.rsplit_once('/').map(|(folder, _)| folder);
        folder == other.path.rsplit_once('/').map(|(folder, _)| folder) || folder == other.path.strip_suffix(".rs")
    }

    /// The `//!` lines at the top.
    pub fn head(&self) -> String {
        self.text.lines().skip_while(|line| line.starts_with("#!")).take_while(|line| line.starts_with("//!")).collect()
    }

    /// The same, numbered, without `//! `.
    pub fn head_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().skip_while(|(_, line)| line.starts_with("#!"));
        let head = lines.map_while(|(idx, line)| Some((idx + 1, line.strip_prefix("//!")?)));
        head.map(|(line_number, line)| (line_number, line.strip_prefix(' ').unwrap_or(line)))
    }

    /// The first sentence of the head, as one line.
    pub fn first_sentence(&self) -> String {
        let paragraph: Vec<&str> =
            self.head_lines().map(|(_, line)| line.trim()).take_while(|line| !line.is_empty()).collect();
        let text = paragraph.join(" ");
        text.find(". ").map_or(text.as_str(), |end| &text[..=end]).to_owned()
    }
}

fn is_test_path(path: &str) -> bool {
    let in_test_folder = ["/tests/", "/examples/", "/benches/"].iter().any(|part| path.contains(part));
    let name = path.rsplit('/').next().unwrap_or(path);
    in_test_folder || name == "tests.rs" || name.ends_with("_tests.rs") || path.starts_with("torture/")
}

/// The numbers of the lines in which `code` has `needle` standing for itself, not as a part of a longer word.
pub(super) fn lines_with(code: &str, needle: &str) -> Vec<usize> {
    code.lines().enumerate().filter(|(_, line)| has_word(line, needle)).map(|(idx, _)| idx + 1).collect()
}

pub(super) fn has_word(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, found)| {
        let before = line[..at].chars().next_back();
        let after = line[at + found.len()..].chars().next();
        let goes_on_before = needle.starts_with(is_word) && before.is_some_and(is_word);
        let goes_on_after = needle.ends_with(is_word) && after.is_some_and(is_word);
        !goes_on_before && !goes_on_after
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Blanks comments, strings and characters; every other byte and every line break stays where it was.
fn blank_comments_and_literals(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(character) = rest.chars().next() {
        let blanked_bytes = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_bytes(rest)
        } else if let Some(n_bytes) = raw_string_bytes(rest).filter(|_| !is_word(before)) {
            n_bytes
        } else if character == '"' {
            quoted_bytes(rest, '"')
        } else if character == '\'' && is_character_literal(rest) {
            quoted_bytes(rest, '\'')
        } else {
            0
        };
        if blanked_bytes == 0 {
            output.push(character);
            before = character;
            rest = &rest[character.len_utf8()..];
        } else {
            let blanked = rest[..blanked_bytes].chars();
            output.extend(blanked.map(|blanked| if blanked == '\n' { '\n' } else { ' ' }));
            before = ' ';
            rest = &rest[blanked_bytes..];
        }
    }
    output
}

fn block_comment_bytes(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of `r"…"`, `br#"…"#` and their kin, if `text` begins with one.
fn raw_string_bytes(text: &str) -> Option<usize> {
    let after_prefix = text.trim_start_matches(['b', 'c']);
    if text.len() - after_prefix.len() > 1 {
        return None;
    }
    let after_r = after_prefix.strip_prefix('r')?;
    let contents = after_r.trim_start_matches('#');
    let n_hashes = after_r.len() - contents.len();
    let contents = contents.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(n_hashes));
    let opened_bytes = text.len() - contents.len();
    Some(contents.find(&end).map_or(text.len(), |at| opened_bytes + at + end.len()))
}

fn quoted_bytes(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// `'a'` and `'\n'`, but not the lifetime `'a`.
fn is_character_literal(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some(second)) => second == '\'',
        _ => false,
    }
}

/// Blanks each item that only tests see.
fn blank_test_items(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for (start, end) in test_items(code) {
        for byte in &mut bytes[start..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    String::from_utf8(bytes).expect("whole items are blanked, and those begin and end with ASCII")
}

/// Start and end of each item under an attribute like `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let for_tests = |(start, end): &(usize, usize)| {
        let attribute = &code[*start..*end];
        attribute.starts_with("#[cfg(") && has_word(attribute, "test") && !attribute.contains("not(")
    };
    let attributes = attributes(code).into_iter().filter(for_tests);
    attributes.map(|(start, end)| (start, item_end(code, end))).collect()
}

/// Where the item that begins at `from` ends: at its first `;` outside brackets, or with its block.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth <= 0 {
                    return at + 1;
                }
            }
            b';' | b',' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Start and end of each `#[…]` and `#![…]`.
pub(super) fn attributes(code: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices('#') {
        let open = if bytes.get(at + 1) == Some(&b'!') { at + 2 } else { at + 1 };
        if bytes.get(open) != Some(&b'[') {
            continue;
        }
        let mut depth = 0;
        for (end, byte) in bytes.iter().enumerate().skip(open) {
            match byte {
                b'[' => depth += 1,
                b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                found.push((at, end + 1));
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_columns_stay() {
        let text = "a(\"un\\\"safe\", 'x', '\\'', r#\"q\"u\"#); // unsafe\n/* un /* s */ afe */ b::<'a>(\"\n\");";
        let code = blank_comments_and_literals(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(!code.contains("safe") && !code.contains('q') && !code.contains('x'), "{code}");
        assert!(code.contains("b::<'a>("), "{code}");
    }

    #[test]
    fn a_raw_identifier_is_no_string() {
        assert_eq!(blank_comments_and_literals("r#type \"x\" b"), "r#type     b");
    }

    #[test]
    fn test_items_are_told_from_product_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c(); } }\n#[cfg(test)] use d;\nfn e() {}\n";
        let source = Source::new("crates/x/src/lib.rs", text);
        assert!(source.product_code.contains("fn a") && source.product_code.contains("fn e"));
        for gone in ["fn b", "c()", "use d"] {
            assert!(!source.product_code.contains(gone), "{gone} stays");
            assert!(source.code.contains(gone));
        }
        assert_eq!(source.product_code.lines().count(), text.lines().count());
    }

    #[test]
    fn a_module_declared_for_tests_is_found() {
        let text = "#[cfg(test)]\nmod one;\nmod two;\n#[cfg(all(loom, test))]\npub(crate) mod three;\n";
        let root = Source::new("crates/x/src/lib.rs", text);
        assert_eq!(root.test_modules(), ["crates/x/src/one", "crates/x/src/three"]);
        assert_eq!(Source::new("crates/x/src/a.rs", text).test_modules()[0], "crates/x/src/a/one");
        for (path, inside) in [("one.rs", true), ("one/more.rs", true), ("one_more.rs", false)] {
            let source = Source::new(&format!("crates/x/src/{path}"), "");
            assert_eq!(source.is_in_module("crates/x/src/one"), inside, "{path}");
        }
    }

    #[test]
    fn what_only_a_product_build_sees_is_product_code() {
        let source = Source::new("crates/x/src/lib.rs", "#[cfg(not(test))]\nfn a() {}\n");
        assert!(source.product_code.contains("fn a"));
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(lines_with("unsafe_code\nunsafe {\nnot_unsafe", "unsafe"), [2]);
        assert_eq!(lines_with("rustix::fs::open\nstd::fs::open", "std::fs"), [2]);
    }
}
