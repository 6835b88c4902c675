//! `kontor tls init`: certificates and keys of a new federation in one go. A repeated run makes only missing files.

use super::pem_file::{authority, read, write_new, write_pair};
use super::{Done, keygen};
use crate::defaults;
use crate::tls::{CertKind, CertRequest, create_ca, create_cert};
use clap::Args;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Make an authority, certificates for all agents of some datacenters, and a gossip key
///
/// Existing files stay: with one more -dc, or more -servers, only missing files are made. The authority's key is
/// needed for that alone; no agent reads it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor tls init -dir=tls -ca-dir=ca -dc=dc1 -dc=dc2 -servers=3 -clients=2")]
pub(super) struct InitArgs {
    /// Datacenter; may be repeated
    #[arg(long, value_name = "DC", required = true)]
    dc: Vec<String>,
    /// Servers of each datacenter
    #[arg(long, value_name = "NUMBER", default_value_t = defaults::INIT_SERVERS)]
    servers: u32,
    /// Client agents of each datacenter
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    clients: u32,
    /// Folder for what agents read: <dc>-server-<domain>-0.pem and on, the authority's certificate, encrypt.json
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// Folder for the authority itself, with its key [default: -dir]
    #[arg(long, value_name = "FOLDER")]
    ca_dir: Option<PathBuf>,
    /// Days that certificates are valid
    #[arg(long, value_name = "DAYS", default_value_t = defaults::CERT_DAYS)]
    days: u32,
    /// DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN", default_value = defaults::DOMAIN)]
    domain: String,
}

impl InitArgs {
    pub(super) fn run(self) -> Result<Done, String> {
        let ca_dir = self.ca_dir.clone().unwrap_or_else(|| self.dir.clone());
        for folder in [&self.dir, &ca_dir] {
            fs::create_dir_all(folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        }
        let mut made = Vec::new();
        let (ca, ca_key) = self.authority(&ca_dir, &mut made)?;
        self.gossip_key(&mut made)?;
        for dc in &self.dc {
            for (kind, word, count) in [(CertKind::Server, "server", self.servers), (CertKind::Client, "client", self.clients)] {
                for number in 0..count {
                    let certificate = self.dir.join(format!("{dc}-{word}-{}-{number}.pem", self.domain));
                    let key = self.dir.join(format!("{dc}-{word}-{}-{number}-key.pem", self.domain));
                    if certificate.exists() && key.exists() {
                        continue;
                    }
                    let pems = create_cert(&ca, &ca_key, &self.request(kind, dc)).map_err(|fault| fault.to_string())?;
                    rewrite_pair((&certificate, &pems.0), (&key, &pems.1))?;
                    made.extend([certificate, key]);
                }
            }
        }
        let lines: String = made.iter().map(|path| format!("==> Saved {}\n", path.display())).collect();
        Ok(Done::text(if lines.is_empty() { "==> Everything is there already\n".to_owned() } else { lines }))
    }

    fn request(&self, kind: CertKind, dc: &str) -> CertRequest {
        let (dc, domain) = (dc.to_owned(), self.domain.clone());
        CertRequest { kind, dc, domain, days: self.days, node: None, dns_names: Vec::new(), ip_addresses: Vec::new() }
    }

    /// The authority's certificate and key, made if missing, with a copy of the certificate for the agents.
    fn authority(&self, ca_dir: &Path, made: &mut Vec<PathBuf>) -> Result<(String, String), String> {
        let (certificate, key) = authority(ca_dir, &self.domain);
        if !certificate.exists() {
            let pems = create_ca(&self.domain, defaults::CA_DAYS, &[]).map_err(|fault| fault.to_string())?;
            rewrite_pair((&certificate, &pems.0), (&key, &pems.1))?;
            made.extend([certificate.clone(), key.clone()]);
        }
        let pems = (read(&certificate)?, read(&key)?);
        let (copy, _) = authority(&self.dir, &self.domain);
        if !copy.exists() {
            write_new(&copy, &pems.0, 0o644)?;
            made.push(copy);
        } else if read(&copy)? != pems.0 {
            return Err(format!(
                "{} is of another authority than {}: certificates of both would not trust each other; \
                 bring the old authority back, or move its certificates away",
                copy.display(),
                certificate.display()
            ));
        }
        Ok(pems)
    }

    fn gossip_key(&self, made: &mut Vec<PathBuf>) -> Result<(), String> {
        let path = self.dir.join("encrypt.json");
        if !path.exists() {
            write_new(&path, &format!("{}\n", json!({ "encrypt": keygen::key()? })), 0o600)?;
            made.push(path);
        }
        Ok(())
    }
}

/// Replaces the files of an interrupted run. The key is written first, so that each certificate has its key.
fn rewrite_pair(certificate: (&Path, &str), key: (&Path, &str)) -> Result<(), String> {
    for (path, _) in [key, certificate] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{} cannot be replaced: {error}", path.display()));
            }
            _ => {}
        }
    }
    write_pair(key, certificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn init(folder: &Path, dcs: &[&str], servers: u32) -> Result<Done, String> {
        InitArgs {
            dc: dcs.iter().map(|dc| (*dc).to_owned()).collect(),
            servers,
            clients: 1,
            dir: folder.join("tls"),
            ca_dir: Some(folder.join("ca")),
            days: 30,
            domain: "consul".to_owned(),
        }
        .run()
    }

    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let listed = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        listed.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect()
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_left() {
        let folder = tempfile::TempDir::new().unwrap();
        init(folder.path(), &["dc1"], 1).unwrap();
        let first = files(&folder.path().join("tls"));
        let names: Vec<&str> = first.keys().map(String::as_str).collect();
        let expected = [
            "consul-agent-ca.pem",
            "dc1-client-consul-0-key.pem",
            "dc1-client-consul-0.pem",
            "dc1-server-consul-0-key.pem",
            "dc1-server-consul-0.pem",
            "encrypt.json",
        ];
        assert_eq!(names, expected, "the authority's key is not among what agents read");
        assert_eq!(init(folder.path(), &["dc1"], 1).unwrap().out, "==> Everything is there already\n");
        init(folder.path(), &["dc1", "dc2"], 2).unwrap();
        let second = files(&folder.path().join("tls"));
        assert!(first.iter().all(|(name, bytes)| second.get(name) == Some(bytes)), "nothing is made anew");
        assert!(
            ["dc1-server-consul-1.pem", "dc2-server-consul-1.pem", "dc2-client-consul-0.pem"]
                .iter()
                .all(|name| second.contains_key(*name))
        );
    }

    #[test]
    fn an_interrupted_run_is_completed_and_a_lost_authority_told() {
        let folder = tempfile::TempDir::new().unwrap();
        init(folder.path(), &["dc1"], 1).unwrap();
        fs::remove_file(folder.path().join("tls/dc1-server-consul-0.pem")).unwrap();
        assert_eq!(init(folder.path(), &["dc1"], 1).unwrap().out.lines().count(), 2);
        fs::remove_dir_all(folder.path().join("ca")).unwrap();
        assert!(init(folder.path(), &["dc1"], 1).unwrap_err().contains("is of another authority"));
    }
}
