//! The settings about addresses, kept so that a running agent can look its addresses up anew ([`Config::located`]).

use super::chooser::{Chooser, Found, ONLY};
use super::file::File;
use super::interfaces::Host;
use super::problems::Problems;
use super::{Config, network, template};
use std::net::IpAddr;

/// The settings that name addresses, and the addresses found last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// The keys about addresses alone.
    file: Box<File>,
    found: Found,
}

/// The wanted addresses of a running agent.
#[derive(Clone, Debug)]
pub struct Located {
    /// The settings with the addresses of now; an address that was not found stays.
    pub config: Config,
    /// Why some addresses stay.
    pub missing: Vec<String>,
}

impl Places {
    /// The settings of `file` about addresses, with those that `chooser` has found.
    pub(super) fn new(file: &File, chooser: Chooser<'_>) -> Places {
        let file = File {
            bind_addr: file.bind_addr.clone(),
            client_addr: file.client_addr.clone(),
            advertise_addr: file.advertise_addr.clone(),
            advertise_addr_ipv4: file.advertise_addr_ipv4.clone(),
            advertise_addr_ipv6: file.advertise_addr_ipv6.clone(),
            advertise_addr_wan: file.advertise_addr_wan.clone(),
            advertise_addr_wan_ipv4: file.advertise_addr_wan_ipv4.clone(),
            advertise_addr_wan_ipv6: file.advertise_addr_wan_ipv6.clone(),
            serf_lan: file.serf_lan.clone(),
            serf_wan: file.serf_wan.clone(),
            addresses: file.addresses.clone(),
            ports: file.ports.clone(),
            tagged_addresses: file.tagged_addresses.clone(),
            ..File::default()
        };
        Places { file: Box::new(file), found: chooser.found }
    }

    /// True when both are written alike.
    pub(super) fn says_as(&self, other: &Places) -> bool {
        self.file == other.file
    }

    fn templates(&self) -> impl Iterator<Item = &str> {
        let file = &*self.file;
        let keys = [
            &file.bind_addr,
            &file.client_addr,
            &file.advertise_addr,
            &file.advertise_addr_ipv4,
            &file.advertise_addr_ipv6,
            &file.advertise_addr_wan,
            &file.advertise_addr_wan_ipv4,
            &file.advertise_addr_wan_ipv6,
            &file.serf_lan,
            &file.serf_wan,
        ];
        let listeners = file.addresses.iter().flat_map(|addresses| [&addresses.dns, &addresses.http, &addresses.https]);
        keys.into_iter().chain(listeners).filter_map(Option::as_deref)
    }
}

impl Config {
    /// True when any address depends on the host's, and so may change while the agent runs.
    pub fn may_move(&self) -> bool {
        self.places.found.contains_key(ONLY) || self.places.templates().any(template::is_template)
    }

    /// The host's addresses that this agent uses or advertises, as far as it looks them up.
    pub fn in_use(&self) -> Vec<IpAddr> {
        self.places.found.values().flatten().copied().collect()
    }

    /// The same agent on the host as it is now. An address that is not found stays as it was.
    pub fn located(&self, host: &Host) -> Located {
        let mut chooser = Chooser::new(host, self.places.found.clone());
        let (mut config, mut problems) = (self.clone(), Problems::default());
        (config.http, config.https, config.dns) = (Vec::new(), Vec::new(), Vec::new());
        network::addresses(&self.places.file, &mut chooser, &mut config, &mut problems);
        if !config.tls.has_certificate() {
            config.https.clear();
        }
        let mut missing = std::mem::take(&mut chooser.missing);
        if problems.errors.is_empty() {
            config.places = Places { file: self.places.file.clone(), found: chooser.found };
            return Located { config, missing };
        }
        // Two listeners on one address, for example: nothing moves.
        missing.extend(problems.errors.into_iter().map(|error| error.message));
        Located { config: self.clone(), missing }
    }

    pub fn take_addresses(&mut self, other: &Config) {
        let Config { bind, advertise, advertise_wan, rpc, bridge, serf_lan, serf_wan, .. } = other;
        (self.bind, self.advertise, self.advertise_wan) = (*bind, *advertise, *advertise_wan);
        (self.rpc, self.bridge, self.serf_lan, self.serf_wan) = (*rpc, *bridge, *serf_lan, *serf_wan);
        self.http.clone_from(&other.http);
        self.https.clone_from(&other.https);
        self.dns.clone_from(&other.dns);
        self.client_addrs.clone_from(&other.client_addrs);
        self.tagged_addresses.clone_from(&other.tagged_addresses);
        self.places.clone_from(&other.places);
    }
}

#[cfg(test)]
mod tests {
    use super::super::interfaces::tests::host;
    use super::super::{HttpAddress, Sources, resolve_on};
    use super::*;
    use serde_json::{Value, json};

