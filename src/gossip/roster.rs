//! The one table of members, keyed by name. `core` feeds it states and the membership protocol's members; no I/O.
//! The newest state of a name wins. Life is looked up under the identity that published that state, so a late "down" of an
//! older identity never touches it.

use super::Roster;
use super::identity::Identity;
use super::info::{NodeInfo, OrderNews, Stamp};
use crate::defaults;
use crate::model::duration;
use crate::model::member::{Member, MemberStatus, tag};
use foca::State;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub(super) struct Record {
    pub info: NodeInfo,
    /// It was made to leave.
    pub forced: bool,
    /// It is to be forgotten as soon as it is down.
    pub pruned: bool,
    /// Since when it is down; `None` while it is up.
    pub down_since: Option<Instant>,
}

impl Record {
    /// Serf's state of the member.
    pub(super) fn status(&self) -> MemberStatus {
        match (self.info.left || self.forced, self.down_since.is_none()) {
            (false, true) => MemberStatus::Alive,
            (false, false) => MemberStatus::Failed,
            (true, true) => MemberStatus::Leaving,
            (true, false) => MemberStatus::Left,
        }
    }
}

/// An order that a member leaves, for its states up to `stamp`.
#[derive(Clone, Copy, Debug)]
struct Order {
    stamp: Stamp,
    prune: bool,
    given: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merged {
    News,
    Known,
    /// Forgotten on purpose, or the table is full.
    Refused,
}

#[derive(Debug)]
pub(super) struct Table {
    me: String,
    records: BTreeMap<String, Record>,
    /// Forgotten names, with their last state and the time.
    tombstones: BTreeMap<String, (Stamp, Instant)>,
    /// The latest orders to leave: their states may be unknown here still, or to those that this agent informs.
    orders: BTreeMap<String, Order>,
    reconnect_timeout: Duration,
    bound: usize,
    changes: u64,
}

impl Table {
    /// A table with this agent alone in it, for `bound` names.
    pub(super) fn new(me: NodeInfo, reconnect_timeout: Duration, bound: usize) -> Table {
        let name = me.name.clone();
        let record = Record { info: me, forced: false, pruned: false, down_since: None };
        let records = BTreeMap::from([(name.clone(), record)]);
        Table { me: name, records, tombstones: BTreeMap::new(), orders: BTreeMap::new(), reconnect_timeout, bound, changes: 1 }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    pub(super) fn others(&self) -> impl Iterator<Item = &Record> {
        self.records.values().filter(|record| record.info.name != self.me)
    }

    pub(super) fn in_state(&self, status: MemberStatus) -> Vec<&Record> {
        self.others().filter(|record| record.status() == status).collect()
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn publish(&mut self, me: NodeInfo) {
        if let Some(record) = self.records.get_mut(&self.me) {
            record.info = me;
            self.changes += 1;
        }
    }

    /// The member that has not left and holds this newcomer's name or id, not both, elsewhere: it is asked first.
    pub(super) fn rival(&self, newcomer: &NodeInfo) -> Option<&Record> {
        let contests = |record: &&Record| {
            let known = &record.info;
            let same_name = known.name == newcomer.name;
            let same_id = known.node_id == newcomer.node_id;
            same_name != same_id && known.addr != newcomer.addr && record.status() != MemberStatus::Left
        };
        let by_name = self.records.get(&newcomer.name).filter(|record| contests(record));
        by_name.or_else(|| self.records.values().find(contests))
    }

    /// Takes a state that is newer than the known one. `down_for` is the time for which others have taken the member for down.
    pub(super) fn merge(&mut self, info: NodeInfo, down_for: Option<Duration>, now: Instant) -> Merged {
        if info.name == self.me {
            return Merged::Known;
        }
        if self.tombstones.get(&info.name).is_some_and(|(stamp, _)| info.stamp <= *stamp) || self.is_expired(&info, down_for) {
            return Merged::Refused;
        }
        if let Some(known) = self.records.get(&info.name) {
            if info.stamp <= known.info.stamp {
                return Merged::Known;
            }
        } else if self.records.len() >= self.bound {
            metrics::counter!("kontor.gossip.roster_full").increment(1);
            return Merged::Refused;
        }
        self.retire_other_names(&info, now);
        self.tombstones.remove(&info.name);
        let is_same_life = |known: &&Record| known.info.stamp.generation == info.stamp.generation;
        let down_since = match down_for {
            None => self.records.get(&info.name).filter(is_same_life).and_then(|known| known.down_since),
            Some(length) => Some(now.checked_sub(length).unwrap_or(now)),
        };
        let order = self.orders.get(&info.name).filter(|order| info.stamp <= order.stamp);
        let (forced, pruned) = (order.is_some(), order.is_some_and(|order| order.prune));
        self.records.insert(info.name.clone(), Record { info, forced, pruned, down_since });
        self.changes += 1;
        Merged::News
    }

    /// A node that comes back under another name has left its old one.
    fn retire_other_names(&mut self, info: &NodeInfo, now: Instant) {
        for record in self.records.values_mut() {
            let renamed = record.info.node_id == info.node_id && record.info.name != info.name;
            if renamed && record.info.name != self.me && record.info.stamp < info.stamp {
                record.forced = true;
                record.down_since.get_or_insert(now);
                self.changes += 1;
            }
        }
    }

    /// The time for which a failed member is kept: its own setting, or this agent's.
    fn kept_failed(&self, info: &NodeInfo) -> Duration {
        let reported = duration::parse(info.tag(tag::RECONNECT_TIMEOUT)).ok().filter(|reported| !reported.is_zero());
        reported.map_or(self.reconnect_timeout, |reported| reported.min(defaults::GOSSIP_MAX_RECONNECT_TIMEOUT))
    }

    fn is_expired(&self, info: &NodeInfo, down_for: Option<Duration>) -> bool {
        let limit = if info.left { defaults::GOSSIP_LEFT_TIMEOUT } else { self.kept_failed(info) };
        down_for.is_some_and(|length| length >= limit)
    }

    /// Takes the order, given `age` ago, that a member leaves with its states up to `stamp`, and is forgotten with `prune`.
    /// True if it is to be carried out.
    pub(super) fn order(&mut self, name: &str, stamp: Stamp, prune: bool, age: Duration, now: Instant) -> bool {
        if name == self.me || age >= defaults::GOSSIP_ORDER_MEMORY {
            return false;
        }
        let given = now.checked_sub(age).unwrap_or(now);
        self.remember_order(name, Order { stamp, prune, given });
        self.force(name, stamp, prune)
    }

    /// Marks a member as made to leave, for states up to `stamp`; true if it is to be forgotten.
    pub(super) fn force(&mut self, name: &str, stamp: Stamp, prune: bool) -> bool {
        let Some(record) = self.records.get_mut(name).filter(|record| record.info.stamp <= stamp) else { return false };
        if !record.forced || (prune && !record.pruned) {
            self.changes += 1;
        }
        record.forced = true;
        record.pruned |= prune;
        record.pruned
    }

    fn remember_order(&mut self, name: &str, order: Order) {
        match self.orders.get(name).copied() {
            Some(known) if known.stamp > order.stamp || (known.stamp == order.stamp && (known.prune || !order.prune)) => return,
            Some(_) => {}
            None if self.orders.len() >= defaults::GOSSIP_MAX_ORDERS => {
                metrics::counter!("kontor.gossip.orders_full").increment(1);
                let oldest = self.orders.iter().min_by_key(|(_, order)| order.given).map(|(name, _)| name.clone());
                self.orders.remove(&oldest.unwrap_or_default());
            }
            None => {}
        }
        self.orders.insert(name.to_owned(), order);
    }

    /// The latest orders, for others.
    pub(super) fn orders(&self, now: Instant) -> Vec<OrderNews> {
        let reported = |(name, order): (&String, &Order)| OrderNews {
            name: name.clone(),
            stamp: order.stamp,
            prune: order.prune,
            age_ms: u64::try_from(now.saturating_duration_since(order.given).as_millis()).unwrap_or(u64::MAX),
        };
        self.orders.iter().map(reported).collect()
    }

    /// Forgets those that are down and have an order for it; returns their names.
    pub(super) fn carry_out(&mut self, now: Instant) -> Vec<String> {
        self.forget_all(now, |_, record| record.pruned && record.down_since.is_some())
    }

    fn forget_all(&mut self, now: Instant, is_due: impl Fn(&Table, &Record) -> bool) -> Vec<String> {
        let due = self.others().filter(|record| is_due(self, record));
        let due: Vec<String> = due.map(|record| record.info.name.clone()).collect();
        due.iter().for_each(|name| self.forget(name, now));
        due
    }

    fn forget(&mut self, name: &str, now: Instant) {
        let Some(record) = self.records.remove(name) else { return };
        self.changes += 1;
        if self.tombstones.len() >= self.bound {
            let oldest = self.tombstones.iter().min_by_key(|(_, (_, at))| *at).map(|(name, _)| name.clone());
            self.tombstones.remove(&oldest.unwrap_or_default());
        }
        self.tombstones.insert(name.to_owned(), (record.info.stamp, now));
    }

    /// Removes the shunned members without remembering it: a readmitted one comes back with its state.
    pub(super) fn expel(&mut self, is_shunned: impl Fn(&NodeInfo) -> bool) -> Vec<NodeInfo> {
        let shunned: Vec<NodeInfo> = self.others().map(|record| &record.info).filter(|info| is_shunned(info)).cloned().collect();
        for info in &shunned {
            self.records.remove(&info.name);
            self.tombstones.remove(&info.name);
            self.changes += 1;
        }
        shunned
    }

    /// Updates the life of all, and returns the up identities whose state is not known here.
    pub(super) fn derive<'a>(
        &mut self,
        members: impl Iterator<Item = &'a foca::Member<Identity>>,
        now: Instant,
    ) -> Vec<Identity> {
        let mut known: HashMap<SocketAddr, (Identity, State)> =
            members.map(|member| (member.id().addr, (*member.id(), member.state()))).collect();
        // Of several names at one address only the last one can be up.
        let mut last: HashMap<SocketAddr, Stamp> = HashMap::new();
        for info in self.records.values().map(|record| &record.info) {
            let stamp = last.entry(info.addr).or_default();
            *stamp = info.stamp.max(*stamp);
        }
        for record in self.records.values_mut().filter(|record| record.info.name != self.me) {
            let published = record.info.identity();
            let is_last = last.get(&published.addr).is_some_and(|stamp| *stamp <= record.info.stamp);
            let (up, current) = match known.get(&published.addr) {
                Some((id, state)) if is_last && id.short == published.short && id.bump >= published.bump => {
                    (*state != State::Down, id.bump == published.bump)
                }
                _ => (false, false),
            };
            if up != record.down_since.is_none() {
                record.down_since = if up { None } else { Some(now) };
                self.changes += 1;
            }
            if up && current {
                known.remove(&published.addr);
            }
        }
        known.into_values().filter(|(_, state)| *state != State::Down).map(|(id, _)| id).collect()
    }

    /// Forgets members that failed or left too long ago; returns their names.
    pub(super) fn reap(&mut self, now: Instant) -> Vec<String> {
        self.tombstones.retain(|_, (_, at)| now.saturating_duration_since(*at) < defaults::GOSSIP_LEFT_TIMEOUT);
        self.orders.retain(|_, order| now.saturating_duration_since(order.given) < defaults::GOSSIP_ORDER_MEMORY);
        self.forget_all(now, |table, record| {
            let limit = match record.status() {
                MemberStatus::Failed => table.kept_failed(&record.info),
                MemberStatus::Left => defaults::GOSSIP_LEFT_TIMEOUT,
                MemberStatus::Alive | MemberStatus::Leaving => return false,
            };
            record.down_since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
        })
    }

    pub(super) fn roster(&self) -> Roster {
        let member = |record: &Record| Member {
            name: record.info.name.clone(),
            addr: record.info.addr,
            tags: record.info.tags.clone(),
            status: record.status(),
        };
        Roster { members: self.records.iter().map(|(name, record)| (name.clone(), member(record))).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::info::tests::info;

    const HOUR: Duration = Duration::from_secs(3600);

    fn table() -> Table {
        Table::new(info("me", 1, 1), 72 * HOUR, 8)
    }

    fn table_of<const N: usize>(members: [NodeInfo; N]) -> (Table, Instant) {
        let (mut table, now) = (table(), Instant::now());
        for info in members {
            table.merge(info, None, now);
        }
        (table, now)
    }

    fn member(info: &NodeInfo, state: State) -> foca::Member<Identity> {
        foca::Member::new(info.identity(), 0, state)
    }

    fn status(table: &Table, name: &str) -> Option<MemberStatus> {
        table.get(name).map(Record::status)
    }

    #[test]
    fn a_late_down_of_an_older_identity_never_touches_the_newer() {
        let (old, new) = (info("a", 2, 10), NodeInfo { addr: SocketAddr::from(([127, 0, 0, 1], 9)), ..info("a", 2, 11) });
        let (mut table, now) = table_of([old.clone(), new.clone()]);
        table.derive([member(&old, State::Down), member(&new, State::Alive)].iter(), now);
        assert_eq!(status(&table, "a"), Some(MemberStatus::Alive));
        assert_eq!(table.merge(old, Some(HOUR), now), Merged::Known);
        assert_eq!(status(&table, "a"), Some(MemberStatus::Alive));
    }

    #[test]
    fn left_and_failed_are_told_apart_and_reaped_at_their_own_time() {
        let (gone, lost) = (NodeInfo { left: true, ..info("gone", 2, 1) }, info("lost", 3, 1));
        let (mut table, now) = table_of([gone.clone(), lost.clone()]);
        assert_eq!(status(&table, "gone"), Some(MemberStatus::Leaving));
        table.derive([member(&gone, State::Down), member(&lost, State::Down)].iter(), now);
        assert_eq!(status(&table, "gone"), Some(MemberStatus::Left));
        assert_eq!(status(&table, "lost"), Some(MemberStatus::Failed));
        assert_eq!(table.reap(now + 24 * HOUR), ["gone"]);
        assert_eq!(table.reap(now + 72 * HOUR), ["lost"]);
        assert_eq!(table.merge(lost, Some(HOUR), now + 72 * HOUR), Merged::Refused, "others may not bring it back");
        assert_eq!(table.merge(info("lost", 3, 2), None, now + 72 * HOUR), Merged::News, "it may come back itself");
    }

    #[test]
    fn a_failed_member_is_kept_as_long_as_it_says_itself() {
        let (mut table, now) = (table(), Instant::now());
        for (port, name, reported) in [(2, "short", "30m"), (3, "none", "0s"), (4, "wrong", "soon"), (5, "long", "999999h")] {
            let mut info = info(name, port, 1);
            info.tags.insert(tag::RECONNECT_TIMEOUT.to_owned(), reported.to_owned());
            table.merge(info, None, now);
        }
        table.derive([].iter(), now);
        assert!(table.reap(now + HOUR / 4).is_empty());
        assert_eq!(table.reap(now + HOUR / 2), ["short"]);
        assert_eq!(table.reap(now + 72 * HOUR), ["none", "wrong"]);
        assert_eq!(table.reap(now + defaults::GOSSIP_MAX_RECONNECT_TIMEOUT), ["long"]);
    }

    #[test]
    fn force_leave_holds_until_the_member_says_something_newer() {
        let (mut table, now) = table_of([info("a", 2, 1)]);
        table.derive([].iter(), now);
        table.order("a", Stamp { generation: 1, version: 0 }, false, Duration::ZERO, now);
        assert_eq!(status(&table, "a"), Some(MemberStatus::Left));
        let back = info("a", 2, 2);
        table.merge(back.clone(), None, now);
        table.derive([member(&back, State::Alive)].iter(), now);
        assert_eq!(status(&table, "a"), Some(MemberStatus::Alive));
        table.order("a", Stamp { generation: 1, version: 0 }, false, Duration::ZERO, now);
        assert_eq!(status(&table, "a"), Some(MemberStatus::Alive), "an old force-leave changes nothing");
    }

    #[test]
    fn an_order_waits_for_the_state_it_is_about_and_for_the_failure() {
        let (mut table, now) = (table(), Instant::now());
        let stamp = Stamp { generation: 1, version: 0 };
        assert!(!table.order("a", stamp, true, Duration::ZERO, now), "nobody of that name yet");
        table.merge(info("a", 2, 1), None, now);
        assert_eq!(status(&table, "a"), Some(MemberStatus::Leaving));
        assert!(table.carry_out(now).is_empty(), "it is up");
        table.derive([].iter(), now);
        assert_eq!(table.carry_out(now), ["a"]);
        assert_eq!(table.merge(info("a", 2, 1), None, now), Merged::Refused);
        assert_eq!(table.merge(info("a", 2, 2), None, now), Merged::News);
        assert_eq!(status(&table, "a"), Some(MemberStatus::Alive), "an order is not about what comes later");
        let reported = table.orders(now + HOUR / 60);
        assert_eq!((reported[0].prune, reported[0].age_ms), (true, 60_000));
        table.reap(now + HOUR);
        assert!(table.orders(now + HOUR).is_empty());
    }

    #[test]
    fn rivals_are_found_by_name_and_by_id_but_not_at_the_same_address() {
        let (table, _now) = table_of([info("a", 2, 1)]);
        let other_id = NodeInfo { addr: SocketAddr::from(([127, 0, 0, 2], 2)), ..info("a", 3, 2) };
        assert_eq!(table.rival(&other_id).map(|record| record.info.name.as_str()), Some("a"));
        assert!(table.rival(&NodeInfo { addr: info("a", 2, 1).addr, ..other_id.clone() }).is_none());
        assert!(table.rival(&NodeInfo { addr: other_id.addr, ..info("b", 2, 2) }).is_some());
    }

    #[test]
    fn a_renamed_node_has_left_its_old_name() {
        let (table, _now) = table_of([info("old", 2, 1), info("new", 2, 2)]);
        assert_eq!(status(&table, "old"), Some(MemberStatus::Left));
    }

    #[test]
    fn members_and_orders_are_bounded() {
        let (mut table, now) = (table(), Instant::now());
        for number in 100..200 {
            table.merge(info(&format!("n{number}"), number, 1), None, now);
        }
        assert_eq!(table.records.len(), 8);
        for number in 0..2 * defaults::GOSSIP_MAX_ORDERS {
            table.order(&format!("n{number}"), Stamp::default(), false, Duration::ZERO, now);
        }
        assert_eq!(table.orders(now).len(), defaults::GOSSIP_MAX_ORDERS);
    }
}
