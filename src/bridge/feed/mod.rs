//! Feeds: queries of this side that the other side keeps answered, by pushing each new answer.
//!
//! Two sides and what they say to each other. `message` is the words; `age` tells how old an answer
//! can be at most, `order` which answer may replace which: both without I/O and without a clock.
//! `follower` keeps one feed of ours, on whichever link serves, by one `stream` at a time, and in one
//! of the `places` that there are; what it brings is kept in a `holding`. `pusher` serves one feed of
//! another datacenter, `pushing` all those of one connection, `freshness` what its echoes say of them.
//! `heartbeat` is the ping and echo of a link, from which ages are counted; `pace` says when the next ping is due.

mod age;
pub(super) mod follower;
pub(super) mod cached_feed;
mod message;
mod order;
mod pace;
pub(super) mod places;
pub(super) mod heartbeat;
pub(super) mod pusher;
pub(super) mod pushing;
mod stream;
mod freshness;

#[cfg(test)]
mod tests_age;
#[cfg(test)]
mod tests_behind;
#[cfg(test)]
mod tests_far;
#[cfg(test)]
mod tests_follow;
#[cfg(test)]
mod tests_golden;
#[cfg(test)]
mod tests_push;
#[cfg(test)]
mod tests_rest;
#[cfg(test)]
mod tests_room;
