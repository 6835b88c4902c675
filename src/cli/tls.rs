//! `kontor tls`: files of certificates, which `crate::tls` makes. No old file is overwritten.

use super::Done;
use super::pem_file::{authority, read, write_pair};
use super::tls_init::InitArgs;
use crate::defaults;
use crate::tls::{CertKind, CertRequest, create_ca, create_cert};
use clap::{Args, Subcommand};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Make a certificate authority and certificates
///
/// They are written into the current folder, never over an old file; keys are readable by their
/// owner alone.
#[derive(Subcommand, Debug)]
pub(super) enum TlsCommand {
    /// The authority that signs
    #[command(subcommand)]
    Ca(CaCommand),
    /// Certificates signed by it
    #[command(subcommand)]
    Cert(CertCommand),
    /// Make all of it at once, for all agents of some datacenters
    Init(InitArgs),
}

#[derive(Subcommand, Debug)]
pub(super) enum CaCommand {
    /// Make a certificate authority
    #[command(after_help = "Example:\n  kontor tls ca create")]
    Create(CaArgs),
}

#[derive(Subcommand, Debug)]
pub(super) enum CertCommand {
    /// Make a certificate of one kind
    #[command(after_help = "Example:\n  kontor tls cert create -server -dc=dc2 -additional-ipaddress=10.0.0.1")]
    Create(CertArgs),
}

#[derive(Args, Debug)]
pub(super) struct CaArgs {
    /// Days that it is valid
    #[arg(long, value_name = "DAYS", default_value_t = defaults::CA_DAYS)]
    days: u32,
    /// DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN", default_value = defaults::DOMAIN)]
    domain: String,
    /// Let it sign for the domain and localhost alone
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    name_constraint: Option<bool>,
    /// Let it sign for this domain too; may be repeated
    #[arg(long, value_name = "DOMAIN")]
    additional_name_constraint: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct CertArgs {
    #[command(flatten)]
    kind: KindArgs,
    /// Datacenter
    #[arg(long, value_name = "DC", default_value = defaults::DATACENTER)]
    dc: String,
    /// DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN", default_value = defaults::DOMAIN)]
    domain: String,
    /// Days that it is valid
    #[arg(long, value_name = "DAYS", default_value_t = defaults::CERT_DAYS)]
    days: u32,
    /// Name of the server's node, to be carried too
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Certificate of the authority [default: <domain>-agent-ca.pem]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Key of the authority [default: <domain>-agent-ca-key.pem]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Another DNS name; may be repeated
    #[arg(long, value_name = "NAME")]
    additional_dnsname: Vec<String>,
    /// Another address; may be repeated
    #[arg(long, value_name = "IP")]
    additional_ipaddress: Vec<IpAddr>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct KindArgs {
    /// For a server of a datacenter
    #[arg(long)]
    server: bool,
    /// For a client agent
    #[arg(long)]
    client: bool,
    /// For the command line
    #[arg(long)]
    cli: bool,
}

impl TlsCommand {
    pub(super) fn run(self) -> Result<Done, String> {
        let here = Path::new("");
        match self {
            TlsCommand::Ca(CaCommand::Create(args)) => args.run(here),
            TlsCommand::Cert(CertCommand::Create(args)) => args.run(here),
            TlsCommand::Init(args) => args.run(),
        }
    }
}

impl CaArgs {
    fn run(self, folder: &Path) -> Result<Done, String> {
        let mut allowed = self.additional_name_constraint;
        if self.name_constraint.unwrap_or(false) {
            allowed.extend([self.domain.clone(), "localhost".to_owned()]);
        } else if !allowed.is_empty() {
            return Err("-additional-name-constraint goes with -name-constraint".to_owned());
        }
        let (certificate, key) = authority(folder, &self.domain);
        if let Some(old) = [&certificate, &key].into_iter().find(|path| path.exists()) {
            return Err(format!("{} already exists; move it away to make another authority", old.display()));
        }
        let (certificate_pem, key_pem) = create_ca(&self.domain, self.days, &allowed).map_err(|fault| fault.to_string())?;
        write_pair((&key, &key_pem), (&certificate, &certificate_pem))?;
        Ok(Done::text(format!("==> Saved {}\n==> Saved {}\n", certificate.display(), key.display())))
    }
}

impl CertArgs {
    fn run(self, folder: &Path) -> Result<Done, String> {
        let (kind, word) = match (self.kind.server, self.kind.client) {
            (true, _) => (CertKind::Server, "server"),
            (false, true) => (CertKind::Client, "client"),
            (false, false) => (CertKind::Cli, "cli"),
        };
        if self.node.is_some() && kind != CertKind::Server {
            return Err("-node goes with -server".to_owned());
        }
        let (ca, ca_key) = authority(folder, &self.domain);
        let (ca, ca_key) = (self.ca.unwrap_or(ca), self.key.unwrap_or(ca_key));
        let request = CertRequest {
            kind,
            dc: self.dc.clone(),
            domain: self.domain.clone(),
            days: self.days,
            node: self.node,
            dns_names: self.additional_dnsname,
            ip_addresses: self.additional_ipaddress,
        };
        let made = create_cert(&read(&ca)?, &read(&ca_key)?, &request).map_err(|fault| fault.to_string())?;
        let (certificate, key) = write_numbered(folder, &format!("{}-{word}-{}", self.dc, self.domain), &made)?;
        Ok(Done::text(format!(
            "==> Using {} and {}\n==> Saved {}\n==> Saved {}\n",
            ca.display(),
            ca_key.display(),
            certificate.display(),
            key.display()
        )))
    }
}

/// Writes certificate and key under the first number of which neither file exists.
fn write_numbered(
    folder: &Path,
    prefix: &str,
    (certificate_pem, key_pem): &(String, String),
) -> Result<(PathBuf, PathBuf), String> {
    for number in 0..defaults::CERT_FILE_NUMBERS {
        let certificate = folder.join(format!("{prefix}-{number}.pem"));
        let key = folder.join(format!("{prefix}-{number}-key.pem"));
        if !certificate.exists() && !key.exists() {
            write_pair((&key, key_pem), (&certificate, certificate_pem))?;
            return Ok((certificate, key));
        }
    }
    Err(format!("there are {} certificates {prefix}-<number>.pem already; move them away", defaults::CERT_FILE_NUMBERS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::pem_file::write_new;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn certificates_take_the_next_free_number_and_keys_are_private() {
        let folder = tempfile::TempDir::new().unwrap();
        let made = ("CERT".to_owned(), "KEY".to_owned());
        for number in 0..3 {
            let (certificate, key) = write_numbered(folder.path(), "dc1-server-consul", &made).unwrap();
            assert_eq!(certificate, folder.path().join(format!("dc1-server-consul-{number}.pem")));
            assert_eq!(key, folder.path().join(format!("dc1-server-consul-{number}-key.pem")));
            assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn an_old_file_is_never_overwritten() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("consul-agent-ca.pem");
        std::fs::write(&path, "old").unwrap();
        assert!(write_new(&path, "new", 0o600).unwrap_err().contains("already exists"));
        let args = CaArgs { days: 1, domain: "consul".to_owned(), name_constraint: None, additional_name_constraint: Vec::new() };
        assert!(args.run(folder.path()).unwrap_err().contains("already exists"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    }
}
