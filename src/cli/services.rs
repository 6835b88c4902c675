//! `kontor services`: register and deregister services with the agent.

use super::Done;
use super::client::{Call, Client};
use crate::config::services_of;
use crate::model::definition::ServiceDefinition;
use crate::model::service::ServiceAddress;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Register and deregister services with the agent.
#[derive(Subcommand, Debug)]
pub(super) enum ServicesCommand {
    /// Register services, from files with service definitions or one by flags
    #[command(after_help = "Example:\n  kontor services register web.hcl\n  kontor services register -name=web -port=80 -tag=v1")]
    Register(RegisterArgs),
    /// Deregister services, by files with their definitions or one by its id
    #[command(
        override_usage = "kontor services deregister [OPTIONS] <--id <ID>|FILE...>",
        after_help = "Example:\n  kontor services deregister web.hcl\n  kontor services deregister -id=web"
    )]
    Deregister(DeregisterArgs),
}

#[derive(Args, Debug, Default)]
pub(super) struct RegisterArgs {
    /// Id of the instance; the name when not given
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Name of the service
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Address of the instance; the node's when not given
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Port of the instance
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Metadata as key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// Tag; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Address by place, as lan=10.0.0.1:80; may be repeated
    #[arg(long, value_name = "PLACE=ADDRESS")]
    tagged_address: Vec<String>,
    /// Kind of the service, for proxies
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Files with service definitions, HCL or JSON
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct DeregisterArgs {
    /// Id of the instance
    #[arg(long, value_name = "ID", conflicts_with = "files")]
    id: Option<String>,
    /// Files with service definitions, HCL or JSON
    #[arg(value_name = "FILE", required_unless_present = "id")]
    files: Vec<PathBuf>,
}

impl ServicesCommand {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        match self {
            ServicesCommand::Register(args) => {
                let mut out = String::new();
                for service in args.definitions()? {
                    let body = serde_json::to_vec(&service).map_err(|error| error.to_string())?;
                    client.send(Call::put("/v1/agent/service/register").body(body)).await?;
                    out.push_str(&format!("Registered service: {}\n", service.name));
                }
                Ok(Done::text(out))
            }
            ServicesCommand::Deregister(args) => {
                let ids = match args.id {
                    Some(id) => vec![id],
                    None => from_files(&args.files)?
                        .into_iter()
                        .map(|service| if service.id.is_empty() { service.name } else { service.id })
                        .collect(),
                };
                let mut out = String::new();
                for id in ids {
                    client.send(Call::put("/v1/agent/service/deregister").segment(&id)).await?;
                    out.push_str(&format!("Deregistered service: {id}\n"));
                }
                Ok(Done::text(out))
            }
        }
    }
}

impl RegisterArgs {
    /// The services of the files, or the one that the flags describe.
    fn definitions(self) -> Result<Vec<ServiceDefinition>, String> {
        let by_flags = self.name.is_some() || self.id.is_some() || self.port.is_some() || self.address.is_some();
        match (by_flags, self.files.is_empty()) {
            (true, true) => Ok(vec![self.by_flags()?]),
            (false, false) => from_files(&self.files),
            (true, false) => Err("expected flags or files, got both".to_owned()),
            (false, true) => Err("expected -name and other flags, or files with service definitions; got neither".to_owned()),
        }
    }

    fn by_flags(self) -> Result<ServiceDefinition, String> {
        let name = self.name.filter(|name| !name.is_empty()).ok_or("-name: expected the name of the service, got none")?;
        let pair = |flag: &str, text: &str| {
            let (key, value) = text.split_once('=').ok_or_else(|| format!("-{flag}: expected key=value, got {text:?}"))?;
            Ok::<_, String>((key.to_owned(), value.to_owned()))
        };
        let place = |text: &String| {
            let (place, address) = pair("tagged-address", text)?;
            let port = address.rsplit_once(':').map(|(host, port)| (host.to_owned(), port.parse::<u16>()));
            match port {
                Some((address, Ok(port))) => Ok((place, ServiceAddress { address, port })),
                Some((_, Err(_))) => Err(format!("-tagged-address: expected a port in {text:?}")),
                None => Ok((place, ServiceAddress { address, port: 0 })),
            }
        };
        Ok(ServiceDefinition {
            name,
            id: self.id.unwrap_or_default(),
            kind: self.kind.unwrap_or_default(),
            address: self.address.unwrap_or_default(),
            port: self.port.unwrap_or(0),
            tags: self.tag,
            meta: self.meta.iter().map(|text| pair("meta", text)).collect::<Result<_, _>>()?,
            tagged_addresses: self.tagged_address.iter().map(place).collect::<Result<_, _>>()?,
            ..ServiceDefinition::default()
        })
    }
}

/// All services of all files; a file without one is a mistake.
fn from_files(files: &[PathBuf]) -> Result<Vec<ServiceDefinition>, String> {
    let mut all = Vec::new();
    for file in files {
        let services =
            services_of(file).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        if services.is_empty() {
            return Err(format!("{}: expected a service or services stanza, got none", file.display()));
        }
        all.extend(services);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_describe_one_service() {
        let args = RegisterArgs {
            name: Some("web".to_owned()),
            port: Some(80),
            meta: vec!["a=b=c".to_owned()],
            tag: vec!["v1".to_owned()],
            tagged_address: vec!["lan=10.0.0.1:81".to_owned(), "wan=x.example".to_owned()],
            ..RegisterArgs::default()
        };
        let services = args.definitions().unwrap();
        let service = &services[0];
        assert_eq!((service.name.as_str(), service.port, service.meta["a"].as_str()), ("web", 80, "b=c"));
        assert_eq!(service.tagged_addresses["lan"], ServiceAddress { address: "10.0.0.1".to_owned(), port: 81 });
        assert_eq!(service.tagged_addresses["wan"].port, 0);
        assert!(RegisterArgs::default().definitions().is_err());
        let nameless = RegisterArgs { port: Some(1), ..RegisterArgs::default() };
        assert!(nameless.definitions().unwrap_err().contains("-name"));
    }

    #[test]
    fn files_in_both_languages_define_services_and_their_mistakes_are_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let hcl = file("a.hcl", "service {\n  name = \"web\"\n  port = 80\n}\n");
        let json = file("b.json", r#"{"services": [{"Name": "db"}, {"name": "cache", "id": "c1"}]}"#);
        let names: Vec<String> = from_files(&[hcl, json]).unwrap().into_iter().map(|service| service.name).collect();
        assert_eq!(names, ["web", "db", "cache"]);
        let empty = file("c.json", "{}");
        assert!(from_files(&[empty]).unwrap_err().contains("expected a service"));
        let wrong = file("d.json", r#"{"service": {"name": "x", "prot": 1}}"#);
        assert!(from_files(&[wrong]).unwrap_err().contains("invalid config key service.prot"));
    }
}
