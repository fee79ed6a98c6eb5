//! Power cuts, on copiers of which it is known whether they are right: what judges ours must tell these apart.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::time::Duration;

use torture::crashbox::{Copier, Kind, Method, Options, Seen, Size, campaign};
use torture::mounts::need_root;
use torture::random::Random;

fn cut(kind: Kind, method: Method, copier: Copier, n_cuts: u64) -> Seen {
    need_root();
    let seed = Random::fresh_seed();
    println!("seed {seed}");
    let size = Size { n_files: 60, most_bytes: 16 << 10 };
    campaign(&Options { kind, method, copier, n_cuts, seed, size, flush_delay: Duration::ZERO, keep: None }).unwrap()
}

#[test]
fn a_copier_that_flushes_each_file_before_it_is_whole_passes() {
    let ways = [(Kind::Ext4, Method::Shutdown), (Kind::Xfs, Method::Snapshot), (Kind::Btrfs, Method::BlockLog)];
    for (kind, method) in ways {
        let seen = cut(kind, method, Copier::Rsync, 3);
        assert_eq!(seen.faults, [""; 0], "{kind:?} {method:?}");
        assert_eq!(seen.n_cuts, 3);
    }
}

#[test]
fn a_copier_that_flushes_nothing_is_found_out() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        // The last of the cuts is made when a journal without the data has been written by somebody else.
        let seen = cut(kind, Method::BlockLog, Copier::Cp, 2);
        assert!(seen.n_wrong > 0, "{kind:?}");
        assert!(seen.faults.iter().any(|fault| fault.contains("has its final time and other contents")), "{seen:#?}");
    }
}
