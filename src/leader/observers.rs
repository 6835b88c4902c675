//! The observers of each voted check: its owner, and others of the pool by rendezvous hashing. No I/O.
//!
//! An observer keeps its place until it has left, observes no more, or has failed for long.

use crate::defaults::OBSERVER_FAILED_AFTER;
use crate::gossip::Roster;
use crate::model::member::{Member, MemberStatus, tag};
use crate::model::vote::Assign;
use crate::store::Observed;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The agents that fail, as one term of leadership has seen them.
#[derive(Debug)]
pub(super) struct Observers {
    datacenter: String,
    /// The time since which this leader has seen an agent failed.
    failed: BTreeMap<String, Instant>,
}

/// The assignments due now, and the time of the next look.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) assigns: Vec<Assign>,
    pub(super) look_again: Option<Instant>,
}

/// The agents of the datacenter, as far as they can observe.
#[derive(Default)]
struct Agents<'a> {
    /// Alive, and willing to probe for others.
    willing: BTreeSet<&'a str>,
    /// The willing agents, and those that may come back soon.
    present: BTreeSet<&'a str>,
    /// The names of all agents that have not left, by their lower case.
    owners: BTreeMap<String, &'a str>,
}

impl Observers {
    pub(super) fn new(datacenter: &str) -> Observers {
        Observers { datacenter: datacenter.to_owned(), failed: BTreeMap::new() }
    }

    /// The assignments that give each of `checks` its observers, by `roster`.
    pub(super) fn plan(&mut self, roster: &Roster, checks: &[Observed], now: Instant) -> Plan {
        let members: Vec<&Member> = roster.members.values().filter(|member| member.dc() == self.datacenter).collect();
        self.note_failures(&members, now);
        if checks.is_empty() {
            return Plan::default();
        }
        let agents = self.agents(&members, now);
        let assigns = checks.iter().filter_map(|check| agents.assign(check)).collect();
        let due = self.failed.values().map(|since| *since + OBSERVER_FAILED_AFTER).filter(|due| *due > now);
        Plan { assigns, look_again: due.min() }
    }

    fn note_failures(&mut self, members: &[&Member], now: Instant) {
        let failed = members.iter().filter(|member| member.status == MemberStatus::Failed);
        let since = |name: &String| self.failed.get(name).copied().unwrap_or(now);
        self.failed = failed.map(|member| (member.name.clone(), since(&member.name))).collect();
    }

    fn agents<'a>(&self, members: &[&'a Member], now: Instant) -> Agents<'a> {
        let mut agents = Agents::default();
        for member in members.iter().filter(|member| member.status != MemberStatus::Left) {
            let name = member.name.as_str();
            agents.owners.insert(name.to_lowercase(), name);
            if member.tag(tag::OBSERVE) != "1" {
                continue;
            }
            let lately = |since: &Instant| now.saturating_duration_since(*since) < OBSERVER_FAILED_AFTER;
            if member.status == MemberStatus::Alive {
                agents.willing.insert(name);
            }
            if member.status != MemberStatus::Failed || self.failed.get(name).is_some_and(lately) {
                agents.present.insert(name);
            }
        }
        agents
    }
}

impl Agents<'_> {
    /// The new assignment of `check`; unset where its observers stay.
    fn assign(&self, check: &Observed) -> Option<Assign> {
        // The owner runs the check in any case, also where it probes for no other agent.
        let owner = self.owners.get(&check.node.to_lowercase()).copied();
        let mut chosen: Vec<&str> = owner.into_iter().collect();
        let stay = check.observers.iter().map(String::as_str).filter(|name| Some(*name) != owner);
        chosen.extend(stay.filter(|name| self.present.contains(name)));
        let kept: BTreeSet<&str> = chosen.iter().copied().collect();
        let free = || self.willing.iter().copied().filter(|name| !kept.contains(name));
        let wanted = largest_odd((check.wanted as usize).min(chosen.len() + free().count()));
        if chosen.len() < wanted {
            let mut others: Vec<&str> = free().collect();
            others.sort_by_cached_key(|name| Reverse(weight(&check.node, &check.check_id, name)));
            chosen.extend(others.into_iter().take(wanted - chosen.len()));
        }
        chosen.truncate(wanted);
        if chosen.is_empty() || chosen == check.observers {
            return None;
        }
        let observers = chosen.into_iter().map(str::to_owned).collect();
        Some(Assign { node: check.node.clone(), check_id: check.check_id.clone(), replaces: check.epoch, observers })
    }
}

