//! Namespaces of the kernel that a test has for itself: it runs itself again inside `unshare`.

use std::process::Command;

/// Set inside the namespace.
const INSIDE: &str = "KONTOR_TEST_NAMESPACE";

/// Whether this process is in a namespace of its own and is to go on. Outside of one it runs `test`
/// there, and fails as that does. `kind` is the flag of `unshare`; `try_out` is what must work inside.
/// Where such a namespace cannot be had it says so, and the test ends.
pub fn inside(test: &str, kind: &str, try_out: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let makes = |flag: &str| {
        let output = Command::new("unshare").args([flag, "sh", "-c", try_out]).output();
        output.map_or_else(
            |error| Err(error.to_string()),
            |output| match output.status.success() {
                true => Ok(()),
                false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            },
        )
    };
    let (as_is, as_root) = (format!("-{kind}"), format!("-r{kind}"));
    let flag = match (makes(&as_is), makes(&as_root)) {
        (Ok(()), _) => as_is,
        (_, Ok(())) => as_root,
        (Err(first), Err(second)) => {
            println!(
                "SKIPPED {test}: no namespace can be made in which this works: {try_out} (unshare {as_is}: {first}; unshare \
                 {as_root}: {second}); it needs util-linux, iproute2 and root or user namespaces"
            );
            return false;
        }
    };
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.arg(flag).arg(own).args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    assert!(command.status().unwrap().success(), "{test} failed in its namespace");
    false
}
