//! Feeds: queries of this side that the other side keeps answered, by pushing each new answer.
//!
//! Two sides and what they say to each other. `message` is the words; `age` tells how old an answer
//! can be at most, `order` which answer may replace which: both without I/O and without a clock.
//! `follower` keeps one feed of ours, on whichever link serves; `pusher` serves one feed of another
//! datacenter, `pushing` all those of one connection, `standing` what its echoes say of them; `pulse`
//! is the ping and echo of a link, from which ages are counted.

mod age;
mod message;
pub(super) mod pusher;
pub(super) mod pushing;
mod standing;

#[cfg(test)]
mod tests_age;
#[cfg(test)]
mod tests_push;
