//! The power is cut by the file system's own means: it is told to write nothing any more, not even what is in its journal's memory.
//! One run of the copier gives one cut.

use std::fs;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::mounts::run;
use crate::random::Random;

use super::copier::Running;
use super::image::clone_image;
use super::oracle::Cut;
use super::{Scene, flush_something};

/// Cuts before a new tree is grown.
const PER_SCENE: u64 = 20;

/// What is waited for before the power is cut.
#[derive(Debug)]
enum Trigger {
    /// This time has passed.
    Time(Duration),
    /// So many files were said to be on disk.
    Reported(usize),
}

impl Scene<'_> {
    pub(super) fn shut_down(
        &self,
        n_cuts: u64,
        random: &mut Random,
        judge: &mut dyn FnMut(Cut) -> io::Result<()>,
    ) -> io::Result<()> {
        (0..n_cuts.min(PER_SCENE)).try_for_each(|_| judge(self.shut_down_once(random)?))
    }

    fn shut_down_once(&self, random: &mut Random) -> io::Result<Cut> {
        let image = self.scratch.path("disk.image");
        clone_image(&self.base, &image)?;
        let at = self.at();
        let mount = self.mount(&image)?;
        let began = Instant::now();
        let clock = move || began.elapsed().as_nanos() as u64;
        let mut copier = self.start(Box::new(clock))?;
        let trigger = self.trigger(random);
        wait(&mut copier, &trigger, began)?;
        // The worst case: somebody else has the journal written, but not the data that it is about.
        let is_disturbed = random.below(2) == 0;
        if is_disturbed {
            flush_something(&at, random)?;
        }
        let is_over = copier.has_ended()?;
        let moment = clock();
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&at));
        copier.kill();
        let (told, ..) = copier.end()?;
        mount.end();
        // A worker in its jail holds the file system, shut down as it is, for as long as it takes to die, and its loop device with it.
        let cut = self.scratch.path("cut.image");
        clone_image(&image, &cut)?;
        let state = self.scratch.folder("state");
        if random.below(2) == 0 {
            fs::remove_dir_all(&state)?;
        }
        let disturbed = if is_disturbed { ", after a flush by somebody else" } else { "" };
        let what = format!("shutdown at {:?}{disturbed}", Duration::from_nanos(moment));
        Ok(Cut { image: cut, told, moment, state, is_over, what })
    }

    fn trigger(&self, random: &mut Random) -> Trigger {
        if self.options.copier.is_brigade() && random.below(2) == 0 {
            return Trigger::Reported(random.below(self.garden.files.len() as u64) as usize);
        }
        Trigger::Time(self.whole.mul_f64(random.below(1100) as f64 / 1000.0))
    }
}

/// Waits for the moment, or for the end of the copier.
fn wait(copier: &mut Running, trigger: &Trigger, began: Instant) -> io::Result<()> {
    loop {
        let is_time = match trigger {
            Trigger::Time(moment) => began.elapsed() >= *moment,
            Trigger::Reported(n_files) => copier.n_durable() > *n_files,
        };
        if is_time || copier.has_ended()? {
            return Ok(());
        }
        // Nothing would wake us at such a moment.
        std::thread::sleep(Duration::from_micros(50));
    }
}
