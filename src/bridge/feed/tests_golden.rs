//! The messages of servers and agents of this format level, which are read for ever.

use super::message::{Echo, Known, Open, Ping, Push, Took};
use crate::bridge::frame::{self, Frame, Kind};
use crate::bridge::link::Greeting;
use crate::model::answer::{Answer, AnswerMeta, CacheUse, DatacenterPart, Found, Panic};
use crate::model::autopilot::AutopilotConfig;
use crate::model::check::CheckStatus;
use crate::model::command::{Deregister, Effect, Register, Written};
use crate::model::coordinate::NodeCoordinate;
use crate::model::fault::{Fault, FaultKind};
use crate::model::golden;
use crate::model::ids::{ClusterId, NodeId, Token};
use crate::model::operation::{
    CatalogRead, CatalogWrite, CheckRef, CoordinateRead, CoordinateWrite, FederationRead, FederationWrite, HealthRead,
    HealthWrite, Lookup, OperatorRead, OperatorWrite, PeerRef, Read, Removal, StatusRead, Write,
};
use crate::model::packed;
use crate::model::principal::Principal;
use crate::model::query::{CacheControl, Consistency, Freshness, Identity, Query, Selection};
use crate::model::request::{Hops, Operation, Reply, Request, WriteRequest};
use crate::model::vote::{Ballot, Vote};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

fn cluster() -> ClusterId {
    ClusterId(uuid::Uuid::from_u128(7))
}

fn reads() -> Vec<(&'static str, Read)> {
    let (name, node) = (|| "web".to_owned(), || "n1".to_owned());
    let of = Box::new(CheckRef { check_id: "c".to_owned(), node: Some(node()) });
    vec![
        ("catalog-nodes", Read::Catalog(CatalogRead::Nodes)),
        ("catalog-services", Read::Catalog(CatalogRead::Services)),
        ("catalog-service", Read::Catalog(CatalogRead::Service { name: name(), lookup: Lookup::Connect })),
        ("catalog-node", Read::Catalog(CatalogRead::Node { node: node() })),
        ("catalog-node-services", Read::Catalog(CatalogRead::NodeServices { node: node() })),
        ("catalog-gateway-services", Read::Catalog(CatalogRead::GatewayServices { gateway: name() })),
        ("health-node", Read::Health(HealthRead::Node { node: node() })),
        ("health-checks", Read::Health(HealthRead::Checks { service: name() })),
        ("health-state", Read::Health(HealthRead::State { state: "any".to_owned() })),
        ("health-service", Read::Health(HealthRead::Service { name: name(), lookup: Lookup::Ingress })),
        ("health-votes", Read::Health(HealthRead::Votes { of })),
        ("health-observed-by", Read::Health(HealthRead::ObservedBy { node: node() })),
        ("coordinate-nodes", Read::Coordinate(CoordinateRead::Nodes)),
        ("coordinate-node", Read::Coordinate(CoordinateRead::Node { node: node() })),
        ("status-leader", Read::Status(StatusRead::Leader)),
        ("status-peers", Read::Status(StatusRead::Peers)),
        ("operator-raft-configuration", Read::Operator(OperatorRead::RaftConfiguration)),
        ("operator-autopilot-configuration", Read::Operator(OperatorRead::AutopilotConfiguration)),
        ("operator-autopilot-health", Read::Operator(OperatorRead::AutopilotHealth)),
        ("operator-autopilot-state", Read::Operator(OperatorRead::AutopilotState)),
        ("federation-datacenters", Read::Federation(FederationRead::Datacenters)),
        ("federation-coordinates", Read::Federation(FederationRead::Coordinates)),
        ("federation-report", Read::Federation(FederationRead::Report { dc: Some("dc2".to_owned()) })),
        ("federation-doctor", Read::Federation(FederationRead::Doctor { dc: "dc2".to_owned() })),
        ("federation-dial-back", Read::Federation(FederationRead::DialBack { dc: "dc2".to_owned() })),
    ]
}

fn writes() -> Vec<(&'static str, Write)> {
    let vote = Vote { node: "n1".into(), check_id: "c".into(), epoch: 9, status: CheckStatus::Critical, output: "gone".into() };
    let removal = Removal { dc: "dc2".to_owned(), is_known: true, clusters: [cluster()].into() };
    let set = OperatorWrite::SetAutopilot { config: Box::new(AutopilotConfig::default()), only_at: Some(5) };
    let id = NodeId::from_u128(3);
    let register = Register { node: "n1".into(), ..Register::default() };
    let deregister = Deregister { node: "n1".into(), ..Deregister::default() };
    vec![
        ("catalog-register", Write::Catalog(CatalogWrite::Register(Box::new(register)))),
        ("catalog-deregister", Write::Catalog(CatalogWrite::Deregister(deregister))),
        ("health-vote", Write::Health(HealthWrite::Vote(Ballot { observer: "n2".to_owned(), votes: vec![vote] }))),
        ("coordinate-update", Write::Coordinate(CoordinateWrite::Update(NodeCoordinate::default()))),
        ("operator-set-autopilot", Write::Operator(set)),
        ("operator-remove-peer", Write::Operator(OperatorWrite::RemovePeer(PeerRef::Address("10.0.0.1:8300".to_owned())))),
        ("operator-transfer-leader", Write::Operator(OperatorWrite::TransferLeader(Some(id)))),
        ("federation-remove", Write::Federation(FederationWrite::Remove(removal))),
        ("federation-readmit", Write::Federation(FederationWrite::Readmit { dc: "dc2".to_owned() })),
    ]
}

