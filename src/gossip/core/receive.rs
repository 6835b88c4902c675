//! Packets of the membership protocol, and the rumours they carry.

use super::*;
use foca::{Codec, Header};

impl Core {
    pub(super) fn hear(&mut self, data: &[u8], now: Instant) -> Result<(), Rejection> {
        self.admit(data, now)?;
        // The rest are packets for an earlier identity of this agent and the like.
        self.foca.handle_data(data, &mut self.runtime).map_err(|_error| Rejection::Junk)
    }

    /// Reads a packet before the membership protocol does: its identities must be possible, and the table stays in its bound.
    fn admit(&mut self, mut data: &[u8], now: Instant) -> Result<(), Rejection> {
        let whole = data;
        let header: Header<Identity> = PostcardCodec.decode_header(&mut data).map_err(|_error| Rejection::Junk)?;
        let mut identities = vec![header.src];
        if header.message != foca::Message::Broadcast
            && let Some((count, mut rest)) = data.split_first_chunk::<2>()
        {
            for _ in 0..u16::from_be_bytes(*count) {
                let member: foca::Member<Identity> = PostcardCodec.decode_member(&mut rest).map_err(|_error| Rejection::Junk)?;
                identities.push(*member.id());
            }
        }
        if !identities.iter().all(|id| self.policy.horizon.admits(id.bump)) {
            return Err(Rejection::Ahead);
        }
        if !identities.iter().all(|id| self.policy.admits_addr(id.addr)) {
            return Err(Rejection::Junk);
        }
        if self.is_stranger(header.src.addr, now) {
            self.hear_later(header.src.addr, whole, now);
            return Err(Rejection::Unproven);
        }
        if self.foca.iter_membership_state().len() + identities.len() > 2 * defaults::GOSSIP_MAX_MEMBERS {
            metrics::counter!("kontor.gossip.roster_full").increment(1);
            return Err(Rejection::Junk);
        }
        for id in identities {
            self.refute(id, now);
        }
        Ok(())
    }

    pub(super) fn handle_rumour(&mut self, rumour: Rumour, now: Instant) {
        match rumour {
            Rumour::Info(info) => {
                let member = foca::Member::alive(info.identity());
                let alive = (!info.left).then_some(member);
                self.offer(info, alive, None, now);
            }
            // Its own rumours would be no news any more. An equal stamp may be that of its own state.
            Rumour::Newer { name, stamp, .. } if name == self.me.name && stamp > self.me.stamp => self.outdo(stamp),
            Rumour::Newer { name, .. } if name == self.me.name => {}
            Rumour::Newer { name, addr, stamp } => {
                // Only members are fetched from: a rumour must not make agents connect anywhere.
                if self.table.get(&name).is_some() && self.is_up(addr) {
                    self.announced.insert(name, Announced { addr, stamp, at: now, tries: 0 });
                }
            }
            Rumour::Forced { name, stamp, prune } => self.handle_forced(&name, stamp, prune, Duration::ZERO, now),
        }
    }

    /// True for an address that the protocol does not know, and that has not shown an agent.
    fn is_stranger(&self, addr: SocketAddr, now: Instant) -> bool {
        !self.is_proven(addr, now) && !self.foca.iter_membership_state().any(|member| member.id().addr == addr)
    }

    fn is_up(&self, addr: SocketAddr) -> bool {
        self.foca.iter_members().any(|member| member.id().addr == addr)
    }
}
