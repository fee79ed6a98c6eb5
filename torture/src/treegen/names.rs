//! Names of entries and targets of links, of the kinds that break tools.

use std::ffi::CString;

use crate::random::Random;

/// A name that holds the number `idx`, so that no two are alike.
pub(super) fn name(random: &mut Random, idx: u64) -> CString {
    let mut bytes = match random.below(14) {
        0 => format!("new\nline {idx}").into_bytes(),
        1 => format!("\x1b[2J\x1b]0;{idx}\x07").into_bytes(),
        2 => [b"\xff\xfe\x80".as_slice(), idx.to_string().as_bytes()].concat(),
        3 => format!("-rf {idx}").into_bytes(),
        4 => format!("trailing {idx} ").into_bytes(),
        5 => format!("* ? [{idx}] \\ \" '").into_bytes(),
        6 => format!("\u{e9} composed {idx}").into_bytes(),
        7 => format!("e\u{301} decomposed {idx}").into_bytes(),
        8 => format!("\u{202e}txt.{idx}\u{9b}").into_bytes(),
        9 => format!("..{idx}").into_bytes(),
        10 => format!("{idx:0255}").into_bytes(),
        _ => format!("entry {idx}").into_bytes(),
    };
    bytes.truncate(255);
    CString::new(bytes).expect("none of these has a zero byte")
}

/// Where a link leads, mostly nowhere.
pub(super) fn target(random: &mut Random) -> CString {
    let bytes = match random.below(8) {
        0 => b".".to_vec(),
        1 => b"../../../../../../../../etc/passwd".to_vec(),
        2 => b"/no/where".to_vec(),
        3 => b"\xff\xfe\n".to_vec(),
        4 => vec![b'l'; 1 + random.below(1_500) as usize],
        5 => vec![b'/'; 3_000 + random.below(1_096) as usize],
        6 => b"/dev/zero".to_vec(),
        _ => format!("entry {}", random.below(100)).into_bytes(),
    };
    CString::new(bytes).expect("none of these has a zero byte")
}
