//! Probes a target once: whatever its kind, bounded in time, memory and output.
//!
//! Made of a check's definition; run by `runners`. Checks that nobody probes (TTL, alias,
//! maintenance) have none.

use super::connect::Tls;
use super::docker::DockerProbe;
use super::finding::Finding;
use super::grpc::GrpcProbe;
use super::h2ping::H2PingProbe;
use super::http::HttpProbe;
use super::os_service::OsServiceProbe;
use super::script::ScriptProbe;
use super::tcp::TcpProbe;
use super::udp::UdpProbe;
use crate::defaults::{CHECK_SCRIPT_TIMEOUT, CHECK_TIMEOUT};
use crate::local::definition;
use crate::model::check::CheckType;
use crate::proxy::Proxies;
use crate::tls::OutgoingTls;
use std::time::Duration;

/// What is the same for every check of this agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProbeSettings {
    /// How targets are spoken to with TLS.
    pub(crate) tls: OutgoingTls,
    /// By what HTTP checks go.
    pub(crate) proxies: Proxies,
    /// Bytes of output kept where a check asks for no fewer. `check_output_max_size`
    pub(crate) output_max: usize,
}

impl ProbeSettings {
    /// Bytes of output kept for `check`.
    pub(crate) fn output_max(&self, check: &CheckType) -> usize {
        let own = usize::try_from(check.output_max_size).ok().filter(|own| *own > 0);
        own.map_or(self.output_max, |own| own.min(self.output_max))
    }
}

/// How one target is probed.
#[derive(Debug)]
pub(crate) struct Probe {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Http(Box<HttpProbe>),
    Tcp(TcpProbe),
    Udp(UdpProbe),
    Grpc(GrpcProbe),
    H2Ping(H2PingProbe),
    Script(ScriptProbe),
    Docker(Box<DockerProbe>),
    OsService(OsServiceProbe),
}

impl Probe {
    /// The probe of `check`; nothing for one that is not probed.
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
        let command = timeout(CHECK_SCRIPT_TIMEOUT);
        let kind = match definition::kind(check) {
            "http" => {
                let proxies = settings.proxies.clone();
                Kind::Http(Box::new(HttpProbe::new(check, tls(false), proxies, network, output_max)))
            }
            "tcp" => {
                Kind::Tcp(TcpProbe { target: check.tcp.clone(), tls: check.tcp_use_tls.then(|| tls(false)), timeout: network })
            }
            "udp" => Kind::Udp(UdpProbe { target: check.udp.clone(), timeout: network }),
            "grpc" => {
                Kind::Grpc(GrpcProbe { target: check.grpc.clone(), tls: check.grpc_use_tls.then(|| tls(true)), timeout: network })
            }
            "h2ping" => Kind::H2Ping(H2PingProbe {
                target: check.h2ping.clone(),
                tls: check.h2ping_use_tls.unwrap_or(true).then(|| tls(true)),
                timeout: network,
            }),
            "script" => Kind::Script(ScriptProbe { args: check.script_args.clone(), timeout: command, output_max }),
            "docker" => {
                let (container, args) = (&check.docker_container_id, &check.script_args);
                Kind::Docker(Box::new(DockerProbe::new(container, args, command, output_max)))
            }
            "os_service" => Kind::OsService(OsServiceProbe { service: check.os_service.clone(), timeout: command, output_max }),
            _ => return None,
        };
        Some(Probe { kind })
    }

    /// Probes once. Dropping it ends what it began.
    pub(crate) async fn run(&self) -> Finding {
        // On the heap, and only while it lasts: thousands of checks sleep most of the time.
        match &self.kind {
            Kind::Http(probe) => Box::pin(probe.run()).await,
            Kind::Tcp(probe) => Box::pin(probe.run()).await,
            Kind::Udp(probe) => Box::pin(probe.run()).await,
            Kind::Grpc(probe) => Box::pin(probe.run()).await,
            Kind::H2Ping(probe) => Box::pin(probe.run()).await,
            Kind::Script(probe) => Box::pin(probe.run()).await,
            Kind::Docker(probe) => Box::pin(probe.run()).await,
            Kind::OsService(probe) => Box::pin(probe.run()).await,
        }
    }
}