    fn start(flags: Value, host: &Host) -> Config {
        let flags = [json!({"data_dir": "/d"}), flags].into_iter().flat_map(|object| object.as_object().cloned().unwrap());
        resolve_on(&Sources { flags: Value::Object(flags.collect()), ..Sources::default() }, host).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_agent_whose_addresses_are_written_out_never_moves() {
        let here = host(&[("eth0", "10.0.0.5/24")]);
        assert!(!start(json!({"bind_addr": "10.0.0.5"}), &here).may_move());
        assert!(!start(json!({"advertise_addr": "10.0.0.5"}), &here).may_move());
        assert!(start(json!({}), &here).may_move(), "the only private address is told");
        assert!(start(json!({"bind_addr": "10.0.0.5", "addresses": {"http": "{{ GetPrivateIP }}"}}), &here).may_move());
    }

    #[test]
    fn a_new_address_is_found_by_template_in_every_key() {
        let here = host(&[("lo", "127.0.0.1/8"), ("eth0", "10.0.0.5/24"), ("eth1", "10.9.0.5/24")]);
        let settings = json!({
            "bind_addr": r#"{{ GetAllInterfaces | include "network" "10.0.0.0/16" | attr "address" }}"#,
            "serf_wan": r#"{{ GetInterfaceIP "eth1" }}"#,
            "advertise_addr_wan": r#"{{ GetInterfaceIP "eth1" }}"#,
            "client_addr": r#"{{ GetInterfaceIP "eth1" }}"#,
            "addresses": {"http": r#"127.0.0.1 {{ GetInterfaceIP "eth0" }}"#},
        });
        let agent = start(settings, &here);
        // Both came back with other addresses, and in the other order.
        let moved = host(&[("lo", "127.0.0.1/8"), ("eth1", "10.9.0.6/24"), ("eth0", "10.0.0.6/24")]);
        let Located { config, missing } = agent.located(&moved);
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!((config.bind, config.advertise, config.advertise_wan), (ip("10.0.0.6"), ip("10.0.0.6"), ip("10.9.0.6")));
        assert_eq!((config.rpc.ip(), config.bridge.ip(), config.rpc.port()), (ip("10.0.0.6"), ip("10.9.0.6"), 8300));
        assert_eq!((config.serf_lan.ip(), config.serf_wan.unwrap().ip()), (ip("10.0.0.6"), ip("10.9.0.6")));
        let tcp = |text: &str| HttpAddress::Tcp(text.parse().unwrap());
        assert_eq!(config.http, [tcp("127.0.0.1:8500"), tcp("10.0.0.6:8500")]);
        assert_eq!(config.client_addrs, [ip("10.9.0.6")]);
        assert_eq!(config.tagged_addresses["wan_ipv4"], "10.9.0.6");
        assert_eq!(config.located(&moved).config.places, config.places);
    }

    #[test]
    fn what_is_not_there_stays_as_it_was_and_the_rest_moves() {
        let here = host(&[("eth0", "10.0.0.5/24"), ("eth1", "10.9.0.5/24")]);
        let agent =
            start(json!({"bind_addr": r#"{{ GetInterfaceIP "eth0" }}"#, "serf_wan": r#"{{ GetInterfaceIP "eth1" }}"#}), &here);
        let Located { config, missing } = agent.located(&host(&[("eth0", "10.0.0.6/24")]));
        assert_eq!((config.bind, config.bridge.ip()), (ip("10.0.0.6"), ip("10.9.0.5")));
        assert_eq!(missing.len(), 1);
        assert!(missing[0].contains("serf_wan: template {{ GetInterfaceIP \"eth1\" }}"), "{missing:?}");
        assert!(missing[0].contains("eth0 10.0.0.6/24"), "{missing:?}");
        let back = config.located(&host(&[("eth1", "10.9.0.7/24"), ("eth0", "10.0.0.6/24")]));
        assert_eq!((back.config.bridge.ip(), back.missing.len()), (ip("10.9.0.7"), 0));
    }

    #[test]
    fn the_only_private_address_is_followed_and_kept_when_others_come() {
        let agent = start(json!({}), &host(&[("eth0", "10.0.0.5/24")]));
        let two = host(&[("eth1", "10.9.0.5/24"), ("eth0", "10.0.0.5/24")]);
        let Located { config, missing } = agent.located(&two);
        assert_eq!((config.advertise, missing.len()), (ip("10.0.0.5"), 0));
        assert_eq!(agent.located(&host(&[("eth0", "10.0.0.6/24")])).config.advertise, ip("10.0.0.6"));
        let riddle = agent.located(&host(&[("eth1", "10.9.0.5/24"), ("eth0", "10.0.0.6/24")]));
        assert_eq!((riddle.config.advertise, riddle.missing.len()), (ip("10.0.0.5"), 1));
    }

    #[test]
    fn https_stays_shut_without_a_certificate_wherever_the_agent_goes() {
        let agent = start(
            json!({"ports": {"https": 8501}, "client_addr": r#"{{ GetInterfaceIP "eth0" }}"#}),
            &host(&[("eth0", "10.0.0.5/24")]),
        );
        assert!(agent.https.is_empty());
        let moved = agent.located(&host(&[("eth0", "10.0.0.6/24")])).config;
        assert_eq!((moved.client_addrs, moved.https.len()), (vec![ip("10.0.0.6")], 0));
    }

    #[test]
    fn listeners_that_would_meet_leave_everything_as_it_was() {
        let here = host(&[("eth0", "10.0.0.5/24"), ("eth1", "10.9.0.5/24")]);
        let by_name = |name: &str| format!("{{{{ GetInterfaceIP {name:?} }}}}");
        let settings = json!({"bind_addr": "10.0.0.5", "ports": {"http": 8300}, "addresses": {"http": by_name("eth1")}});
        let agent = start(settings, &here);
        let Located { config, missing } = agent.located(&host(&[("eth0", "10.0.0.5/24"), ("eth1", "10.0.0.5/24")]));
        assert_eq!(config.http, agent.http);
        assert!(missing[0].contains("already configured"), "{missing:?}");
    }
}
