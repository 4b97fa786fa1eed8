//! A small shell that outlives us by the time it takes to clean up.
//!
//! It reads the server's pid from a pipe whose only writing end is ours. At end of file, however we
//! came to our end, it shuts down the server it last heard of and removes the directories. The pid
//! is taken back as soon as it is reaped, before it can become somebody else's.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::Error;
use crate::home::Home;

/// Arguments: the data directory, then the directories to remove.
///
/// A server that goes properly removes postmaster.pid; whether its pid is still there says less,
/// since nobody may reap it. One killed outright leaves the file, whose seventh line names its
/// shared memory segment.
const SCRIPT: &str = r#"
while read -r line; do pid=$line; done
data=$1; shift
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
    tries=0
    while [ -e "$data/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null && [ $tries -lt 200 ]; do
        sleep 0.05; tries=$((tries + 1))
    done
    [ ! -e "$data/postmaster.pid" ] || kill -KILL "$pid" 2>/dev/null
fi
if [ -e "$data/postmaster.pid" ]; then
    segment=$(sed -n '7s/.* //p' "$data/postmaster.pid")
    [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
fi
rm -rf -- "$@" || { sleep 1; rm -rf -- "$@"; }
"#;

#[derive(Debug)]
pub(crate) struct Guardian {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    pub(crate) fn watch(home: &Home) -> Result<Self, Error> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT, "scratch"]).arg(home.data());
        shell.args([&home.directory, &home.sockets]);
        shell
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Of its own group, so that Ctrl-C or a kill of our group leaves it to its work.
        shell.current_dir("/").process_group(0);
        let mut shell = shell.spawn().map_err(Error::at("/bin/sh"))?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Says which process to stop from now on, if any.
    pub(crate) fn tell(&mut self, pid: Option<u32>) {
        let line = pid.map_or_else(String::new, |pid| pid.to_string());
        if let Some(pipe) = &mut self.pipe {
            // A guardian that somebody killed is no reason to fail.
            let _ = writeln!(pipe, "{line}");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.shell.wait();
    }
}
