//! Cuts the power while a tree is copied, again and again, and judges what is on the disk then: nothing that was reported done may
//! be wrong, and the same command, or one that knows nothing of the first, must complete the copy.
//!
//! Reported done is a file that the command says to be durable, and any file that has its final time. How the power is cut is in
//! shutdown.rs (the file system is made to forget what it has not written), snapshot.rs (the disk is copied in a moment while it is
//! in use) and blocklog.rs (a disk that remembers its writes is rebuilt with some of those that no flush came after); what must hold
//! afterwards, in oracle.rs.

mod blocklog;
mod copier;
mod disk;
mod garden;
mod image;
mod oracle;
mod shutdown;
mod snapshot;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::mounts::{Mount, Scratch};
use crate::random::Random;
pub use copier::Copier;
use copier::{Clock, Running, Stranger};
use garden::Garden;
pub use garden::Size;
pub use image::Kind;
use oracle::{Cut, Verdict};

/// How the power is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// The file system is shut down by its own means: what is not in the journal on disk is gone.
    Shutdown,
    /// The disk is copied in a moment while it is in use.
    Snapshot,
    /// Each write and flush of the disk is recorded; writes after the last flush are kept, lost, torn and reordered.
    BlockLog,
}

impl Method {
    /// By its name in options.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "shutdown" => Some(Self::Shutdown),
            "snapshot" => Some(Self::Snapshot),
            "blocklog" => Some(Self::BlockLog),
            _ => None,
        }
    }

    /// btrfs cannot be shut down by its own means.
    #[must_use]
    pub fn works_on(self, kind: Kind) -> bool {
        (self, kind) != (Self::Shutdown, Kind::Btrfs)
    }
}

/// A campaign.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file system that loses power.
    pub kind: Kind,
    /// How it does.
    pub method: Method,
    /// Who copies.
    pub copier: Copier,
    /// Cuts that are judged.
    pub n_cuts: u64,
    /// Trees, and the moments of the cuts as far as they are not the scheduler's, follow from it.
    pub seed: u64,
    /// Of each tree.
    pub size: Size,
    /// What a flush of the recorded disk takes.
    pub flush_delay: Duration,
    /// Where images of cuts that were judged wrong are kept.
    pub keep: Option<PathBuf>,
}

/// What a campaign has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Cuts.
    pub n_cuts: u64,
    /// Those after which at least 30 % of the files were already reported done.
    pub n_ahead: u64,
    /// Those after the command had ended well.
    pub n_over: u64,
    /// Files whose copies were made once more, on the whole, and the most after one cut.
    pub n_redone: usize,
    /// Most files and bytes whose copies were made once more after one cut.
    pub most_redone: (usize, u64),
    /// Cuts with faults.
    pub n_wrong: u64,
    /// What was wrong, a line each; of each cut only the first ones.
    pub faults: Vec<String>,
}

/// Lines of faults that are kept of one cut: after that it is clear that it is wrong.
const MOST_LINES: usize = 5;

/// Cuts the power `options.n_cuts` times.
///
/// # Errors
/// What making trees and images and running programs says.
///
/// # Panics
/// If file systems cannot be made or mounted.
pub fn campaign(options: &Options) -> io::Result<Seen> {
    let scratch = Scratch::in_memory();
    let mut random = Random::new(options.seed);
    let mut seen = Seen::default();
    let outer = (options.method == Method::Snapshot).then(|| snapshot::outer(&scratch));
    while seen.n_cuts < options.n_cuts {
        let scene = Scene::new(options, &scratch, &mut random)?;
        let before = scene.garden.state()?;
        let n_cuts = options.n_cuts - seen.n_cuts;
        let mut judge = |cut: Cut| -> io::Result<()> { scene.take(&cut, &mut seen) };
        match options.method {
            Method::Shutdown => scene.shut_down(n_cuts, &mut random, &mut judge)?,
            Method::Snapshot => scene.snapshots(n_cuts, &mut random, &mut judge)?,
            Method::BlockLog => scene.block_log(n_cuts, &mut random, &mut judge)?,
        }
        if scene.garden.state()? != before {
            seen.faults.push("the source is no longer as it was".to_owned());
            seen.n_wrong += 1;
        }
        fs::remove_dir_all(&scene.garden.root)?;
    }
    outer.into_iter().for_each(Mount::end);
    Ok(seen)
}

/// A tree, and a disk that it is to be copied to.
#[derive(Debug)]
struct Scene<'a> {
    options: &'a Options,
    scratch: &'a Scratch,
    garden: Garden,
    /// Whether an older state of the tree is there when the copy begins.
    has_old: bool,
    /// The disk as it is then.
    base: PathBuf,
    /// How many files Brigade flushes together, if not as many as usual.
    n_group_files: Option<u64>,
    /// Further options of its mount.
    mount_options: &'static str,
    /// How long a whole copy takes.
    whole: Duration,
}

