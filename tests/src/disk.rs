//! A disk that can be full: a small file system of its own where this user may mount one, else a limit on
//! the size of the server's files.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use scratch::Server;
use tempfile::TempDir;

/// Gone when dropped; the server on it must be gone by then.
#[derive(Debug)]
pub struct SmallDisk {
    directory: TempDir,
    is_mounted: bool,
}

/// Nothing can be written as long as this lives.
#[derive(Debug)]
pub enum Filled {
    /// A file that takes all the room.
    By(PathBuf),
    /// The server whose files may not grow.
    Limited(Pid),
}

impl SmallDisk {
    pub fn make(bytes: u64) -> Self {
        let directory = TempDir::new().expect("a directory can be made");
        let size = format!("size={bytes},mode=0755");
        let size = std::ffi::CString::new(size).expect("it has no zero byte");
        let flags = MountFlags::empty();
        let mounted = mount("tmpfs", directory.path(), "tmpfs", flags, size.as_c_str());
        Self {
            directory,
            is_mounted: mounted.is_ok(),
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// How it comes to be full.
    pub fn kind(&self) -> &'static str {
        match self.is_mounted {
            true => "a small file system",
            false => "a limit on the size of files",
        }
    }

    pub fn fill(&self, server: &Server) -> Filled {
        if !self.is_mounted {
            let pid = server.pid().and_then(|pid| Pid::from_raw(pid as i32));
            let pid = pid.expect("the server runs");
            limit(pid, Some(0));
            return Filled::Limited(pid);
        }
        let path = self.path().join("filler");
        let mut file = File::create(&path).expect("there is room for a name");
        // Ends with the room. Page by page in the end, so that none is left.
        for chunk in [1 << 20, 4096] {
            while file.write_all(&vec![0; chunk]).is_ok() {}
        }
        Filled::By(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Best effort: what is still open there keeps it until it ends.
            let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
        }
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        match self {
            Self::By(path) => std::fs::remove_file(path).expect("a file of ours can be removed"),
            Self::Limited(pid) => limit(*pid, None),
        }
    }
}

/// Limits the files of a server process and of all that it has started.
fn limit(postmaster: Pid, bytes: Option<u64>) {
    let parent = format!("PPid:\t{}\n", postmaster.as_raw_nonzero());
    let entries = std::fs::read_dir("/proc").expect("Linux");
    let pids = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        status.contains(&parent).then(|| Pid::from_raw(pid))?
    });
    for pid in pids.chain([postmaster]) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        // One that has ended meanwhile writes nothing either.
        let _ = prlimit(Some(pid), Resource::Fsize, limit);
    }
}
