//! Registrations on disk: one JSON file each under `services/`, `checks/` and `checks/state/` of
//! the data directory, as Consul has them.
//!
//! `registry` calls it. A file that cannot be understood is reported and set aside under another
//! name; it is never deleted and never stops the agent. Files hold tokens, so only the owner may
//! read them.

use crate::config::defaults::LOCAL_FILE_MAX;
use crate::model::check::{CheckStatus, CheckType, HealthCheck};
use crate::model::ids::Token;
use crate::model::service::NodeService;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{error, warn};

/// A service as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptService {
    /// The row.
    pub(super) service: NodeService,
    /// The token it was registered with.
    pub(super) token: Token,
}

/// A check as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptCheck {
    /// The row; its status is the initial one.
    pub(super) check: HealthCheck,
    /// How it is run.
    pub(super) definition: Option<CheckType>,
    /// The token it was registered with.
    pub(super) token: Token,
}

/// What a TTL check said last, and until when that holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptTtl {
    /// Whose it is.
    #[serde(rename = "CheckID")]
    pub(super) check_id: String,
    /// What it said.
    pub(super) status: CheckStatus,
    /// What it said.
    pub(super) output: String,
    /// When it expires, since the Unix epoch.
    pub(super) expires: Duration,
}

/// What a file says it is about; its name is made of it.
trait Kept: DeserializeOwned {
    fn id(&self) -> &str;
}

impl Kept for KeptService {
    fn id(&self) -> &str {
        &self.service.id
    }
}

impl Kept for KeptCheck {
    fn id(&self) -> &str {
        &self.check.check_id
    }
}

impl Kept for KeptTtl {
    fn id(&self) -> &str {
        &self.check_id
    }
}

/// The directories in which registrations are kept.
#[derive(Debug)]
pub(super) struct Disk {
    services: PathBuf,
    checks: PathBuf,
    states: PathBuf,
}

impl Disk {
    /// Makes the directories where they are missing.
    pub(super) fn open(data_dir: &Path) -> Result<Disk, String> {
        let checks = data_dir.join("checks");
        let disk = Disk { services: data_dir.join("services"), states: checks.join("state"), checks };
        for directory in [&disk.services, &disk.checks, &disk.states] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
                format!("cannot make the directory {} for registrations: {error}; check its owner and mode", directory.display())
            })?;
        }
        Ok(disk)
    }

    /// Everything that is kept and can be understood.
    pub(super) fn load(&self) -> Result<(Vec<KeptService>, Vec<KeptCheck>), String> {
        Ok((load_all(&self.services)?, load_all(&self.checks)?))
    }

    /// Keeps a service; on return it is on the disk.
    pub(super) fn keep_service(&self, kept: &KeptService) -> io::Result<()> {
        write(&self.services, kept.id(), kept, true)
    }

    /// Keeps a check; on return it is on the disk.
    pub(super) fn keep_check(&self, kept: &KeptCheck) -> io::Result<()> {
        write(&self.checks, kept.id(), kept, true)
    }

    /// Keeps what a TTL check said. Not flushed: a power cut costs one sign of life, and the next
    /// one comes within the TTL.
    pub(super) fn keep_ttl(&self, kept: &KeptTtl) -> io::Result<()> {
        write(&self.states, kept.id(), kept, false)
    }

    /// What a TTL check said last, if that is kept.
    pub(super) fn ttl(&self, check: &str) -> Option<KeptTtl> {
        let path = self.states.join(file_name(check));
        if path.exists() { load(&path) } else { None }
    }

    /// Forgets a service.
    pub(super) fn forget_service(&self, id: &str) -> io::Result<()> {
        remove(&self.services, id)
    }

    /// Forgets how a check is defined, not what it said.
    pub(super) fn forget_check_definition(&self, id: &str) -> io::Result<()> {
        remove(&self.checks, id)
    }

    /// Forgets a check and what it said.
    pub(super) fn forget_check(&self, id: &str) -> io::Result<()> {
        remove(&self.checks, id).and(remove(&self.states, id))
    }
}

/// Ids may hold any character and be of any length; their hash is a name for every file system.
fn file_name(id: &str) -> String {
    let hex: String = Sha256::digest(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.json")
}

/// Writes beside the old file and swaps: after a crash there is the old one or the new one.
fn write<T: Serialize>(directory: &Path, id: &str, value: &T, durable: bool) -> io::Result<()> {
    let path = directory.join(file_name(id));
    let fresh = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&fresh, &path)?;
    if durable { File::open(directory)?.sync_all() } else { Ok(()) }
}

