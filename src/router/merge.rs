//! One answer made of the answers of several datacenters. Pure.

use super::route::{ALL_DATACENTERS, wanted_dc};
use crate::defaults::FAN_OUT_MAX_BYTES;
use crate::model::answer::{Answer, AnswerMeta, CacheUse, DatacenterPart, Found};
use crate::model::fault::Fault;
use crate::model::operation::{Merge, Read};
use crate::model::query::Consistency;
use crate::model::request::Operation;
use bytes::Bytes;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};

/// The answer of one datacenter.
#[derive(Debug)]
pub(super) struct Part {
    pub name: String,
    pub outcome: Result<Answer, Fault>,
}

/// Refuses an operation for all datacenters that is for one.
pub(super) fn check(ask: &Operation) -> Result<(), Fault> {
    match ask {
        _ if wanted_dc(ask) != Some(ALL_DATACENTERS) => Ok(()),
        Operation::Read(query) => Body::wanted(&query.identity.read).map(drop),
        Operation::Write(_) => Err(Fault::bad_request("A write is done in one datacenter: name it instead of *")),
    }
}

/// The answer of all `parts`, nearest first, without an index. Fails with the nearest fault when no part has an answer.
pub(super) fn merged(mut body: Body, parts: Vec<Part>, consistency: Consistency) -> Result<Answer, Fault> {
    let mut meta = AnswerMeta { indexed: true, known_leader: true, consistency, found: Found::Yes, ..AnswerMeta::default() };
    let (mut reported, mut fault, mut answered) = (Vec::with_capacity(parts.len()), None, false);
    for Part { name, outcome } in parts {
        let added = outcome.and_then(|answer| body.add(&answer.body).map(|()| answer.meta));
        let part = match added {
            Ok(of_part) => {
                answered = true;
                meta.known_leader &= of_part.known_leader;
                meta.last_contact = meta.last_contact.max(of_part.last_contact);
                meta.cache = joined(meta.cache, of_part.cache);
                meta.panic = meta.panic.take().or(of_part.panic);
                DatacenterPart { name, age: of_part.last_contact, index: of_part.index, error: None }
            }
            Err(why) => {
                let error = Some(why.to_string());
                fault.get_or_insert(why);
                DatacenterPart { name, error, ..DatacenterPart::default() }
            }
        };
        reported.push(part);
    }
    match fault {
        Some(fault) if !answered => Err(fault),
        _ => {
            meta.datacenters = Some(reported.into());
            Ok(Answer { meta, body: body.finish()? })
        }
    }
}

/// A hit as long as all cached parts are, as old as the oldest.
fn joined(one: Option<CacheUse>, other: Option<CacheUse>) -> Option<CacheUse> {
    match (one, other) {
        (Some(one), Some(other)) => Some(CacheUse { hit: one.hit && other.hit, age: one.age.max(other.age) }),
        (one, other) => one.or(other),
    }
}

/// A merged body, as far as it has come.
#[derive(Debug)]
pub(super) enum Body {
    /// A list of rows, each of which names its place, as bytes.
    List(Vec<u8>),
    /// The names of services with their tags, and the bytes read.
    Services(BTreeMap<String, BTreeSet<String>>, usize),
}

impl Body {
    /// The body, still empty, of a read that can be asked of all datacenters at once, or why it cannot.
    pub(super) fn wanted(read: &Read) -> Result<Body, Fault> {
        match read.spec().merge {
            Merge::List => Ok(Body::List(vec![b'['])),
            Merge::Services => Ok(Body::Services(BTreeMap::new(), 0)),
            Merge::Never => Err(Fault::bad_request(
                "?dc=* is for catalog/nodes, catalog/services, catalog/service, catalog/connect, catalog/gateway-services \
                 and health/*; ask each datacenter by its name for anything else",
            )),
        }
    }

