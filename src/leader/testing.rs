//! Members of a pool, for the tests of the duties.

use crate::gossip::Roster;
use crate::model::ids::NodeId;
use crate::model::member::{Member, MemberStatus, tag};

/// A member of `dc1` with further tags.
pub(super) fn member(name: &str, status: MemberStatus, tags: &[(&str, &str)]) -> Member {
    let tags = [(tag::DC, "dc1")].iter().chain(tags).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Member { name: name.to_owned(), addr: ([127, 0, 0, 1], 8301).into(), tags: tags.collect(), status }
}

/// A server of `dc1` whose id is `number`.
pub(super) fn server(name: &str, number: u128, status: MemberStatus) -> Member {
    member(name, status, &[(tag::ROLE, "consul"), (tag::ID, &NodeId::from_u128(number).to_string())])
}

pub(super) fn roster(members: impl IntoIterator<Item = Member>) -> Roster {
    Roster { members: members.into_iter().map(|member| (member.name.clone(), member)).collect() }
}
