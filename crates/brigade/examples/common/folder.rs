//! What both copying programs need besides processes: the question, the list of what is there, the folder for the copy.
//! How the files themselves get there is not here: it is what those programs show.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What there is to do, once the folder for the copy is made.
pub struct Job {
    /// The folder to copy.
    pub source: PathBuf,
    /// The folder beside it that becomes the copy. The sub-folders are in it already.
    pub copy: PathBuf,
    /// The files to copy, relative to both.
    pub files: Vec<PathBuf>,
    /// What will not be copied, and why.
    pub failures: Vec<String>,
}

/// Asks for a folder, looks what is in it, and makes the folders of the copy. `Err` is what to tell the user.
pub fn prepare() -> Result<Job, String> {
    let source = ask().map_err(|error| error.to_string())?;
    if !source.is_dir() {
        let shown = source.display();
        return Err(text!("没有这个文件夹: {shown}", "there is no such folder: {shown}"));
    }
    let Some(name) = source.file_name() else {
        return Err(text!("请输入文件夹的名字", "please give the folder by its name"));
    };
    let mut copy_name = name.to_owned();
    copy_name.push(text!("_复件", "_copy"));
    let copy = source.with_file_name(copy_name);

    // Looked at before anything is made, so that nothing of our own is found.
    let mut job = Job { source, copy, files: Vec::new(), failures: Vec::new() };
    let folders = job.find_all();
    let shown = job.copy.display();
    fs::create_dir(&job.copy).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => text!("{shown} 已存在", "{shown} exists already"),
        _ => text!("无法创建 {shown}: {error}", "cannot create {shown}: {error}"),
    })?;
    for folder in folders {
        if let Err(error) = fs::create_dir(job.copy.join(&folder)) {
            job.failures.push(format!("{}: {error}", folder.display()));
        }
    }
    Ok(job)
}

fn ask() -> io::Result<PathBuf> {
    print!("{}", text!("请输入要拷贝的文件夹的名字:", "The folder to copy: "));
    io::stdout().flush()?;
    let mut answer = Vec::new();
    io::stdin().lock().read_until(b'\n', &mut answer)?;
    if !io::stdin().is_terminal() {
        println!(); // nobody pressed Enter, which ends the line of the question
    }
    // A name is any bytes; that it is UTF-8 is only usual.
    std::path::absolute(OsStr::from_bytes(answer.trim_ascii()))
}

impl Job {
    /// Finds the files, in all sub-folders too. Returns the sub-folders, each after the one that it is in.
    fn find_all(&mut self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        let mut unseen = vec![PathBuf::new()];
        while let Some(folder) = unseen.pop() {
            match self.find_in(&folder) {
                Ok(sub_folders) => {
                    folders.extend(sub_folders.iter().cloned());
                    unseen.extend(sub_folders);
                }
                Err(error) => self.failures.push(format!("{}: {error}", self.source.join(folder).display())),
            }
        }
        folders
    }

    fn find_in(&mut self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut sub_folders = Vec::new();
        for entry in fs::read_dir(self.source.join(folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                sub_folders.push(path);
            } else {
                self.files.push(path);
            }
        }
        Ok(sub_folders)
    }
}

/// Copies one file, whatever is in it. A symbolic link is copied as what it is.
pub fn copy_one(source: &Path, copy: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(source)?.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(source)?, copy)
    } else if kind.is_file() {
        fs::copy(source, copy).map(drop)
    } else {
        // Opening a named pipe would wait for whoever writes into it.
        Err(io::Error::other(text!("不是普通文件", "it is no regular file")))
    }
}

/// Names what was not copied. Returns how the program ends: 0 if everything was copied, else 1.
pub fn conclude(failures: &[String]) -> ExitCode {
    for failure in failures {
        eprintln!("{}", text!("拷贝失败: {failure}", "not copied: {failure}"));
    }
    ExitCode::from(u8::from(!failures.is_empty()))
}