/// The largest odd number that is not above `number`; 0 for 0.
fn largest_odd(number: usize) -> usize {
    number - usize::from(number > 0 && number.is_multiple_of(2))
}

/// The weight of `observer` for the check, the highest first: FNV-1a, mixed as SplitMix64 does, as its low bits alone spread.
fn weight(node: &str, check_id: &str, observer: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let parts = [node, "\0", check_id, "\0", observer];
    let hash = parts.iter().flat_map(|part| part.bytes()).fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use std::time::Duration;

    fn member(name: &str, status: MemberStatus, observe: &str) -> Member {
        let role = if name.starts_with('s') { "consul" } else { "node" };
        let tags = [(tag::ROLE, role), (tag::OBSERVE, observe)];
        testing::member(name, status, &tags[..if observe.is_empty() { 1 } else { 2 }])
    }

    fn roster(members: &[(&str, MemberStatus)]) -> Roster {
        testing::roster(members.iter().map(|(name, status)| member(name, *status, "1")))
    }

    fn alive(names: &[&str]) -> Roster {
        roster(&names.iter().map(|name| (*name, MemberStatus::Alive)).collect::<Vec<_>>())
    }

    const FOUR: [&str; 4] = ["c1", "c2", "c3", "c4"];

    /// The four, of whom `lost` has failed.
    fn without(lost: &str) -> Roster {
        roster(&FOUR.map(|name| (name, if name == lost { MemberStatus::Failed } else { MemberStatus::Alive })))
    }

    fn check(owner: &str, id: &str, wanted: u32) -> Observed {
        Observed { node: owner.into(), check_id: id.into(), wanted, epoch: 0, observers: Vec::new() }
    }

    /// The plan for one check, and the check once it is carried out.
    fn plan(observers: &mut Observers, roster: &Roster, check: &Observed, now: Instant) -> (Plan, Observed) {
        let plan = observers.plan(roster, std::slice::from_ref(check), now);
        let Some(assign) = plan.assigns.first() else { return (plan, check.clone()) };
        assert_eq!(assign.replaces, check.epoch);
        let after = Observed { epoch: check.epoch + 1, observers: assign.observers.clone(), ..check.clone() };
        (plan, after)
    }

    #[test]
    fn the_owner_is_one_of_as_many_as_are_wanted_and_nothing_is_said_twice() {
        let (mut observers, now) = (Observers::new("dc1"), Instant::now());
        let all = alive(&["s1", "c1", "c2", "c3", "c4"]);
        let (plan_of, assigned) = plan(&mut observers, &all, &check("C1", "web", 3), now);
        assert_eq!(plan_of.assigns.len(), 1);
        assert_eq!((assigned.observers.len(), assigned.observers[0].as_str()), (3, "c1"));
        assert_eq!(plan(&mut observers, &all, &assigned, now).0, Plan::default());
    }

    #[test]
    fn with_fewer_agents_the_number_is_the_largest_odd_one_and_grows_with_them() {
        let (mut observers, now) = (Observers::new("dc1"), Instant::now());
        let mut known = check("c1", "web", 5);
        for (names, count) in [
            (&["c1"][..], 1),
            (&["c1", "c2"], 1),
            (&["c1", "c2", "c3"], 3),
            (&["c1", "c2", "c3", "c4"], 3),
            (&["c1", "c2", "c3", "c4", "c5", "c6"], 5),
        ] {
            known = plan(&mut observers, &alive(names), &known, now).1;
            assert_eq!(known.observers.len(), count, "{names:?}");
        }
    }

    #[test]
    fn one_that_has_failed_is_replaced_after_its_time_and_not_moved_back() {
        let (mut observers, now) = (Observers::new("dc1"), Instant::now());
        let known = plan(&mut observers, &alive(&FOUR), &check("c1", "web", 3), now).1;
        let lost = known.observers[1].clone();
        let without = without(&lost);
        let (first, same) = plan(&mut observers, &without, &known, now);
        assert_eq!(first, Plan { assigns: Vec::new(), look_again: Some(now + OBSERVER_FAILED_AFTER) });
        let later = now + OBSERVER_FAILED_AFTER;
        assert_eq!(plan(&mut observers, &without, &same, later - Duration::from_secs(1)).0.assigns, []);
        let (moved, replaced) = plan(&mut observers, &without, &same, later);
        assert_eq!((moved.assigns.len(), replaced.observers.len()), (1, 3));
        assert!(!replaced.observers.contains(&lost) && replaced.observers[0] == "c1");
        assert_eq!(replaced.observers[1], known.observers[2], "a healthy observer stays");
        assert_eq!(plan(&mut observers, &alive(&FOUR), &replaced, later).0, Plan::default(), "it comes back");
        assert_eq!(plan(&mut observers, &without, &replaced, later).0.assigns, [], "and fails again");
    }

    #[test]
    fn one_that_comes_back_in_time_keeps_its_place_and_gets_its_whole_time_again() {
        let (mut observers, now) = (Observers::new("dc1"), Instant::now());
        let known = plan(&mut observers, &alive(&FOUR), &check("c1", "web", 3), now).1;
        let without = without(&known.observers[1]);
        let step = OBSERVER_FAILED_AFTER - Duration::from_secs(1);
        assert_eq!(plan(&mut observers, &without, &known, now).0.assigns, []);
        assert_eq!(plan(&mut observers, &alive(&FOUR), &known, now + step).0.assigns, []);
        assert_eq!(plan(&mut observers, &without, &known, now + step * 2).0.assigns, []);
        assert_eq!(plan(&mut observers, &without, &known, now + step * 3).0.assigns, []);
    }

    #[test]
    fn one_that_has_left_or_will_observe_no_more_is_replaced_at_once_and_the_owner_never() {
        let (mut observers, now) = (Observers::new("dc1"), Instant::now());
        let known = plan(&mut observers, &alive(&FOUR), &check("c1", "web", 3), now).1;
        for index in [1, 0] {
            let mut roster = alive(&FOUR);
            roster.members.insert(known.observers[index].clone(), member(&known.observers[index], MemberStatus::Alive, "0"));
            let changed = plan(&mut observers, &roster, &known, now).1;
            assert_eq!(changed.observers.contains(&known.observers[index]), index == 0);
        }
        let mut roster = alive(&FOUR);
        roster.members.insert(known.observers[2].clone(), member(&known.observers[2], MemberStatus::Left, "1"));
        assert!(!plan(&mut observers, &roster, &known, now).1.observers.contains(&known.observers[2]));
    }

    #[test]
    fn an_agent_that_knows_nothing_of_votes_observes_nothing() {
        let (mut observers, now) = (Observers::new("dc1"), Instant::now());
        let mut roster = alive(&["c1", "c2", "c3"]);
        roster.members.insert("c9".into(), member("c9", MemberStatus::Alive, ""));
        let known = plan(&mut observers, &roster, &check("c1", "web", 3), now).1;
        assert!(known.observers.len() == 3 && !known.observers.contains(&"c9".to_owned()));
    }

    #[test]
    fn a_check_of_a_node_that_is_no_agent_is_observed_by_others() {
        let all = alive(&FOUR);
        let known = plan(&mut Observers::new("dc1"), &all, &check("printer", "web", 3), Instant::now()).1;
        assert!(known.observers.len() == 3 && !known.observers.contains(&"printer".to_owned()));
    }

    #[test]
    fn the_load_spreads_evenly() {
        let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
        let all = alive(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let checks: Vec<Observed> = (0..2_000).map(|number| check("outside", &format!("web-{number}"), 3)).collect();
        let plan = Observers::new("dc1").plan(&all, &checks, Instant::now());
        let mut load: BTreeMap<&str, usize> = BTreeMap::new();
        for observer in plan.assigns.iter().flat_map(|assign| &assign.observers) {
            *load.entry(observer).or_default() += 1;
        }
        assert_eq!(load.len(), 20);
        // 300 each; a fair draw stays within a fifth of it.
        assert!(load.values().all(|count| (240..=360).contains(count)), "{load:?}");
    }
}
