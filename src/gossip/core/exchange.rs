//! State exchange over TCP, and the admission of members: the other half of [`Core`], still without I/O.

use super::super::info::{Denied, Entry, OrderNews};
use super::super::stream::Message;
use super::*;
use crate::model::member::tag;

/// The answer to a frame from a connection.
#[derive(Debug)]
pub(in crate::gossip) enum ExchangeAnswer {
    /// Send this.
    Answer(Vec<u8>),
    /// Send this reason to a newcomer that is not admitted; counted.
    Deny { answer: Vec<u8>, newcomer: Box<NodeInfo>, denied: Denied },
    /// Ask the holder of the newcomer's name first, then call [`Core::finish_exchange`].
    AskFirst { holder: SocketAddr, holder_name: String, holder_id: NodeId, newcomer: Box<NodeInfo>, said: Said },
    /// Hang up; counted.
    Hangup(Rejection),
}

/// A sender's part of an exchange; nothing of it counts before the sender is admitted.
#[derive(Debug)]
pub(in crate::gossip) struct Said {
    entries: Vec<Entry>,
    orders: Vec<OrderNews>,
}

struct Frame {
    sender: NodeId,
    message: Message,
    orders: Vec<OrderNews>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gossip) enum Contact {
    Member,
    Ourselves,
    /// The member's datacenter was removed here; nothing of its report was taken.
    Removed(String),
}

impl Core {
    /// This agent's state as a frame: the first message of an exchange, and its answer.
    pub(in crate::gossip) fn state_frame(&mut self, now: Instant) -> Result<Vec<u8>, String> {
        let mut entries = self.entries(now);
        loop {
            let message = Message::State { from: self.me.clone(), entries: entries.clone() };
            let frame = self.frame(&message, &self.table.orders(now))?;
            if frame.len() <= defaults::GOSSIP_FRAME_BYTES || entries.is_empty() {
                return Ok(frame);
            }
            metrics::counter!("kontor.gossip.state_cut").increment(1);
            entries.truncate(entries.len() / 2);
        }
    }

    /// The question of identity to the holder of a name.
    pub(in crate::gossip) fn who_frame(&mut self) -> Result<Vec<u8>, String> {
        self.frame(&Message::Who, &[])
    }

    /// Takes the frame of a connection from `peer`.
    pub(in crate::gossip) fn handle_frame(&mut self, peer: IpAddr, bytes: &[u8], now: Instant) -> ExchangeAnswer {
        match self.open_frame(bytes) {
            Err(Rejection::Outlived { session, .. }) => {
                metrics::counter!("kontor.gossip.refused", "reason" => "outlived").increment(1);
                self.answer(&Message::Outlived { generation: session })
            }
            Err(refusal) => {
                metrics::counter!("kontor.gossip.refused", "reason" => refusal.label()).increment(1);
                ExchangeAnswer::Hangup(refusal)
            }
            Ok(Frame { message: Message::Who, .. }) => {
                self.answer(&Message::Me { name: self.me.name.clone(), node_id: self.me.node_id })
            }
            Ok(Frame { message: Message::State { from, entries }, orders, .. }) => {
                if from.addr.ip() == peer {
                    self.prove(from.addr, now);
                }
                self.judge(from, Said { entries, orders }, now)
            }
            Ok(Frame { message: Message::Me { .. } | Message::Refused { .. } | Message::Outlived { .. }, .. }) => {
                ExchangeAnswer::Hangup(Rejection::Junk)
            }
        }
    }

    fn judge(&mut self, from: NodeInfo, said: Said, now: Instant) -> ExchangeAnswer {
        if self.stay != Stay::Member {
            let reason = format!("Member '{}' is leaving", self.me.name);
            return self.refuse(&from, Denied { kind: "leaving", reason });
        }
        if self.is_me(&from) && from.addr == self.me.addr {
            return self.state_answer(now);
        }
        if let Err(denied) = self.policy.admits(&from).and_then(|()| self.check_against_me(&from)) {
            self.shun(&from);
            return self.refuse(&from, denied);
        }
        match self.table.rival(&from).map(|record| record.info.clone()) {
            Some(NodeInfo { addr: holder, name: holder_name, node_id: holder_id, .. }) => {
                ExchangeAnswer::AskFirst { holder, holder_name, holder_id, newcomer: Box::new(from), said }
            }
            None => self.take_all(&from, said, now),
        }
    }

