//! What a registration must be like. The texts are Consul's: clients look for them.
//!
//! The servers validate before they propose; `apply` does again, so that no log entry, however it
//! came about, can make an impossible row.

use crate::model::command::Register;
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::model::service::{NodeService, Weights};
use std::net::IpAddr;

/// Refuses a registration that cannot be. Metadata may be anything: its limits are the agents'.
pub fn register(request: &Register) -> Result<(), Fault> {
    if request.node.is_empty() {
        return Err(Fault::failed("Must provide node"));
    }
    if request.address.is_empty() && !request.skip_node_update {
        return Err(Fault::failed("Must provide address if SkipNodeUpdate is not set"));
    }
    if !request.id.is_empty() {
        request.id.parse::<NodeId>().map_err(|error| Fault::failed(format!("Bad node ID: {error}")))?;
    }
    request.service.as_ref().map_or(Ok(()), service)
}

fn service(service: &NodeService) -> Result<(), Fault> {
    if service.service.is_empty() {
        return Err(Fault::failed("Must provide service name with ID"));
    }
    let bare = service.address.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return Err(Fault::failed("Invalid service address"));
    }
    match service.weights.filter(|weights| *weights != Weights::UNSET).map_or(Ok(()), Weights::check) {
        Ok(()) => Ok(()),
        Err(why) => Err(Fault::bad_request(format!("Invalid Weights: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn request() -> Register {
        Register { node: "n1".to_owned(), address: "10.0.0.1".to_owned(), ..Register::default() }
    }

    fn text(request: &Register) -> String {
        register(request).expect_err("must be refused").message
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_text_that_clients_look_for() {
        assert_eq!(text(&Register { node: String::new(), ..request() }), "Must provide node");
        assert_eq!(text(&Register { address: String::new(), ..request() }), "Must provide address if SkipNodeUpdate is not set");
        assert!(text(&Register { id: "nope".to_owned(), ..request() }).starts_with("Bad node ID: "));
        let nameless = NodeService { id: "web1".to_owned(), ..NodeService::default() };
        assert_eq!(text(&Register { service: Some(nameless), ..request() }), "Must provide service name with ID");
        for any in ["0.0.0.0", "::", "[::]"] {
            let bound_to_all = NodeService { service: "web".to_owned(), address: any.to_owned(), ..NodeService::default() };
            assert_eq!(text(&Register { service: Some(bound_to_all), ..request() }), "Invalid service address");
        }
        assert!(register(&request()).is_ok());
    }

    #[test]
    fn metadata_is_taken_as_it_comes() {
        let meta = |key: &str, value: &str| Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        for (key, value) in [("kubernetes.io/hostname", "v"), ("", ""), ("a b", "é"), (&"k".repeat(129), &"v".repeat(513))] {
            let service = NodeService { service: "web".to_owned(), meta: meta(key, value), ..NodeService::default() };
            assert_eq!(register(&Register { node_meta: meta(key, value), service: Some(service), ..request() }), Ok(()), "{key}");
        }
        let many = (0..65).map(|n| (format!("k{n}"), String::new())).collect();
        assert_eq!(register(&Register { node_meta: Some(many), ..request() }), Ok(()));
    }

    #[test]
    fn weights_are_what_dns_can_carry_or_not_set() {
        let weighed = |passing, warning| {
            let weights = Some(Weights { passing, warning });
            Register { service: Some(NodeService { service: "web".to_owned(), weights, ..NodeService::default() }), ..request() }
        };
        for (passing, warning) in [(0, 0), (1, 0), (65_535, 65_535)] {
            assert_eq!(register(&weighed(passing, warning)), Ok(()), "{passing}/{warning}");
        }
        assert_eq!(text(&weighed(0, 1)), "Invalid Weights: Passing must be greater than 0");
        for (passing, warning) in [(65_536, 1), (1, 65_536)] {
            assert_eq!(text(&weighed(passing, warning)), "Invalid Weights: DNS Weight must be between 0 and 65535");
        }
    }
}
