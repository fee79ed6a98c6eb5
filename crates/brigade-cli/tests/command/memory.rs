//! The memory of all processes of the command together does not grow with the number of files. The figures for very many are in
//! docs/measurements.md.

use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use crate::support::Scene;
use torture::{facts, processes};

const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// The most memory for data that was seen while this many files were copied.
fn peak_bytes(n_files: usize) -> u64 {
    let scene = Scene::new();
    scene.many_files("a", n_files);
    let mut child = scene.copy(["--quiet", "a", "b"]).process_group(0).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(processes::group_data_bytes(child.id()));
        if let Some(status) = facts::end_of(&mut child, SAMPLE_EVERY).unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(0));
    peak
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    const FEW: usize = 10_000;
    const MANY: usize = 50_000;
    /// As much as the head of one `Vec` or `String`; a record for each file would take it and more. What is seen is 8, by pages
    /// that more of the work touches.
    const MOST_BYTES_PER_FILE: u64 = 24;
    let (few, many) = (peak_bytes(FEW), peak_bytes(MANY));
    println!("{few} bytes for {FEW} files, {many} for {MANY}");
    assert!(few > 1 << 20, "{few} bytes are no process");
    assert!(many < 64 << 20, "{many}");
    let growth = many.saturating_sub(few) / (MANY - FEW) as u64;
    assert!(growth < MOST_BYTES_PER_FILE, "{growth} bytes a file: {few} for {FEW}, {many} for {MANY}");
}
