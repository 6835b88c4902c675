//! Registrations on disk: one JSON file each under `services/`, `checks/` and `checks/state/`, as Consul has them.

use super::kept::{Kept, KeptCheck, KeptService, KeptTtl, file_name, load_all, write};
use super::step::Step;
use super::{Source, inherit};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The content of all files that can be understood.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) services: Vec<KeptService>,
    pub(super) checks: Vec<KeptCheck>,
    pub(super) words: Vec<KeptTtl>,
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

    /// Reads all files that can be understood.
    pub(super) fn load(&self) -> Result<Found, String> {
        inherit::take(&self.services, &self.checks, &self.states)
            .map_err(|error| format!("cannot take over the registrations that Consul kept in the data directory: {error}"))?;
        Ok(Found { services: load_all(&self.services)?, checks: load_all(&self.checks)?, words: load_all(&self.states)? })
    }

    /// Makes the files agree with `steps`; it blocks for as long as the disk takes. Checks are written before their service,
    /// and removals come last, services first. A new file is taken back when another cannot be written.
    pub(super) fn carry_out(&self, steps: &[Step]) -> io::Result<()> {
        let mut touched = Touched::default();
        let mut in_order: Vec<&Step> = steps.iter().collect();
        in_order.sort_by_key(|step| step.place_on_disk());
        for step in in_order {
            if let Err(error) = self.carry_out_one(step, &mut touched) {
                // A file that cannot be taken back either is read at the next start.
                touched.made.iter().for_each(|file| _ = fs::remove_file(file));
                return Err(error);
            }
        }
        touched.folders.into_iter().try_for_each(|folder| File::open(folder)?.sync_all())
    }

    fn carry_out_one<'a>(&'a self, step: &Step, touched: &mut Touched<'a>) -> io::Result<()> {
        match step {
            Step::PutService { row, token, source: Source::Api } => {
                let kept = KeptService { service: (**row).clone(), token: token.clone() };
                keep(&self.services, &kept, touched)?;
            }
            Step::PutCheck { new, source: Source::Api } => {
                let kept = KeptCheck { check: new.row.clone(), definition: new.check.clone(), token: new.token.clone() };
                keep(&self.checks, &kept, touched)?;
            }
            Step::PutService { row, source: Source::File, .. } => self.forget(&self.services, &row.id, touched)?,
            // Only the definition: the state of a TTL check is still wanted.
            Step::PutCheck { new, source: Source::File } => self.forget(&self.checks, &new.row.check_id, touched)?,
            Step::DropService(id) => self.forget(&self.services, id, touched)?,
            Step::DropCheck(id) => {
                self.forget(&self.checks, id, touched)?;
                self.forget(&self.states, id, touched)?;
            }
            Step::Reloaded { .. } => {}
        }
        Ok(())
    }

    /// Keeps the state of a TTL check, unflushed: a power cut costs one update, and another follows within the TTL.
    pub(super) fn keep_word(&self, kept: &KeptTtl) -> io::Result<()> {
        write(&self.states, kept, false)
    }

    fn forget<'a>(&self, folder: &'a Path, id: &str, touched: &mut Touched<'a>) -> io::Result<()> {
        match fs::remove_file(folder.join(file_name(id))) {
            Ok(()) => _ = touched.folders.insert(folder),
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The entries of folders that a change has touched so far.
#[derive(Default)]
struct Touched<'a> {
    /// Each is flushed once.
    folders: BTreeSet<&'a Path>,
    /// The files that are new.
    made: Vec<PathBuf>,
}

fn keep<'a, T: Kept>(folder: &'a Path, kept: &T, touched: &mut Touched<'a>) -> io::Result<()> {
    let file = folder.join(file_name(kept.id()));
    if !file.exists() {
        touched.made.push(file);
    }
    touched.folders.insert(folder);
    write(folder, kept, true)
}

#[cfg(test)]
mod tests {
    use super::super::definition::NewCheck;
    use super::*;
    use crate::model::check::{CheckType, HealthCheck};
    use crate::model::ids::Token;
    use crate::model::service::NodeService;
    use std::os::unix::fs::PermissionsExt;

    fn open() -> (tempfile::TempDir, Disk) {
        let home = tempfile::tempdir().expect("a directory");
        let disk = Disk::open(home.path()).expect("opens");
        (home, disk)
    }

    fn kept(id: &str) -> KeptService {
        let service = NodeService { id: id.to_owned(), service: "web".to_owned(), ..NodeService::default() };
        KeptService { service, token: Token("secret".to_owned()) }
    }

    fn put(id: &str) -> Step {
        let KeptService { service, token } = kept(id);
        Step::PutService { row: Box::new(service), token, source: Source::Api }
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
        let (_home, disk) = open();
        for id in ["web", "../../etc/passwd", "a/b\0c", &"x".repeat(5_000)] {
            disk.carry_out(&[put(id), put(id)]).expect("kept, and kept again");
            assert_eq!(disk.load().expect("readable").services, [kept(id)]);
            let drop = || Step::DropService(id.to_owned());
            disk.carry_out(&[drop(), drop()]).expect("forgotten twice");
            assert!(names(&disk.services).is_empty());
        }
    }

    #[test]
    fn a_registration_that_finds_no_place_leaves_nothing_of_itself_and_takes_nothing_away() {
        let (_home, disk) = open();
        let check = |id: &str| {
            let row = HealthCheck { check_id: id.to_owned(), service_id: "web".to_owned(), ..HealthCheck::default() };
            let new = NewCheck { row, check: Some(CheckType::default()), token: Token::default() };
            Step::PutCheck { new: Box::new(new), source: Source::Api }
        };
        disk.carry_out(&[check("old")]).expect("kept");
        fs::remove_dir(&disk.services).expect("empty");
        fs::write(&disk.services, "in the way").expect("written");
        let refused = disk.carry_out(&[Step::DropCheck("old".to_owned()), put("web"), check("new")]);
        assert!(refused.is_err());
        assert_eq!(names(&disk.checks), [file_name("old"), "state".to_owned()]);
    }

    #[test]
    fn only_the_owner_may_read_a_registration() {
        let (_home, disk) = open();
        disk.carry_out(&[put("web")]).expect("kept");
        let mode = fs::metadata(disk.services.join(file_name("web"))).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn damaged_files_are_set_aside_and_the_others_are_read() {
        let (_home, disk) = open();
        disk.carry_out(&[put("good")]).expect("kept");
        let truncated = &serde_json::to_vec(&kept("cut")).expect("json")[..20];
        fs::write(disk.services.join(file_name("cut")), truncated).expect("written");
        fs::write(disk.services.join(file_name("empty")), b"").expect("written");
        fs::copy(disk.services.join(file_name("good")), disk.services.join("misplaced.json")).expect("copied");
        fs::write(disk.services.join("half.tmp"), b"{").expect("written");

        assert_eq!(disk.load().expect("readable").services, [kept("good")]);
        let left = names(&disk.services);
        assert_eq!(left.iter().filter(|name| name.ends_with(".damaged")).count(), 3, "{left:?}");

        fs::write(disk.services.join(file_name("cut")), b"again").expect("written");
        assert_eq!(disk.load().expect("readable").services, [kept("good")]);
        assert!(names(&disk.services).iter().any(|name| name.ends_with(".damaged.1")));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("services"), b"in the way").expect("written");
        assert!(Disk::open(home.path()).expect_err("a refusal").contains("services"));
    }
}
