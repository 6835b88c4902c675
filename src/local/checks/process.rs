//! Runs a command to its end, bounded in time and output. The command gets a process group of its own, which is killed
//! when the command has ended, its time is over, or the check is stopped.

use crate::defaults::CHECK_PIPE_BYTES;
use crate::model::tail::Tail;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// A command with the bounds of its runs.
#[derive(Debug)]
pub(super) struct Command {
    /// The program and its arguments.
    pub(super) args: Vec<String>,
    pub(super) timeout: Duration,
    /// Bytes of output kept.
    pub(super) output_max: usize,
}

impl Command {
    /// Runs the command once, with both outputs into `output`. `None` when it took longer than its `timeout`.
    pub(super) async fn run(&self, output: &mut Tail) -> Result<Option<ExitStatus>, String> {
        let (program, rest) = self.args.split_first().ok_or("no command to run")?;
        let (mut running, pipe) = start(program, rest).map_err(|error| start_error(program, &error))?;
        // As in Consul, a command has ended once no process holds its output open.
        let ended = async { tokio::try_join!(running.exited(), drain(pipe, output)) };
        let ended = timeout(self.timeout, ended).await;
        running.kill();
        let status = running.child.wait().await.map_err(|error| format!("waiting for {program}: {error}"))?;
        match ended {
            Ok(Ok(_)) => Ok(Some(status)),
            Ok(Err(error)) => Err(format!("watching {program}: {error}")),
            Err(_elapsed) => {
                metrics::counter!("kontor.checks.timed_out").increment(1);
                Ok(None)
            }
        }
    }
}

/// A command that has not been waited for, so that no other process has its number.
#[derive(Debug)]
struct Running {
    child: Child,
    group: Option<Pid>,
}

fn start(program: &str, args: &[String]) -> io::Result<(Running, Receiver)> {
    let (read, write) = io::pipe()?;
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write);
    command.process_group(0).kill_on_drop(true);
    let child = command.spawn()?;
    // The command holds ends of the pipe for writing; with them open it would never end.
    drop(command);
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    Ok((Running { child, group }, Receiver::from_owned_fd(read.into())?))
}

impl Running {
    /// Resolves when the command has ended, without reaping it.
    async fn exited(&self) -> io::Result<()> {
        let Some(pid) = self.group else { return Ok(()) };
        // Before the first look, so that an end in between is not missed.
        let mut ends = signal(SignalKind::child())?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(pid), options)?.is_none() {
            ends.recv().await;
        }
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // It fails when all processes of the group have ended already.
            _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads until the end, as fast as the command writes: one that writes too much is not held up.
async fn drain(mut pipe: Receiver, output: &mut Tail) -> io::Result<()> {
    let mut buffer = vec![0; CHECK_PIPE_BYTES];
    loop {
        let read = pipe.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        output.write(&buffer[..read]);
    }
}

/// The reason that a command could not be started, in Go's words.
fn start_error(program: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if !program.contains('/') => format!("exec: {program:?}: executable file not found in $PATH"),
        io::ErrorKind::NotFound => format!("fork/exec {program}: no such file or directory"),
        io::ErrorKind::PermissionDenied => format!("fork/exec {program}: permission denied"),
        _ => format!("fork/exec {program}: {}", super::connect::plain(error)),
    }
}