/// A query with every option.
fn whole_query() -> Query {
    let selection = Selection {
        near: Some("n1".to_owned()),
        node_meta: vec![("rack".to_owned(), "r1".to_owned())],
        tags: vec!["v1".to_owned()],
        passing: true,
        filter: Some("Service.Port == 80".to_owned()),
        translate: true,
    };
    let freshness = Freshness {
        consistency: Consistency::Stale,
        max_stale: Some(Duration::from_millis(1_500)),
        cached: Some(CacheControl { max_age: Some(Duration::from_secs(3)), ..CacheControl::default() }),
        min_index: 17,
        wait: Duration::from_secs(300),
    };
    let principal = Principal::Token(Token("secret".to_owned()));
    let identity = Identity { read: Read::Catalog(CatalogRead::Nodes), dc: Some("dc2".to_owned()), selection, principal };
    Query::of(identity, freshness)
}

fn answer() -> Answer {
    let part = DatacenterPart { name: "dc2".to_owned(), age: Duration::from_millis(7), index: 17, error: Some("why".to_owned()) };
    let meta = AnswerMeta {
        index: 17,
        indexed: true,
        known_leader: true,
        last_contact: Duration::from_millis(5),
        consistency: Consistency::Consistent,
        found: Found::Unhealthy,
        cluster: cluster(),
        cache: Some(CacheUse { hit: true, age: Duration::from_secs(2) }),
        panic: Some(Box::new(Panic { service: "web".to_owned() })),
        datacenters: Some(vec![part].into()),
        took_micros: 80,
    };
    Answer { meta, body: Bytes::from_static(b"[]") }
}

/// Checks the golden frame: its header, and `value` in its payload.
fn check<T: Serialize + DeserializeOwned + Debug>(name: &str, kind: Kind, value: &T) {
    let made = Frame::of(kind, value).unwrap().bytes();
    golden::check(name, value, &made, |bytes| {
        let (header, payload) = frame::parted(bytes).unwrap();
        assert_eq!((header.kind, header.length() as usize), (kind, payload.len()), "{name}");
        frame::decode(payload).unwrap()
    });
}

#[test]
fn requests_and_replies() {
    for (name, read) in reads() {
        let query = Query::new(read, Principal::agent("n1"));
        check(&format!("request/{name}"), Kind::Request, &Request { operation: Operation::Read(query), hops: Hops::default() });
    }
    let hops = Hops { crossed: true, to_leader: true, via_peer: true };
    check("request/all-options", Kind::Request, &Request { operation: Operation::Read(whole_query()), hops });
    for (name, write) in writes() {
        let write = WriteRequest { dc: Some("dc2".to_owned()), principal: Principal::Leader, write };
        check(&format!("request/{name}"), Kind::Request, &Request { operation: Operation::Write(write), hops: Hops::default() });
    }
    check("reply/answer", Kind::Reply, &Reply::Answer(answer()));
    for (name, effect) in [("done", Effect::Done), ("set", Effect::Set(true))] {
        check(&format!("reply/written-{name}"), Kind::Reply, &Reply::Written(Written { index: 17, effect }));
    }
    // As `rpc` has it: one message for either end.
    let ends: [(&str, Result<Reply, Fault>); 2] =
        [("ok", Ok(Reply::Answer(answer()))), ("err", Err(Fault::no_leader().because("reason")))];
    for (name, end) in ends {
        let made = packed::encode(&end).unwrap();
        golden::check(&format!("rpc/{name}"), &end, &made, |bytes| packed::decode(bytes).unwrap());
    }
    let kinds = [
        FaultKind::BadRequest,
        FaultKind::NotFound,
        FaultKind::Denied,
        FaultKind::Failed,
        FaultKind::NoLeader,
        FaultKind::Busy,
        FaultKind::NoPath,
        FaultKind::Unreachable,
        FaultKind::OutcomeUnknown,
    ];
    for kind in kinds {
        check(&format!("fault/{kind:?}"), Kind::Fault, &Fault::new(kind, "text").because("reason"));
    }
}

#[test]
fn frames_of_links_and_feeds() {
    let greeting = Greeting {
        node: "s1".to_owned(),
        datacenter: "dc1".to_owned(),
        clock: Some(1_700_000_000_000),
        cluster: Some(cluster()),
    };
    check("bridge/greeting", Kind::Greeting, &greeting);
    let known = Some(Known { cluster: cluster(), index: 17, hash: 99 });
    check("bridge/open", Kind::Open, &Open { feed: 4, query: whole_query().identity, known });
    let Answer { meta, body } = answer();
    check("bridge/push", Kind::Push, &Push { number: 2, meta: meta.clone(), body: Some(body) });
    check("bridge/push-same", Kind::Push, &Push { number: 3, meta, body: None });
    check("bridge/took", Kind::Took, &Took { number: 2 });
    check("bridge/ping", Kind::Ping, &Ping { number: 8, heard: 7 });
    let echo = Echo { number: 8, age: Some(Duration::from_millis(3)), pushed: vec![(4, 2)], behind: vec![5] };
    check("bridge/echo", Kind::Echo, &echo);
    for (name, kind) in
        [("working", Kind::Working), ("parked", Kind::Parked), ("holding", Kind::Holding), ("heartbeat", Kind::Heartbeat)]
    {
        golden::check(&format!("bridge/{name}"), &kind, &Frame::bare(kind).bytes(), |bytes| frame::parted(bytes).unwrap().0.kind);
    }
}
