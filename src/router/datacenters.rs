//! The known datacenters, nearest first: for `catalog/datacenters` and `coordinate/datacenters`, on servers. Pure.

use crate::model::coordinate::{Coordinate, NodeCoordinate};
use crate::model::member::{Member, MemberStatus};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A server of the WAN pool, and its coordinate if one is known.
pub(super) type Site<'a> = (&'a Member, Option<Coordinate>);

/// The coordinates of one datacenter, as `coordinate/datacenters` lists them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DatacenterMap {
    pub datacenter: String,
    #[serde(rename = "AreaID")]
    pub area_id: &'static str,
    pub coordinates: Vec<NodeCoordinate>,
}

/// The names, sorted by round-trip time from `origin`: the own one first, ties and unknown times by the alphabet. The bridge
/// knows those `linked`. The times of live links, `link_rtt`, count more than estimates.
pub(super) fn names(
    own_dc: &str,
    origin: &Coordinate,
    sites: &[Site<'_>],
    linked: &[String],
    link_rtt: impl Fn(&str) -> Option<Duration>,
) -> Vec<String> {
    let mut distances: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for (member, coordinate) in present(sites) {
        let far = coordinate.as_ref().map_or(Duration::MAX, |coordinate| origin.distance(coordinate));
        distances.entry(member.dc()).or_default().push(far);
    }
    for dc in linked {
        distances.entry(dc).or_default();
    }
    distances.remove(own_dc);
    let mut others: Vec<(Duration, &str)> =
        distances.into_iter().map(|(dc, far)| (link_rtt(dc).unwrap_or_else(|| median(far)), dc)).collect();
    others.sort();
    std::iter::once(own_dc).chain(others.into_iter().map(|(_, dc)| dc)).map(str::to_owned).collect()
}

pub(super) fn maps(names: Vec<String>, sites: &[Site<'_>]) -> Vec<DatacenterMap> {
    let row = |(member, coordinate): &Site<'_>| {
        let (node, coord) = (member.node_name().to_owned(), coordinate.clone()?);
        Some(NodeCoordinate { node, segment: String::new(), coord })
    };
    let map = |datacenter: String| {
        let coordinates = present(sites).filter(|(member, _)| member.dc() == datacenter).filter_map(row).collect();
        DatacenterMap { datacenter, area_id: "wan", coordinates }
    };
    names.into_iter().map(map).collect()
}

/// The servers that count: those that left are gone, those that failed may come back.
fn present<'a, 'b>(sites: &'a [Site<'b>]) -> impl Iterator<Item = &'a Site<'b>> {
    sites.iter().filter(|(member, _)| member.status != MemberStatus::Left && !member.dc().is_empty())
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort();
    durations.get(durations.len() / 2).copied().unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing::wan_server as server;
    use super::*;

    fn at(millis: f64) -> Option<Coordinate> {
        let mut coordinate = Coordinate::default();
        coordinate.vec[0] = millis / 1000.0;
        Some(coordinate)
    }

    use MemberStatus::{Alive, Failed, Leaving, Left};

    const NO_LINK: fn(&str) -> Option<Duration> = |_| None;

    fn names_of(sites: &[(&str, MemberStatus, Option<Coordinate>)], link: fn(&str) -> Option<Duration>) -> Vec<String> {
        let members: Vec<Member> = sites.iter().map(|(dc, status, _)| server("s1", dc, *status)).collect();
        let sites: Vec<Site<'_>> = members.iter().zip(sites).map(|(member, site)| (member, site.2.clone())).collect();
        names("dc1", &Coordinate::default(), &sites, &[], link)
    }

    #[test]
    fn the_nearest_comes_first_and_the_own_before_all() {
        let sites = [("dc1", Alive, at(0.0)), ("afar", Alive, at(90.0)), ("near", Alive, at(5.0))];
        assert_eq!(names_of(&sites, NO_LINK), ["dc1", "near", "afar"]);
        assert_eq!(names_of(&[], NO_LINK), ["dc1"], "before the pool knows it");
        let ties = [("z", Alive, at(7.0)), ("y", Alive, at(7.0)), ("b", Alive, None), ("a", Alive, None)];
        assert_eq!(names_of(&ties, NO_LINK), ["dc1", "y", "z", "a", "b"], "ties and unknown times go by the alphabet");
    }

    #[test]
    fn the_median_counts_and_not_a_single_near_server() {
        let sites = [("b", Alive, at(1.0)), ("b", Alive, at(80.0)), ("b", Alive, at(90.0)), ("c", Alive, at(20.0))];
        assert_eq!(names_of(&sites, NO_LINK), ["dc1", "c", "b"]);
    }

    #[test]
    fn a_measured_link_counts_more_than_an_estimate() {
        let sites = [("b", Alive, at(1.0)), ("c", Alive, at(20.0))];
        assert_eq!(names_of(&sites, |dc| (dc == "b").then_some(Duration::from_millis(50))), ["dc1", "c", "b"]);
    }

    #[test]
    fn a_datacenter_that_is_linked_without_the_pool_is_listed_by_its_link() {
        let far = server("s1", "far", Alive);
        let linked = ["near".to_owned(), "down".to_owned(), "far".to_owned()];
        let link = |dc: &str| (dc == "near").then_some(Duration::from_millis(5));
        assert_eq!(names("dc1", &Coordinate::default(), &[(&far, at(20.0))], &linked, link), ["dc1", "near", "far", "down"]);
    }

    #[test]
    fn a_datacenter_whose_servers_all_left_vanishes_and_a_failed_one_stays() {
        let one_left = [("gone", Left, at(1.0)), ("cut", Failed, at(1.0)), ("going", Leaving, at(1.0))];
        let half = [("half", Left, at(1.0)), ("half", Failed, at(1.0))];
        assert_eq!(names_of(&[&one_left[..], &half[..]].concat(), NO_LINK), ["dc1", "cut", "going", "half"]);
    }

    #[test]
    fn the_maps_name_nodes_without_their_datacenter() {
        let (own, far) = (server("s1", "dc1", Alive), server("t1", "dc2", Alive));
        let sites: Vec<Site<'_>> = vec![(&own, at(0.0)), (&far, at(3.0))];
        let json = serde_json::to_value(maps(vec!["dc1".into(), "dc2".into()], &sites)).unwrap();
        assert_eq!((&json[1]["Datacenter"], &json[1]["AreaID"]), (&"dc2".into(), &"wan".into()));
        let node = &json[1]["Coordinates"][0];
        assert_eq!((&node["Node"], &node["Segment"], &node["Coord"]["Vec"][0]), (&"t1".into(), &"".into(), &0.003.into()));
    }
}
