//! Scripts run at changes: the JSON on standard input, the index in `CONSUL_INDEX`.
//!
//! A script runs in a process group of its own, which is killed when the script is given up. Children of a script
//! that has ended stay, as a service that it has started should.

use super::plan::News;
use crate::defaults::{WATCH_OUTPUT_BYTES, WATCH_OUTPUT_GRACE};
use crate::model::tail::Tail;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// The target of a script's output.
#[derive(Debug)]
pub enum Output {
    /// The output of this program.
    Inherited,
    /// A pipe for both streams, in their order.
    Piped(PipeWriter),
}

/// A script at work. Dropped before its end, it is killed with its children.
#[derive(Debug)]
pub struct Running {
    child: Child,
    input: Option<(ChildStdin, News)>,
    /// Unset after the end, when the number may be another's.
    group: Option<Group>,
}

/// The process group of a script and its children.
#[derive(Clone, Copy, Debug)]
pub struct Group(Pid);

impl Group {
    pub fn interrupt(self) {
        self.send(Signal::INT);
    }

    pub fn terminate(self) {
        self.send(Signal::TERM);
    }

    fn send(self, signal: Signal) {
        // The group may just have ended.
        _ = kill_process_group(self.0, signal);
    }
}

/// The words that have a shell, that of `SHELL` or `/bin/sh`, run `line`.
pub fn shell(line: &str) -> Vec<String> {
    let shell = std::env::var("SHELL").ok().filter(|shell| !shell.is_empty());
    vec![shell.unwrap_or_else(|| "/bin/sh".to_owned()), "-c".to_owned(), line.to_owned()]
}

impl Running {
    /// Starts the program that the first of `words` names, with the others as its arguments.
    pub fn start(words: &[String], news: &News, output: Output) -> Result<Running, String> {
        let Some((program, arguments)) = words.split_first().filter(|(program, _)| !program.is_empty()) else {
            return Err("expected a program to run, got none".to_owned());
        };
        let mut command = Command::new(program);
        command.args(arguments).env("CONSUL_INDEX", news.index.to_string()).process_group(0).stdin(Stdio::piped());
        let failed = |error: io::Error| format!("{program} cannot be run: {error}");
        if let Output::Piped(writer) = output {
            command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        }
        let mut child = command.spawn().map_err(failed)?;
        let input = child.stdin.take().map(|stdin| (stdin, news.clone()));
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).map(Group);
        Ok(Running { child, input, group })
    }

    /// Its process group, for signals during [`Running::wait`].
    pub fn group(&self) -> Option<Group> {
        self.group
    }

    /// Feeds the script its input, and waits for its end, whether it has read that or not.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let input = self.input.take();
        let feeding = async {
            if let Some((mut stdin, news)) = input {
                // A script may close its input.
                _ = stdin.write_all(&news.data).await;
                _ = stdin.write_all(b"\n").await;
            }
            std::future::pending().await
        };
        let status = tokio::select! {
            status = self.child.wait() => status,
            never = feeding => never,
        };
        self.group = None;
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            group.send(Signal::KILL);
        }
    }
}

/// Runs a script and gives the end of its output, in an error too.
pub(super) async fn run_captured(words: &[String], news: &News) -> Result<String, String> {
    let (reader, writer) = io::pipe().map_err(|error| format!("no pipe for its output: {error}"))?;
    let mut running = Running::start(words, news, Output::Piped(writer))?;
    let mut reader = Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(|error| error.to_string())?;
    let mut tail = Tail::new(WATCH_OUTPUT_BYTES);
    let status = {
        let ended = running.wait();
        tokio::pin!(ended);
        tokio::select! {
            status = &mut ended => status,
            () = drain(&mut reader, &mut tail) => ended.await,
        }
    };
    if timeout(WATCH_OUTPUT_GRACE, drain(&mut reader, &mut tail)).await.is_err() {
        metrics::counter!("kontor.watch.output_left").increment(1);
    }
    match status {
        Ok(status) if status.success() => Ok(tail.noted()),
        Ok(status) => Err(format!("it ended with {status}; output: {}", tail.noted())),
        Err(error) => Err(format!("its end is not known: {error}")),
    }
}

/// Reads until the other end is closed.
async fn drain(reader: &mut Receiver, tail: &mut Tail) {
    let mut buffer = [0; 2048];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        tail.write(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::path::Path;
    use std::time::{Duration, Instant};

    fn news(data: &str) -> News {
        News { index: 42, data: Bytes::copy_from_slice(data.as_bytes()) }
    }

    async fn run(line: &str, data: &str) -> Result<String, String> {
        run_captured(&["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()], &news(data)).await
    }

    #[tokio::test]
    async fn a_script_gets_the_json_and_the_index_and_its_output_is_kept() {
        assert_eq!(run("echo $CONSUL_INDEX; cat; echo no >&2", "[1]").await, Ok("42\n[1]\nno\n".to_owned()));
        let failed = run("echo broken; exit 3", "[]").await.unwrap_err();
        assert!(failed.contains("exit status: 3") && failed.contains("broken"), "{failed}");
        let missing = run_captured(&["/nowhere/handler".to_owned()], &news("[]")).await.unwrap_err();
        assert!(missing.starts_with("/nowhere/handler cannot be run"), "{missing}");
        assert!(run_captured(&[], &news("[]")).await.is_err());
    }

    #[tokio::test]
    async fn one_that_reads_nothing_and_one_that_says_too_much_are_bounded() {
        let large = "x".repeat(4 << 20);
        assert_eq!(run("exec <&-; echo done", &large).await, Ok("done\n".to_owned()));
        let text = run("head -c 3000000 /dev/zero | tr '\\0' a; echo; echo end", "[]").await.unwrap();
        assert!(text.starts_with("Captured 4096 of 3000005 bytes") && text.ends_with("a\nend\n"));
    }

    #[tokio::test]
    async fn what_a_script_leaves_running_holds_nobody() {
        let started = Instant::now();
        assert_eq!(run("sleep 50 & echo $!", "[]").await.map(|pid| kill(&pid)), Ok(true), "it is left alone");
        assert!(started.elapsed() < Duration::from_secs(40));
    }

    /// Ends a process; whether there was one.
    fn kill(pid: &str) -> bool {
        std::process::Command::new("kill").arg(pid.trim()).status().unwrap().success()
    }

    #[tokio::test]
    async fn a_script_that_is_given_up_goes_with_all_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let line = format!("sleep 60 & echo $! > {0}.part; mv {0}.part {0}; wait", file.display());
        let child = tokio::select! {
            ended = run(&line, "[]") => panic!("it should wait: {ended:?}"),
            child = read(&file) => child,
        };
        let gone = || !Path::new(&format!("/proc/{}/stat", child.trim())).exists() || is_zombie(child.trim());
        while !gone() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn read(file: &Path) -> String {
        loop {
            if let Ok(text) = std::fs::read_to_string(file) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// True for a process that has ended without being reaped.
    fn is_zombie(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    }
}
