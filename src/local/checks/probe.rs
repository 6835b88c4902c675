//! The probe of a check's target, bounded in time, memory and output. TTL, alias and maintenance checks have none.

use super::connect::{Target, Tls};
use super::docker::DockerProbe;
use super::finding::Finding;
use super::http::HttpProbe;
use super::process::Command;
use super::{grpc, h2ping, os_service, script, tcp, udp};
use crate::defaults::{CHECK_SCRIPT_TIMEOUT, CHECK_TIMEOUT};
use crate::local::definition;
use crate::model::check::CheckType;
use crate::proxy::Proxies;
use crate::tls::OutgoingTls;
use std::time::Duration;

/// The settings that all checks of this agent share.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProbeSettings {
    pub(crate) tls: OutgoingTls,
    pub(crate) proxies: Proxies,
    /// Bytes of output kept where a check asks for no fewer. `check_output_max_size`
    pub(crate) output_max: usize,
}

impl ProbeSettings {
    pub(crate) fn output_max(&self, check: &CheckType) -> usize {
        let own = usize::try_from(check.output_max_size).ok().filter(|own| *own > 0);
        own.map_or(self.output_max, |own| own.min(self.output_max))
    }
}

/// The probe of one target.
#[derive(Debug)]
pub(crate) struct Probe(Kind);

#[derive(Debug)]
enum Kind {
    Http(Box<HttpProbe>),
    Tcp(Target),
    Udp(Target),
    Grpc(Target),
    H2Ping(Target),
    Script(Command),
    Docker(Box<DockerProbe>),
    OsService(String, Command),
}

impl Probe {
    /// The probe of `check`; `None` for a kind that has none.
    pub(crate) fn of(check: &CheckType, settings: &ProbeSettings) -> Option<Probe> {
        let output_max = settings.output_max(check);
        let timeout = |default: Duration| if check.timeout.is_zero() { default } else { check.timeout };
        let tls = |http2: bool| Tls {
            settings: settings.tls.clone(),
            verify: !check.tls_skip_verify,
            http2,
            server_name: check.tls_server_name.clone(),
        };
        let network = timeout(CHECK_TIMEOUT);
        let target = |address: &str, tls| Target { address: address.to_owned(), tls, timeout: network };
        let command = |args| Command { args, timeout: timeout(CHECK_SCRIPT_TIMEOUT), output_max };
        let kind = match definition::kind(check) {
            "http" => {
                let proxies = settings.proxies.clone();
                Kind::Http(Box::new(HttpProbe::new(check, tls(false), proxies, network, output_max)))
            }
            "tcp" => Kind::Tcp(target(&check.tcp, check.tcp_use_tls.then(|| tls(false)))),
            "udp" => Kind::Udp(target(&check.udp, None)),
            "grpc" => Kind::Grpc(target(&check.grpc, check.grpc_use_tls.then(|| tls(true)))),
            "h2ping" => Kind::H2Ping(target(&check.h2ping, check.h2ping_use_tls.unwrap_or(true).then(|| tls(true)))),
            "script" => Kind::Script(command(check.script_args.clone())),
            "docker" => Kind::Docker(Box::new(DockerProbe::new(&check.docker_container_id, command(check.script_args.clone())))),
            "os_service" => Kind::OsService(check.os_service.clone(), command(os_service::question(&check.os_service))),
            _ => return None,
        };
        Some(Probe(kind))
    }

    /// Probes once. Dropping the future ends all that it began.
    pub(crate) async fn run(&self) -> Finding {
        // On the heap, and only while it lasts: thousands of checks sleep most of the time.
        match &self.0 {
            Kind::Http(probe) => Box::pin(probe.run()).await,
            Kind::Tcp(target) => Box::pin(tcp::probe(target)).await,
            Kind::Udp(target) => Box::pin(udp::probe(target)).await,
            Kind::Grpc(target) => Box::pin(grpc::probe(target)).await,
            Kind::H2Ping(target) => Box::pin(h2ping::probe(target)).await,
            Kind::Script(script) => Box::pin(script::probe(script)).await,
            Kind::Docker(probe) => Box::pin(probe.run()).await,
            Kind::OsService(service, question) => Box::pin(os_service::probe(service, question)).await,
        }
    }
}