fn remove(directory: &Path, id: &str) -> io::Result<()> {
    match fs::remove_file(directory.join(file_name(id))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_absent) => Ok(()),
        Ok(()) => File::open(directory)?.sync_all(),
    }
}

fn load_all<T: Kept>(directory: &Path) -> Result<Vec<T>, String> {
    let failed = |error: io::Error| format!("cannot read the registrations kept in {}: {error}", directory.display());
    let mut kept = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            kept.extend(load(&path));
        }
    }
    Ok(kept)
}

fn load<T: Kept>(path: &Path) -> Option<T> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LOCAL_FILE_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        // Not its fault: it may be readable at the next start.
        error!(file = %path.display(), %error, "a kept registration cannot be read and is not used");
        return None;
    }
    parse(path, &bytes).map_err(|why| set_aside(path, &why)).ok()
}

fn parse<T: Kept>(path: &Path, bytes: &[u8]) -> Result<T, String> {
    if bytes.len() as u64 > LOCAL_FILE_MAX {
        return Err(format!("expected at most {LOCAL_FILE_MAX} bytes"));
    }
    let kept: T = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let name = file_name(kept.id());
    if path.file_name().is_some_and(|found| found == name.as_str()) {
        Ok(kept)
    } else {
        Err(format!("it holds {:?}, which belongs into {name}", kept.id()))
    }
}

/// Gives a damaged file a name that is not read, and not taken yet.
fn set_aside(path: &Path, why: &str) {
    metrics::counter!("kontor.local.damaged").increment(1);
    let free = |number: &u32| {
        let extension = if *number == 0 { "damaged".to_owned() } else { format!("damaged.{number}") };
        let aside = path.with_extension(extension);
        (!aside.exists()).then_some(aside)
    };
    let Some(aside) = (0..1_000).find_map(|number| free(&number)) else {
        warn!(file = %path.display(), why, "a kept registration is damaged; it stays where it is and is not used");
        return;
    };
    match fs::rename(path, &aside) {
        Ok(()) => error!(file = %path.display(), aside = %aside.display(), why, "a kept registration is damaged and set aside"),
        Err(error) => error!(file = %path.display(), why, %error, "a kept registration is damaged and cannot be set aside"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn kept(id: &str) -> KeptService {
        let service = NodeService { id: id.to_owned(), service: "web".to_owned(), ..NodeService::default() };
        KeptService { service, token: Token("secret".to_owned()) }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept_is_found_again_under_any_id_and_forgotten_on_request() {
        let home = tempfile::tempdir().expect("a directory");
        let disk = Disk::open(home.path()).expect("opens");
        for id in ["web", "../../etc/passwd", "a/b\0c", &"x".repeat(5_000)] {
            disk.keep_service(&kept(id)).expect("kept");
            disk.keep_service(&kept(id)).expect("kept again");
            assert_eq!(disk.load().expect("readable").0, [kept(id)]);
            disk.forget_service(id).expect("forgotten");
            disk.forget_service(id).expect("forgotten twice");
            assert!(names(&disk.services).is_empty());
        }
    }

    #[test]
    fn only_the_owner_may_read_a_registration() {
        let home = tempfile::tempdir().expect("a directory");
        let disk = Disk::open(home.path()).expect("opens");
        disk.keep_service(&kept("web")).expect("kept");
        let mode = fs::metadata(disk.services.join(file_name("web"))).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn damaged_files_are_set_aside_and_the_others_are_read() {
        let home = tempfile::tempdir().expect("a directory");
        let disk = Disk::open(home.path()).expect("opens");
        disk.keep_service(&kept("good")).expect("kept");
        let truncated = &serde_json::to_vec(&kept("cut")).expect("json")[..20];
        fs::write(disk.services.join(file_name("cut")), truncated).expect("written");
        fs::write(disk.services.join(file_name("empty")), b"").expect("written");
        fs::copy(disk.services.join(file_name("good")), disk.services.join("misplaced.json")).expect("copied");
        fs::write(disk.services.join("half.tmp"), b"{").expect("written");

        assert_eq!(disk.load().expect("readable").0, [kept("good")]);
        let left = names(&disk.services);
        assert_eq!(left.iter().filter(|name| name.ends_with(".damaged")).count(), 3, "{left:?}");

        fs::write(disk.services.join(file_name("cut")), b"again").expect("written");
        assert_eq!(disk.load().expect("readable").0, [kept("good")]);
        assert!(names(&disk.services).iter().any(|name| name.ends_with(".damaged.1")));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("services"), b"in the way").expect("written");
        assert!(Disk::open(home.path()).expect_err("a refusal").contains("services"));
    }
}
