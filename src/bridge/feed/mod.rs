//! Feeds: queries of this side that the other side keeps answered, by pushing each new answer.
//!
//! The following side: `follower` keeps one feed by one `stream` at a time, in one of the `places`; `cached_feed` holds its
//! answer. `heartbeat` counts ages from ping and echo, and `pace` says when the next ping is due. The pushing side: `pusher`
//! serves one feed, `pushing` all those of one connection, `freshness` vouches for them in echoes. Without I/O and
//! clock: `message` has the words, `age` the greatest age of an answer, `order` which answer may replace which.

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