    /// Goes on after the holder of the newcomer's name was asked; `answered` if it is still there.
    pub(in crate::gossip) fn finish_exchange(
        &mut self,
        from: &NodeInfo,
        said: Said,
        answered: bool,
        now: Instant,
    ) -> ExchangeAnswer {
        match self.table.rival(from) {
            Some(held) if answered => {
                let denied = conflict(from, &held.info);
                self.refuse(from, denied)
            }
            _ => self.take_all(from, said, now),
        }
    }

    fn take_all(&mut self, from: &NodeInfo, said: Said, now: Instant) -> ExchangeAnswer {
        self.take_orders(said.orders, now);
        self.take(from, said.entries, now);
        self.state_answer(now)
    }

    /// Takes the answer of `peer` to [`Core::state_frame`]; an error names the reason of a refusal.
    pub(in crate::gossip) fn handle_answer(&mut self, peer: SocketAddr, bytes: &[u8], now: Instant) -> Result<Contact, String> {
        let Frame { sender, message, orders } = self.open_frame(bytes).map_err(|refusal| {
            metrics::counter!("kontor.gossip.refused", "reason" => refusal.label()).increment(1);
            refusal.to_string()
        })?;
        match message {
            Message::Refused { reason } => {
                self.hear_refused(now);
                Err(reason)
            }
            Message::Outlived { generation } => Err(self.hear_outlived(sender, generation, now)),
            Message::State { from, .. } if self.is_me(&from) && from.addr == self.me.addr => Ok(Contact::Ourselves),
            Message::State { from, .. } if self.policy.shuns(&from) => {
                self.shun(&from);
                self.stale = true;
                self.settle(now);
                Ok(Contact::Removed(from.tag(tag::DC).to_owned()))
            }
            Message::State { from, entries } => {
                self.hear_witness(sender, &from, &entries);
                self.policy.admits(&from).and_then(|()| self.check_against_me(&from)).map_err(|denied| denied.reason)?;
                if self.table.rival(&from).is_some() {
                    self.contend(from.clone(), now);
                }
                self.prove(peer, now);
                if from.addr.ip() == peer.ip() {
                    self.prove(from.addr, now);
                }
                self.take_orders(orders, now);
                self.take(&from, entries, now);
                Ok(Contact::Member)
            }
            Message::Who | Message::Me { .. } => Err("the answer does not fit the question".to_owned()),
        }
    }

    /// True for an answer to [`Core::who_frame`] by this member.
    pub(in crate::gossip) fn is_answer_of(&mut self, bytes: &[u8], name: &str, node_id: NodeId) -> bool {
        let message = self.open_frame(bytes).map(|frame| frame.message);
        matches!(message, Ok(Message::Me { name: reported, node_id: id }) if reported == name && id == node_id)
    }

    /// Goes on after the holder of a name that came by rumour was asked.
    pub(in crate::gossip) fn settle_contest(&mut self, newcomer: &str, answered: bool, now: Instant) {
        if answered {
            metrics::counter!("kontor.gossip.name_conflicts").increment(1);
            return;
        }
        if let Some((info, _)) = self.contenders.remove(newcomer) {
            let member = foca::Member::alive(info.identity());
            self.accept(info, Some(member), None, now);
            self.settle(now);
        }
    }

    pub(super) fn is_me(&self, other: &NodeInfo) -> bool {
        other.name == self.me.name && other.node_id == self.me.node_id
    }

    /// Refuses a sender with the name or the id of this agent; with both at another address it is a copy.
    fn check_against_me(&self, other: &NodeInfo) -> Result<(), Denied> {
        let (same_name, same_id) = (other.name == self.me.name, other.node_id == self.me.node_id);
        if same_name || same_id { Err(conflict(other, &self.me)) } else { Ok(()) }
    }

    fn take(&mut self, from: &NodeInfo, entries: Vec<Entry>, now: Instant) {
        for entry in entries {
            if self.policy.admits(&entry.info).is_err() || !self.policy.admits_identity(entry.member.id()) {
                metrics::counter!("kontor.gossip.refused", "reason" => "entry").increment(1);
                self.shun(&entry.info);
                continue;
            }
            self.refute(*entry.member.id(), now);
            self.take_entry(entry.info.name == from.name, entry, now);
            self.settle(now);
        }
        self.stale = true;
        self.settle(now);
    }