impl<'a> Scene<'a> {
    fn new(options: &'a Options, scratch: &'a Scratch, random: &mut Random) -> io::Result<Self> {
        let garden = Garden::grow(&scratch.path("source"), options.size, random)?;
        let (base, has_old) = (scratch.path("base.image"), random.below(2) == 0);
        let mount_options = options.kind.options()[random.below(2) as usize];
        // A real copy has many groups: here mostly twenty, in a small tree of so few files that each is flushed by itself,
        // else seven; one tree of eight is a single group.
        let n_group_files = match random.below(8) {
            0 => None,
            1..=4 => Some(options.size.n_files / 20),
            _ => Some(options.size.n_files / 7),
        };
        let n_group_files = n_group_files.map(|n_files| n_files.max(1));
        let whole = Duration::ZERO;
        let mut scene = Self { options, scratch, garden, has_old, base, n_group_files, mount_options, whole };
        let n_bytes = 4 * scene.garden.n_bytes() + 16_384 * scene.garden.files.len() as u64;
        options.kind.make(&scene.base, &scene.at(), n_bytes, |at| {
            garden::plant_bystander(&at.join("bystanders"))?;
            if has_old { scene.garden.grow_old(&at.join("copy")) } else { Ok(()) }
        })?;
        scene.whole = scene.time_a_copy()?;
        Ok(scene)
    }

    /// Where each file system is mounted, so that the same command always means the same copy.
    fn at(&self) -> PathBuf {
        self.scratch.folder("disk")
    }

    fn copy(&self) -> PathBuf {
        self.at().join("copy")
    }

    /// The disk, for the copier to work on.
    fn mount(&self, disk: &Path) -> io::Result<Mount> {
        self.options.kind.mount(disk, &self.at(), self.mount_options).map_err(io::Error::other)
    }

    /// An empty folder for what the copier wants to remember.
    fn fresh_state(&self) -> io::Result<PathBuf> {
        let state = self.scratch.folder("state");
        fs::remove_dir_all(&state)?;
        fs::create_dir(&state)?;
        Ok(state)
    }

    fn start(&self, clock: Clock) -> io::Result<Running> {
        let command =
            self.options.copier.first(&self.garden.root, &self.copy(), &self.fresh_state()?, self.n_group_files);
        Running::start(command, &self.copy(), clock)
    }

    /// Copies without being disturbed, to know how long it takes.
    fn time_a_copy(&self) -> io::Result<Duration> {
        let image = self.scratch.path("disk.image");
        image::clone_image(&self.base, &image)?;
        let mount = self.mount(&image)?;
        let began = Instant::now();
        let (_, status, complaints) = self.start(Box::new(|| 0))?.end()?;
        if !status.success() {
            return Err(io::Error::other(format!("an undisturbed copy ends with {status}: {complaints}")));
        }
        let took = began.elapsed();
        mount.end();
        Ok(took)
    }

    fn take(&self, cut: &Cut, seen: &mut Seen) -> io::Result<()> {
        let stranger = if seen.n_cuts.is_multiple_of(2) { Stranger::Rsync } else { Stranger::CpUpdate };
        if let Some(folder) = &self.options.keep {
            image::clone_image(&cut.image, &folder.join("cut.image"))?;
        }
        let Verdict { faults, n_done, n_redone, redone_bytes } = self.judge(cut, stranger)?;
        if let Some(folder) = self.options.keep.as_ref().filter(|_| !faults.is_empty()) {
            fs::rename(folder.join("cut.image"), folder.join(format!("wrong-{}.image", seen.n_cuts)))?;
        }
        seen.n_cuts += 1;
        seen.n_over += u64::from(cut.is_over);
        seen.n_ahead += u64::from(n_done * 10 >= self.garden.files.len() * 3);
        seen.n_redone += n_redone;
        seen.most_redone = seen.most_redone.max((n_redone, redone_bytes));
        seen.n_wrong += u64::from(!faults.is_empty());
        let n_more = faults.len().saturating_sub(MOST_LINES);
        let (has_old, n_group_files, mounted) = (self.has_old, self.n_group_files, self.mount_options);
        let scene = format!("{mounted}, groups of {n_group_files:?}, something there before: {has_old}");
        let lines = faults.into_iter().take(MOST_LINES);
        seen.faults.extend(lines.map(|fault| format!("cut {}, {} ({scene}): {fault}", seen.n_cuts, cut.what)));
        if n_more > 0 {
            seen.faults.push(format!("cut {}: and {n_more} more", seen.n_cuts));
        }
        Ok(())
    }
}

/// Somebody else on the same disk.
#[derive(Clone, Debug)]
struct Noise {
    /// Whether there is anybody.
    is_made: bool,
    random: Random,
}

impl Noise {
    /// Mostly there is.
    fn new(random: &mut Random) -> Self {
        Self { is_made: random.below(4) != 0, random: Random::new(random.number()) }
    }

    /// Writes a small file of its own now and then, and flushes it, until `work` is done: as other programs do. Whatever the
    /// journal holds by then goes to disk with it, without the data that it is about.
    fn during<T>(&self, at: &Path, work: impl FnOnce() -> T) -> T {
        let mut random = self.random.clone();
        let is_over = AtomicBool::new(!self.is_made);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_micros(random.below(10_000)));
                    // The disk may be full, or gone already.
                    let _ = flush_something(at, &mut random);
                }
            });
            // Also when it panics: the scope waits for the other one.
            let _end = End(&is_over);
            work()
        })
    }

    fn told(&self) -> &'static str {
        if self.is_made { ", while somebody else flushes" } else { "" }
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn flush_something(at: &Path, random: &mut Random) -> io::Result<()> {
    let mut file = File::create(at.join(format!("bystanders/noise-{}", random.below(8))))?;
    file.write_all(&random.number().to_le_bytes())?;
    file.sync_all()
}
