//! The known datacenters, nearest first: for `catalog/datacenters` and `coordinate/datacenters`, on servers.
//!
//! Pure: the WAN roster, coordinates and round-trip times come in as values.

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

/// The names, sorted by round-trip time from `origin`: the own one first, ties and unknown times by the alphabet. `linked`
/// has the datacenters of which the bridge knows servers. `link_rtt` has the times measured by live links, which count more
/// than estimates.
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
    let coordinates_of = |dc: &str| -> Vec<NodeCoordinate> {
        present(sites)
            .filter(|(member, _)| member.dc() == dc)
            .filter_map(|(member, coordinate)| {
                let coord = coordinate.clone()?;
                Some(NodeCoordinate { node: member.node_name().to_owned(), segment: String::new(), coord })
            })
            .collect()
    };
    let map = |datacenter: String| {
        let coordinates = coordinates_of(&datacenter);
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

    fn names_of(sites: &[(Member, Option<Coordinate>)], link: impl Fn(&str) -> Option<Duration>) -> Vec<String> {
        let sites: Vec<Site<'_>> = sites.iter().map(|(member, coordinate)| (member, coordinate.clone())).collect();
        names("dc1", &Coordinate::default(), &sites, &[], link)
    }

    use MemberStatus::{Alive, Failed, Leaving, Left};

    #[test]
    fn the_nearest_comes_first_and_the_own_before_all() {
        let sites = [
            (server("s1", "dc1", Alive), at(0.0)),
            (server("s1", "afar", Alive), at(90.0)),
            (server("s1", "near", Alive), at(5.0)),
        ];
        assert_eq!(names_of(&sites, |_| None), ["dc1", "near", "afar"]);
    }

    #[test]
    fn the_median_counts_and_not_a_single_near_server() {
        let sites = [
            (server("s1", "b", Alive), at(1.0)),
            (server("s2", "b", Alive), at(80.0)),
            (server("s3", "b", Alive), at(90.0)),
            (server("s1", "c", Alive), at(20.0)),
        ];
        assert_eq!(names_of(&sites, |_| None), ["dc1", "c", "b"]);
    }

    #[test]
    fn a_measured_link_counts_more_than_an_estimate() {
        let sites = [(server("s1", "b", Alive), at(1.0)), (server("s1", "c", Alive), at(20.0))];
        let link = |dc: &str| (dc == "b").then_some(Duration::from_millis(50));
        assert_eq!(names_of(&sites, link), ["dc1", "c", "b"]);
    }

    #[test]
    fn a_datacenter_that_is_linked_without_the_pool_is_listed_by_its_link() {
        let far = server("s1", "far", Alive);
        let sites: Vec<Site<'_>> = vec![(&far, at(20.0))];
        let linked = ["near".to_owned(), "down".to_owned(), "far".to_owned()];
        let link = |dc: &str| (dc == "near").then_some(Duration::from_millis(5));
        assert_eq!(names("dc1", &Coordinate::default(), &sites, &linked, link), ["dc1", "near", "far", "down"]);
    }

    #[test]
    fn ties_and_unknown_times_go_by_the_alphabet_at_the_end() {
        let sites = [
            (server("s1", "z", Alive), at(7.0)),
            (server("s1", "y", Alive), at(7.0)),
            (server("s1", "b", Alive), None),
            (server("s1", "a", Alive), None),
        ];
        assert_eq!(names_of(&sites, |_| None), ["dc1", "y", "z", "a", "b"]);
    }

    #[test]
    fn a_datacenter_whose_servers_all_left_vanishes_and_a_failed_one_stays() {
        let sites = [
            (server("s1", "gone", Left), at(1.0)),
            (server("s1", "cut", Failed), at(1.0)),
            (server("s1", "going", Leaving), at(1.0)),
            (server("s1", "half", Left), at(1.0)),
            (server("s2", "half", Failed), at(1.0)),
        ];
        assert_eq!(names_of(&sites, |_| None), ["dc1", "cut", "going", "half"]);
    }

    #[test]
    fn the_own_datacenter_is_there_before_the_pool_knows_it() {
        assert_eq!(names_of(&[], |_| None), ["dc1"]);
    }

    #[test]
    fn the_maps_name_nodes_without_their_datacenter() {
        let (own, far) = (server("s1", "dc1", Alive), server("t1", "dc2", Alive));
        let sites: Vec<Site<'_>> = vec![(&own, at(0.0)), (&far, at(3.0))];
        let json = serde_json::to_value(maps(vec!["dc1".into(), "dc2".into()], &sites)).unwrap();
        assert_eq!(json[1]["Datacenter"], "dc2");
        assert_eq!(json[1]["AreaID"], "wan");
        assert_eq!(json[1]["Coordinates"][0]["Node"], "t1");
        assert_eq!(json[1]["Coordinates"][0]["Segment"], "");
        assert_eq!(json[1]["Coordinates"][0]["Coord"]["Vec"][0], 0.003);
    }
}
