//! Script checks and checks of services of the operating system.

use super::*;
use crate::model::check::CheckStatus::{Critical, Passing, Warning};
use rustix::process::{Pid, test_kill_process};
use std::path::Path;
use std::time::Instant;

fn script(text: &str) -> CheckType {
    let script_args = ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    CheckType { script_args, timeout: Duration::from_secs(60), ..CheckType::default() }
}

/// Waits until the process whose number stands in `file` is gone.
async fn gone(file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let pid = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).and_then(Pid::from_raw);
        // A process that has ended and was not reaped has no command line.
        let lives = |pid: Pid| {
            test_kill_process(pid).is_ok()
                && std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).is_ok_and(|line| !line.is_empty())
        };
        if pid.is_some_and(|pid| !lives(pid)) {
            return;
        }
        assert!(Instant::now() < deadline, "it lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_exit_code_is_the_status_and_both_outputs_are_one() {
    let cases = [("exit 0", Passing), ("exit 1", Warning), ("exit 2", Critical), ("kill -9 $$", Critical)];
    for (end, status) in cases {
        let said = probe(&script(&format!("echo out; echo err >&2; echo out; {end}"))).await;
        assert_eq!(said, Finding::new(status, "out\nerr\nout\n"), "{end}");
    }
}

#[tokio::test]
async fn what_cannot_be_run_says_why() {
    let run = |program: &str| CheckType { script_args: vec![program.to_owned()], ..CheckType::default() };
    let file = tempfile::NamedTempFile::new().expect("a file");
    let data = file.path().display().to_string();
    let refused = format!("fork/exec {data}: permission denied");
    let expected = [
        ("no-such-program-here", "exec: \"no-such-program-here\": executable file not found in $PATH"),
        ("/no/such/program", "fork/exec /no/such/program: no such file or directory"),
        (&data, &refused),
    ];
    for (program, why) in expected {
        assert_eq!(probe(&run(program)).await, Finding::critical(why));
    }
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_killed_with_all_its_children() {
    let file = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    let text = format!("echo before; (echo $BASHPID; exec sleep 3600) & echo $! > {}; wait", file.display());
    let said = probe(&CheckType { timeout: Duration::from_secs(1), ..script(&text) }).await;
    assert_eq!(said.status, Critical);
    assert!(said.output.starts_with("Timed out (1s) running check\n\n"), "{}", said.output);
    gone(&file).await;
}

#[tokio::test]
async fn a_script_that_forks_and_stays_is_bounded_whether_or_not_it_holds_its_output() {
    let file = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    let holding = format!("sleep 3600 & echo $! > {}; echo done", file.display());
    let said = probe(&CheckType { timeout: Duration::from_secs(1), ..script(&holding) }).await;
    assert_eq!(said, Finding::critical("Timed out (1s) running check\n\ndone\n"));
    gone(&file).await;
    let silent = format!("sleep 3600 >/dev/null 2>&1 & echo $! > {}; echo done", file.display());
    assert_eq!(probe(&script(&silent)).await, Finding::passing("done\n"));
    gone(&file).await;
}

#[tokio::test]
async fn a_flood_of_output_does_not_hold_its_script_up() {
    // In Consul's time for a script that names none.
    let limit = Duration::from_secs(30);
    let flood = CheckType { timeout: limit, output_max_size: 10, ..script("head -c 300000000 /dev/zero; echo end") };
    assert_eq!(probe(&flood).await, Finding::passing("Captured 10 of 300000004 bytes\n...\n\0\0\0\0\0\0end\n"));
}

#[tokio::test]
async fn a_flood_of_output_is_kept_within_bounds() {
    let said = probe(&CheckType { output_max_size: 10, ..script("head -c 3000000 /dev/zero | tr '\\0' x; echo end") }).await;
    assert_eq!(said, Finding::passing("Captured 10 of 3000004 bytes\n...\nxxxxxxend\n"));
    let endless = CheckType { timeout: SHORT, output_max_size: 10, ..script("yes") };
    let said = probe(&endless).await;
    assert!(said.output.starts_with("Timed out (300ms) running check\n\nCaptured 10 of "), "{}", said.output);
}

#[tokio::test]
async fn a_run_that_is_given_up_takes_its_script_along() {
    let file = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    let text = format!("sleep 3600 & echo $! > {}; wait", file.display());
    let running = tokio::spawn(async move { probe(&script(&text)).await });
    while std::fs::read_to_string(&file).map_or(true, |text| text.is_empty()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.abort();
    gone(&file).await;
}

#[tokio::test]
async fn a_service_that_the_system_does_not_have_is_critical() {
    let check = CheckType { os_service: "no-such-service-here".to_owned(), ..CheckType::default() };
    assert_eq!(probe(&check).await.status, Critical);
}
