//! What other members say: packets of the membership protocol, and the rumours they carry.

use super::super::identity::MAX_GENERATION;
use super::*;
use foca::{Codec, Header};

impl Core {
    /// Takes in a packet of the membership protocol.
    pub(super) fn hear(&mut self, data: &[u8], now: Instant) -> Result<(), Refusal> {
        self.admit(data, now)?;
        // What is left are packets for an earlier identity of this agent and the like.
        self.foca.handle_data(data, &mut self.runtime).map_err(|_error| Refusal::Junk)
    }

    /// Reads a packet before the membership protocol does: its identities must be possible ones,
    /// and its table must not grow past the bound.
    fn admit(&mut self, mut data: &[u8], now: Instant) -> Result<(), Refusal> {
        let header: Header<Identity> = PostcardCodec.decode_header(&mut data).map_err(|_error| Refusal::Junk)?;
        let mut identities = vec![header.src];
        if header.message != foca::Message::Broadcast
            && let Some((count, mut rest)) = data.split_first_chunk::<2>()
        {
            for _ in 0..u16::from_be_bytes(*count) {
                let member: foca::Member<Identity> = PostcardCodec.decode_member(&mut rest).map_err(|_error| Refusal::Junk)?;
                identities.push(*member.id());
            }
        }
        if !identities.iter().all(|id| self.policy.admits_identity(id)) {
            return Err(Refusal::Junk);
        }
        if self.foca.iter_membership_state().len() + identities.len() > 2 * defaults::GOSSIP_MAX_MEMBERS {
            metrics::counter!("kontor.gossip.roster_full").increment(1);
            return Err(Refusal::Junk);
        }
        for id in identities {
            self.outbid(id, now);
        }
        Ok(())
    }

    /// Somebody remembers a life of ours that is later than this one, after a clock went back or a
    /// data directory was lost: go beyond it, or nobody would take us for alive.
    pub(super) fn outbid(&mut self, id: Identity, now: Instant) {
        let mine = self.me.identity();
        if id.addr == mine.addr && id != mine && id.bump >= mine.bump && id.bump + 1 < MAX_GENERATION && self.stay == Stay::Member
        {
            self.begin_generation(id.bump + 1);
            self.settle(now);
        }
    }

    /// Takes in what is told of a member.
    pub(super) fn handle_rumour(&mut self, rumour: Rumour, now: Instant) {
        match rumour {
            Rumour::Info(info) => {
                let member = foca::Member::alive(info.identity());
                let alive = (!info.left).then_some(member);
                self.offer(info, alive, None, now);
            }
            Rumour::Newer { name, addr, stamp } => {
                // Only members are fetched from: a rumour must not make agents connect anywhere.
                if name != self.me.name && self.table.get(&name).is_some() && self.is_up(addr) {
                    self.announced.insert(name, (addr, stamp, now));
                }
            }
            Rumour::Forced { name, stamp, prune } => self.handle_forced(&name, stamp, prune, now),
        }
    }

    fn is_up(&self, addr: SocketAddr) -> bool {
        self.foca.iter_members().any(|member| member.id().addr == addr)
    }

    pub(super) fn handle_forced(&mut self, name: &str, stamp: Stamp, prune: bool, now: Instant) {
        if name == self.me.name {
            if self.me.stamp <= stamp && self.stay == Stay::Member {
                self.me.stamp = Stamp { generation: self.me.stamp.generation.max(stamp.generation), version: stamp.version + 1 };
                self.publish();
            }
            return;
        }
        self.table.force(name, stamp);
        if prune && self.table.prune(name, stamp, now).is_some() {
            self.forget(name);
        }
    }
}
