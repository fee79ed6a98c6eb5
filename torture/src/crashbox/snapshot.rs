//! The disk is an image on a file system that can copy a file in a moment: each such copy, taken while the image is in use, is what a
//! power cut at that moment would have left. One run of the copier gives many cuts.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::mounts::{Image, Mount, Scratch};
use crate::random::Random;

use super::image::clone_image;
use super::oracle::Cut;
use super::{Noise, Scene};

/// Cuts from one run.
const PER_RUN: u64 = 20;

/// Where the images are.
pub(super) fn outer(scratch: &Scratch) -> Mount {
    let image = Image { n_bytes: 16 << 30, ..Image::XFS };
    Mount::fresh(&image, &scratch.path("outer.image"), &scratch.folder("outer"))
}

/// A copy of the disk, and what was known when it was begun.
struct Taken {
    image: PathBuf,
    state: PathBuf,
    moment: u64,
    is_over: bool,
}

impl Scene<'_> {
    pub(super) fn snapshots(
        &self,
        n_cuts: u64,
        random: &mut Random,
        judge: &mut dyn FnMut(Cut) -> io::Result<()>,
    ) -> io::Result<()> {
        let (disk, at) = (self.scratch.path("outer/disk.image"), self.at());
        clone_image(&self.base, &disk)?;
        let mount = self.mount(&disk)?;
        let began = Instant::now();
        let clock = move || began.elapsed().as_nanos() as u64;
        let mut taken = Vec::new();
        let mut copier = self.start(Box::new(clock))?;
        let noise = Noise::new(random);
        // So that they are spread over the run and a while after it.
        let pause = self.whole * 3 / n_cuts.min(PER_RUN) as u32;
        noise.during(&at, || {
            (0..n_cuts.min(PER_RUN)).try_for_each(|snapshot_idx| {
                std::thread::sleep(pause.mul_f64(random.below(1000) as f64 / 1000.0));
                let has_ended = copier.has_ended()?;
                taken.push(self.snapshot(&disk, snapshot_idx, clock(), has_ended)?);
                io::Result::Ok(())
            })
        })?;
        copier.kill();
        let (told, ..) = copier.end()?;
        mount.end();
        for Taken { image: snapshot, state, moment, is_over } in taken {
            let image = self.scratch.path("cut.image");
            clone_image(&snapshot, &image)?;
            fs::remove_file(snapshot)?;
            let what = format!("snapshot at {:?}{}", Duration::from_nanos(moment), noise.told());
            judge(Cut { image, told: told.clone(), moment, state, is_over, what })?;
        }
        Ok(())
    }

    fn snapshot(&self, disk: &Path, snapshot_idx: u64, moment: u64, is_over: bool) -> io::Result<Taken> {
        let state = self.scratch.folder(format!("states/{snapshot_idx}"));
        fs::remove_dir_all(&state)?;
        copy_folder(&self.scratch.path("state"), &state)?;
        let image = self.scratch.path(format!("outer/{snapshot_idx}.image"));
        rustix::fs::ioctl_ficlone(File::create(&image)?, File::open(disk)?)?;
        Ok(Taken { image, state, moment, is_over })
    }
}

/// Copies a few small files, some of which may vanish meanwhile.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let copied =
            if entry.file_type()?.is_dir() { copy_folder(&path, &copy) } else { fs::copy(&path, &copy).map(drop) };
        if let Err(error) = copied
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}