    fn take_entry(&mut self, first_hand: bool, entry: Entry, now: Instant) {
        let Entry { info, forced, member, down_for_ms, coordinate } = entry;
        let (name, stamp) = (info.name.clone(), info.stamp);
        self.offer(info, Some(member), down_for_ms.map(Duration::from_millis), now);
        if forced {
            self.hear_of_forced(&name, stamp);
        }
        if let Some(coordinate) = coordinate.filter(|_| first_hand || !self.coordinates.contains_key(&name)) {
            self.learn_coordinate(&name, &coordinate);
        }
    }

    /// Takes a member's state, unless its name must be settled first.
    pub(super) fn offer(
        &mut self,
        info: NodeInfo,
        member: Option<foca::Member<Identity>>,
        down_for: Option<Duration>,
        now: Instant,
    ) {
        if info.name == self.me.name || info.node_id == self.me.node_id {
            self.hear_of_me(&info, member);
        } else if down_for.is_none() && !info.left && self.table.rival(&info).is_some() {
            self.contend(info, now);
        } else {
            self.accept(info, member, down_for, now);
        }
    }

    fn hear_of_me(&mut self, info: &NodeInfo, member: Option<foca::Member<Identity>>) {
        // Others may know an earlier address of this agent; its name with another id is a conflict.
        if !self.is_me(info) {
            metrics::counter!("kontor.gossip.name_conflicts").increment(1);
            return;
        }
        if info.stamp > self.me.stamp {
            self.outlive(info.stamp.generation);
        } else if let Some(member) = member.filter(|member| *member.id() == self.me.identity()) {
            let _ = self.foca.apply_many(std::iter::once(member), true, &mut self.runtime);
        }
    }

    fn contend(&mut self, newcomer: NodeInfo, now: Instant) {
        let Some(held) = self.table.rival(&newcomer).map(|record| record.info.clone()) else { return };
        let name = newcomer.name.clone();
        if self.contenders.contains_key(&name) || held.stamp >= newcomer.stamp && held.name == name {
            return;
        }
        if self.contenders.len() >= defaults::GOSSIP_MAX_CONTENDERS {
            metrics::counter!("kontor.gossip.contenders_full").increment(1);
            return;
        }
        self.contenders.insert(name.clone(), (newcomer, now));
        let NodeInfo { addr: holder, name: holder_name, node_id: holder_id, .. } = held;
        self.outputs.push_back(Output::AskHolder { holder, holder_name, holder_id, newcomer: name });
    }

    fn accept(&mut self, info: NodeInfo, member: Option<foca::Member<Identity>>, down_for: Option<Duration>, now: Instant) {
        let (name, addr, left) = (info.name.clone(), info.addr, info.left);
        let before = self.table.get(&name).map(|record| record.info.identity());
        let merged = self.table.merge(info, down_for, now);
        if merged == Merged::Refused {
            return;
        }
        self.stale = true;
        let mut updates = Vec::new();
        if let Some(before) = before.filter(|before| merged == Merged::News && before.addr != addr) {
            // The old address of a member that has moved need not be probed until it fails.
            updates.push(foca::Member::down(before));
        }
        let of_record = |member: &foca::Member<Identity>| {
            let id = *member.id();
            self.table.get(&name).is_some_and(|record| record.info.addr == id.addr && record.info.stamp.generation <= id.bump)
        };
        // A rumour of a member that leaves is no proof of life.
        let proof = |member: &foca::Member<Identity>| !left || member.state() == foca::State::Down;
        updates.extend(member.filter(of_record).filter(proof).map(|member| if left { member } else { self.doubt(member) }));
        let _ = self.foca.apply_many(updates.into_iter(), true, &mut self.runtime);
    }

