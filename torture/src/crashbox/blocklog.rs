//! The disk remembers its writes and flushes, so that it can be rebuilt as any power cut would have left it: with all writes up to a
//! flush, and with any of those after it. One run of the copier gives as many cuts as are wanted.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::random::Random;

use super::disk::{Disk, Fate, Log};
use super::image::clone_image;
use super::oracle::Cut;
use super::{Noise, Scene, flush_something};

/// Cuts from one run: more would be of the same tree.
const PER_RUN: u64 = 25;

impl Scene<'_> {
    pub(super) fn block_log(
        &self,
        n_cuts: u64,
        random: &mut Random,
        judge: &mut dyn FnMut(Cut) -> io::Result<()>,
    ) -> io::Result<()> {
        let backing = self.scratch.path("disk.image");
        clone_image(&self.base, &backing)?;
        let point = self.scratch.path("recorded disk");
        File::create(&point)?;
        let backing = File::options().read(true).write(true).open(&backing)?;
        let disk = Disk::mount(backing, &point, self.options.flush_delay)?;
        let log = Arc::clone(disk.log());
        let at = self.at();
        let mount = self.mount(disk.point())?;
        let start = log.moment();
        let clock = Arc::clone(&log);
        let copier = self.start(Box::new(move || clock.moment() as u64))?;
        let noise = Noise::new(random);
        let ended = noise.during(&at, || copier.end())?;
        let over = log.moment();
        // What was only in memory at the end may get to the disk half-way, long after.
        flush_something(&at, random)?;
        let end = log.moment();
        mount.end();
        drop(disk);
        let (told, status, complaints) = ended;
        if !status.success() {
            return Err(io::Error::other(format!("an undisturbed copy ends with {status}: {complaints}")));
        }
        let running = self.scratch.path("durable.image");
        clone_image(&self.base, &running)?;
        let durable = File::options().write(true).open(&running)?;
        let mut from = 0;
        for moment in moments(&log, (start, end), n_cuts.min(PER_RUN), random) {
            from = log.make_durable(&durable, from, moment)?;
            let image = self.scratch.path("cut.image");
            clone_image(&running, &image)?;
            let fate = Fate::ALL[random.below(Fate::ALL.len() as u64) as usize];
            let rebuilt = File::options().write(true).open(&image)?;
            log.gamble(&rebuilt, (from, moment), fate, self.options.kind.tear_bytes(), random)?;
            let what = format!("at {moment} of writes and flushes {start} to {end}, {fate:?}{}", noise.told());
            let (state, is_over) = (self.fresh_state()?, moment >= over);
            judge(Cut { image, told: told.clone(), moment: moment as u64, state, is_over, what })?;
        }
        Ok(())
    }
}

/// Moments to cut at, in order: the end, and of the others half just after a flush.
fn moments(log: &Log, (start, end): (usize, usize), n_moments: u64, random: &mut Random) -> Vec<usize> {
    let flushes = log.flushes_after(start);
    let mut moments: Vec<usize> = (1..n_moments)
        .map(|_| match random.below(2) {
            0 if !flushes.is_empty() => flushes[random.below(flushes.len() as u64) as usize].min(end),
            _ => start + random.below((end - start) as u64 + 1) as usize,
        })
        .collect();
    moments.push(end);
    moments.sort_unstable();
    moments
}