    /// Adds the answer of one datacenter whole, or fails and adds nothing.
    fn add(&mut self, json: &Bytes) -> Result<(), Fault> {
        let len = match self {
            Body::List(list) => list.len(),
            Body::Services(_, len) => *len,
        };
        if len + json.len() > FAN_OUT_MAX_BYTES {
            metrics::counter!("kontor.router.everywhere_too_large").increment(1);
            return Err(Fault::failed(format!("with its {} bytes the answer would exceed {FAN_OUT_MAX_BYTES}", json.len())));
        }
        match self {
            Body::List(list) => {
                let rows = rows(json)?;
                if !rows.is_empty() && list.len() > 1 {
                    list.push(b',');
                }
                list.extend_from_slice(rows);
            }
            Body::Services(services, len) => {
                let part: BTreeMap<String, Vec<String>> =
                    serde_json::from_slice(json).map_err(|error| Fault::failed(format!("expected a map of tags: {error}")))?;
                *len += json.len();
                for (name, tags) in part {
                    services.entry(name).or_default().extend(tags);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Bytes, Fault> {
        match self {
            Body::List(mut list) => {
                list.push(b']');
                Ok(list.into())
            }
            Body::Services(services, _) => {
                let json = serde_json::to_vec(&services);
                json.map(Bytes::from).map_err(|error| Fault::failed(format!("the services cannot be written as JSON: {error}")))
            }
        }
    }
}

/// The bytes within the brackets of a list; `null` and no bytes at all are empty lists.
fn rows(json: &[u8]) -> Result<&[u8], Fault> {
    let json = json.trim_ascii();
    if json.is_empty() || json == b"null" {
        return Ok(&[]);
    }
    let text = std::str::from_utf8(json).ok();
    let is_list = text.is_some_and(|text| serde_json::from_str::<Vec<IgnoredAny>>(text).is_ok());
    let inner = json.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).filter(|_| is_list);
    inner.map(<[u8]>::trim_ascii).ok_or_else(|| {
        let start = String::from_utf8_lossy(json.get(..json.len().min(20)).unwrap_or_default()).into_owned();
        Fault::failed(format!("expected a list, got {} bytes that begin with {start:?}", json.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::operation::{CatalogRead, CoordinateRead, FederationRead, OperatorWrite, PeerRef, StatusRead, Write};
    use crate::model::principal::Principal;
    use crate::model::query::testing::QueryOptions;
    use crate::model::request::WriteRequest;
    use std::time::Duration;

    fn part(name: &str, body: &'static str, age: u64, hit: Option<bool>) -> Part {
        let last_contact = Duration::from_millis(age);
        let cache = hit.map(|hit| CacheUse { hit, age: last_contact });
        let meta = AnswerMeta { index: 7, indexed: true, known_leader: true, last_contact, cache, ..AnswerMeta::default() };
        Part { name: name.to_owned(), outcome: Ok(Answer { meta, body: Bytes::from_static(body.as_bytes()) }) }
    }

    fn failed(name: &str, why: &str) -> Part {
        Part { name: name.to_owned(), outcome: Err(Fault::unreachable(why)) }
    }

    fn merged_list(parts: Vec<Part>) -> Result<Answer, Fault> {
        merged(Body::wanted(&Read::Catalog(CatalogRead::Nodes)).unwrap(), parts, Consistency::Stale)
    }

    fn list(parts: Vec<Part>) -> Answer {
        merged_list(parts).unwrap()
    }

    #[test]
    fn lists_are_put_together_in_the_order_given() {
        let bodies = |bodies: &[&'static str]| list(bodies.iter().map(|body| part("dc", body, 0, None)).collect()).body;
        assert_eq!(bodies(&["[1,2]", "[]", "[3]"]), "[1,2,3]");
        assert_eq!(bodies(&["[]", "null", ""]), "[]");
        assert_eq!(bodies(&["[]", "[{\"a\":[]}]", "[ ]"]), "[{\"a\":[]}]");
    }

    #[test]
    fn services_of_one_name_have_the_tags_of_all() {
        let parts = vec![
            part("dc1", r#"{"web":["v2","v1"],"consul":[]}"#, 0, None),
            part("dc2", r#"{"web":["v1","v3"],"db":["x"]}"#, 0, None),
            part("dc3", "[1]", 0, None),
        ];
        let services = Body::wanted(&Read::Catalog(CatalogRead::Services)).unwrap();
        let answer = merged(services, parts, Consistency::Default).unwrap();
        assert_eq!(answer.body, r#"{"consul":[],"db":["x"],"web":["v1","v2","v3"]}"#);
        let reported = answer.meta.datacenters.unwrap();
        assert!(reported[2].error.as_ref().unwrap().contains("expected a map"), "{reported:?}");
    }

    #[test]
    fn each_datacenter_is_told_of_with_the_age_of_the_oldest_over_all() {
        let answer = list(vec![
            part("dc1", "[1]", 0, None),
            part("dc2", "[2]", 40, Some(true)),
            failed("dc3", "cut"),
            part("dc4", "[4]", 90, Some(true)),
        ]);
        assert_eq!(answer.body, "[1,2,4]");
        let age = Duration::from_millis(90);
        assert_eq!((answer.meta.last_contact, answer.meta.cache), (age, Some(CacheUse { hit: true, age })));
        let reported = answer.meta.datacenters.unwrap();
        let names: Vec<&str> = reported.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["dc1", "dc2", "dc3", "dc4"]);
        assert_eq!((reported[1].index, reported[1].age, &reported[1].error), (7, Duration::from_millis(40), &None));
        assert!(reported[2].error.as_ref().unwrap().contains("cut"));
        let miss = list(vec![part("dc1", "[]", 0, Some(true)), part("dc2", "[]", 0, Some(false))]);
        assert!(!miss.meta.cache.unwrap().hit);
    }

    #[test]
    fn none_that_answers_is_the_fault_of_the_nearest_and_no_list_is_a_fault_of_its_own() {
        let all = merged_list(vec![failed("dc1", "first"), failed("dc2", "second")]);
        assert_eq!(all, Err(Fault::unreachable("first")));
        let answer = list(vec![part("dc1", "{\"a\":1}", 0, None), part("dc2", "[2]", 0, None)]);
        assert_eq!(answer.body, "[2]");
        assert!(answer.meta.datacenters.unwrap()[0].error.as_ref().unwrap().contains("expected a list"));
    }

    #[test]
    fn garbage_of_one_datacenter_does_not_spoil_the_answer_of_all() {
        for garbage in ["[1],[2]", "[1,]", "[{]", "[1", "[\"a]"] {
            let answer = list(vec![part("dc1", "[1]", 0, None), part("dc2", garbage, 0, None)]);
            assert_eq!(answer.body, "[1]", "{garbage}");
            assert!(answer.meta.datacenters.unwrap()[1].error.is_some(), "{garbage}");
        }
    }

    #[test]
    fn what_has_no_list_and_writes_are_refused() {
        let read = |read, dc: &str| {
            let options = QueryOptions { dc: Some(dc.into()), ..QueryOptions::default() };
            check(&Operation::Read(options.ask(read)))
        };
        assert_eq!(read(Read::Catalog(CatalogRead::Nodes), "*"), Ok(()));
        assert_eq!(read(Read::Federation(FederationRead::Datacenters), "*"), Ok(()), "it is the same everywhere");
        assert_eq!(read(Read::Status(StatusRead::Leader), "dc2"), Ok(()));
        for refused in [
            Read::Catalog(CatalogRead::Node { node: "n".into() }),
            Read::Status(StatusRead::Leader),
            Read::Coordinate(CoordinateRead::Nodes),
        ] {
            let text = read(refused, "*").unwrap_err().message;
            assert!(text.contains("catalog/services") && text.contains("ask each datacenter"), "{text}");
        }
        let write = Write::Operator(OperatorWrite::RemovePeer(PeerRef::Id("x".into())));
        let request = WriteRequest { dc: Some("*".into()), principal: Principal::anonymous(), write };
        assert!(check(&Operation::Write(request)).unwrap_err().message.contains("one datacenter"));
    }
}
