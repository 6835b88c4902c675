//! Docker checks, against a real engine where one answers.

use super::*;
use crate::model::check::CheckStatus::{Critical, Passing, Warning};
use std::process::Command;

/// A container with a shell, made of this system's own: no image has to be fetched. Removed when dropped.
struct Container {
    name: String,
}

fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Container {
    /// Nothing where no engine answers.
    fn start() -> Option<Container> {
        docker(&["version"])?;
        let name = format!("kontor-check-{}", std::process::id());
        // The shell, `sleep`, and whatever they are linked with.
        let pack = "set -e; files=\"/bin/sh /bin/sleep\"; libs=$(ldd $files | grep -o '/[^ ]*' | grep -v ':' | sort -u); \
                    tar -ch $files $libs 2>/dev/null | docker import - \"$0\"";
        let packed = Command::new("sh").args(["-c", pack, &name]).output().expect("a shell");
        assert!(packed.status.success(), "no image could be made: {packed:?}");
        docker(&["run", "-d", "--net=none", "--name", &name, &name, "/bin/sleep", "3600"]).expect("it runs");
        Some(Container { name })
    }

    fn check(&self, text: &str) -> CheckType {
        let script_args = ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
        CheckType { docker_container_id: self.name.clone(), script_args, ..CheckType::default() }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.name]);
        docker(&["rmi", &self.name]);
    }
}

#[tokio::test]
async fn a_command_in_a_container_is_judged_by_its_exit_code() {
    let Some(container) = Container::start() else {
        eprintln!("no Docker engine answers here: Docker checks are not tried");
        return;
    };
    for (end, status) in [("exit 0", Passing), ("exit 1", Warning), ("exit 2", Critical)] {
        let said = probe(&container.check(&format!("echo out; echo err >&2; {end}"))).await;
        assert_eq!(said.status, status, "{said:?}");
        let mut lines: Vec<&str> = said.output.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["err", "out"], "{said:?}");
    }
    let long = CheckType { output_max_size: 5, ..container.check("echo 0123456789") };
    assert_eq!(probe(&long).await, Finding::passing("Captured 5 of 11 bytes\n...\n6789\n"));

    let slow = CheckType { timeout: Duration::from_secs(1), ..container.check("echo begun; /bin/sleep 3600") };
    let slow = Probe::of(&slow, &settings()).expect("it is probed");
    assert_eq!(slow.run().await, Finding::critical("Timed out (1s) running check\n\nbegun\n"));
    let said = slow.run().await;
    assert_eq!(said.output, format!("the last run in container {} has not ended yet", container.name));

    docker(&["kill", &container.name]).expect("it is killed");
    let said = probe(&container.check("exit 0")).await;
    assert_eq!(said, Finding::critical(format!("create exec failed since container {} is paused or stopped", container.name)));
    let other = CheckType { docker_container_id: "no-such-container".to_owned(), ..container.check("exit 0") };
    assert_eq!(probe(&other).await, Finding::critical("create exec failed for unknown container no-such-container"));
}
