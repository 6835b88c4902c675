//! Want of room as the log store's own thread meets it: fjall then refuses every write and gives the reason only in its
//! log lines, which `agent` passes on.
//! Only failures that leave the store's journal whole count: the table is written again once the store is opened anew.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The beginnings of fjall's lines about a table that could not be written.
const WORK: [&str; 2] = ["Flush error: ", "Compaction failed: "];
/// Rust's names of errors for want of room: on the disk, in a quota, or in the size of a file.
const KINDS: [&str; 3] = ["kind: StorageFull", "kind: QuotaExceeded", "kind: FileTooLarge"];

/// The last one. A process has one store, except in a demo.
static LAST: Mutex<Option<(Instant, String)>> = Mutex::new(None);

/// Takes in an error line of a library.
pub fn overheard(module: &str, text: &str) {
    if is_of_store(module) && is_want_of_room(text) {
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), text.to_owned()));
    }
}

pub(super) fn want_of_room(since: Instant) -> Option<String> {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.as_ref().filter(|(at, _)| *at >= since).map(|(_, text)| text.clone())
}

fn is_of_store(module: &str) -> bool {
    module == "fjall" || module.starts_with("fjall::")
}

fn is_want_of_room(text: &str) -> bool {
    WORK.iter().any(|work| text.starts_with(work)) && KINDS.iter().any(|kind| text.contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn errors_of_the_system_are_told_apart_as_fjall_logs_them() {
        let said = |work: &str, code: i32| {
            let error = fjall::Error::Io(io::Error::from_raw_os_error(code));
            format!("{work}: {error:?}")
        };
        for full in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT, rustix::io::Errno::FBIG] {
            assert!(is_want_of_room(&said("Flush error", full.raw_os_error())), "{full}");
            assert!(is_want_of_room(&said("Compaction failed", full.raw_os_error())), "{full}");
            assert!(!is_want_of_room(&said("Worker #0 crashed", full.raw_os_error())), "that of the journal may be lost");
        }
        assert!(!is_want_of_room(&said("Flush error", rustix::io::Errno::IO.raw_os_error())));
        assert!(is_of_store("fjall::flush::worker") && !is_of_store("fjallet"));
    }
}