    /// Takes another's report of a death as suspicion while the member is alive here: the other may have been cut off. A
    /// suspected member refutes it at once; a dead one fails the next probe.
    fn doubt(&self, member: foca::Member<Identity>) -> foca::Member<Identity> {
        let is_dead_there = member.state() == foca::State::Down;
        let is_alive_here = || self.foca.iter_members().any(|held| held.id() == member.id());
        if is_dead_there && is_alive_here() {
            metrics::counter!("kontor.gossip.deaths_doubted").increment(1);
            return foca::Member::new(*member.id(), member.incarnation(), foca::State::Suspect);
        }
        member
    }

    fn entries(&self, now: Instant) -> Vec<Entry> {
        let members: HashMap<SocketAddr, &foca::Member<Identity>> =
            self.foca.iter_membership_state().map(|member| (member.id().addr, member)).collect();
        let (member, coordinate) = (foca::Member::alive(self.me.identity()), Some(self.vivaldi.coordinate().clone()));
        let mut entries = vec![Entry { info: self.me.clone(), forced: false, member, down_for_ms: None, coordinate }];
        entries.extend(self.table.others().map(|record| {
            let identity = record.info.identity();
            let held = members
                .get(&identity.addr)
                .filter(|member| member.id().short == identity.short && member.id().bump >= identity.bump);
            let fallback =
                || if record.down_since.is_some() { foca::Member::down(identity) } else { foca::Member::alive(identity) };
            Entry {
                info: record.info.clone(),
                forced: record.forced,
                member: held.map_or_else(fallback, |member| (*member).clone()),
                down_for_ms: record.down_since.map(|since| millis(now.saturating_duration_since(since))),
                coordinate: self.coordinates.get(&record.info.name).cloned(),
            }
        }));
        entries
    }

    fn open_frame(&mut self, bytes: &[u8]) -> Result<Frame, Rejection> {
        let opened = self.envelope.open(Carrier::Stream, bytes)?;
        let (message, rest) = postcard::take_from_bytes(&opened.payload).map_err(|_error| Rejection::Junk)?;
        // Agents of versions without orders write nothing there.
        let orders = if rest.is_empty() { Vec::new() } else { postcard::from_bytes(rest).map_err(|_error| Rejection::Junk)? };
        Ok(Frame { sender: opened.sender, message, orders })
    }

    fn frame(&mut self, message: &Message, orders: &[OrderNews]) -> Result<Vec<u8>, String> {
        let unwritten = |error| format!("a message could not be written: {error}");
        let mut bytes = postcard::to_stdvec(message).map_err(unwritten)?;
        bytes.extend(postcard::to_stdvec(orders).map_err(unwritten)?);
        self.envelope.seal(Carrier::Stream, &bytes).map_err(|_unsealed| "a message could not be sealed".to_owned())
    }

    fn answer(&mut self, message: &Message) -> ExchangeAnswer {
        self.frame(message, &[]).map_or(ExchangeAnswer::Hangup(Rejection::Junk), ExchangeAnswer::Answer)
    }

    fn refuse(&mut self, newcomer: &NodeInfo, denied: Denied) -> ExchangeAnswer {
        metrics::counter!("kontor.gossip.denied", "reason" => denied.kind).increment(1);
        match self.frame(&Message::Refused { reason: denied.reason.clone() }, &[]) {
            Ok(answer) => ExchangeAnswer::Deny { answer, newcomer: Box::new(newcomer.clone()), denied },
            Err(_unsealed) => ExchangeAnswer::Hangup(Rejection::Junk),
        }
    }

    fn state_answer(&mut self, now: Instant) -> ExchangeAnswer {
        self.state_frame(now).map_or(ExchangeAnswer::Hangup(Rejection::Junk), ExchangeAnswer::Answer)
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// The refusal of a second member of one name or id, with both addresses.
fn conflict(newcomer: &NodeInfo, held: &NodeInfo) -> Denied {
    let NodeInfo { name, node_id, addr, .. } = newcomer;
    let who = format!("Member '{name}' at {addr} has");
    let (at, still) = (held.addr, "which still answers");
    let reason = match (*name == held.name, *node_id == held.node_id) {
        (true, true) => format!("{who} name and node ID of the member at {at}, {still}; was its data directory copied?"),
        (true, false) => format!("{who} the name of another member at {at}, {still}; names must be unique"),
        (false, _) => format!("{who} conflicting node ID '{node_id}' with member '{}' at {at}, {still}", held.name),
    };
    Denied { kind: "name", reason }
}
