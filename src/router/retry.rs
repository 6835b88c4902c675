//! The consequences of a failed attempt to have a request answered: another attempt, or a fault for the asker. Pure.

use crate::model::fault::{Fault, FaultKind};
use crate::rpc::CallError;

/// The step after a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The asker gets the fault.
    Give(Fault),
    /// The request certainly was not processed: it may be sent anew, a write too.
    Retry(Fault),
    /// The request may have been processed, which does no harm: a read may be sent anew.
    RetryAfterLoss(Fault),
}

pub(super) fn after(error: CallError, is_write: bool) -> Next {
    match error {
        CallError::NotSent(text) => Next::Retry(Fault::new(FaultKind::NoLeader, format!("rpc error getting client: {text}"))),
        CallError::Fault(fault) if fault.kind == FaultKind::NoLeader => Next::Retry(fault),
        CallError::Fault(fault) | CallError::Refused(fault) => Next::Give(fault),
        CallError::Lost(text) if is_write => {
            Next::Give(Fault::outcome_unknown(format!("rpc error making call: {text}; the write may or may not have been done")))
        }
        CallError::Lost(text) => Next::RetryAfterLoss(Fault::failed(format!("rpc error making call: {text}"))),
    }
}

/// The step after a neighbour that did not bring a request to another datacenter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// The asker gets the fault.
    Give(Fault),
    /// Another may be asked: certainly nothing was done. With the fault, where it is more than the want of a way.
    Next(Option<Fault>),
}

pub(super) fn after_neighbour(error: CallError, is_write: bool) -> Beside {
    match error {
        CallError::Fault(fault) if !may_be_retried(&fault) => Beside::Give(fault),
        CallError::Fault(fault) => Beside::Next((!is_want_of_way(&fault)).then_some(fault)),
        lost => match after(lost, is_write) {
            Next::Give(fault) => Beside::Give(fault),
            Next::Retry(_) | Next::RetryAfterLoss(_) => Beside::Next(None),
        },
    }
}

/// True if another server may have an answer: the fault is no mistake of the user, and no answer of the other datacenter.
pub(super) fn may_be_retried(fault: &Fault) -> bool {
    is_want_of_way(fault) || matches!(fault.kind, FaultKind::NoLeader | FaultKind::Busy)
}

/// True if the fault is of a server that could not ask.
pub(super) fn is_want_of_way(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::NoPath | FaultKind::Unreachable)
}

/// The attempts of one request on the servers of this datacenter, as a client agent makes them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retries {
    failures: usize,
    losses: usize,
    refusals: usize,
}

/// The step after a server has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// The asker gets the fault.
    Give(Fault),
    /// The next server is asked at once, however long the first has taken.
    AtOnce(Fault),
    /// The next server is asked at once, within the hold.
    Next(Fault),
    /// All were asked: a pause, in which one of them may come to have a leader, or be up again.
    Pause(Fault),
}

impl Retries {
    /// The step after a failure on one of `servers` servers. A request that was certainly not processed goes to the others;
    /// so does, once to each, a read that was lost or that a server of another version cannot take.
    pub(super) fn failed(&mut self, error: CallError, is_write: bool, servers: usize) -> AfterFailure {
        if let CallError::Refused(fault) = error {
            self.refusals += 1;
            return if is_write || self.refusals >= servers { AfterFailure::Give(fault) } else { AfterFailure::AtOnce(fault) };
        }
        let fault = match after(error, is_write) {
            Next::Give(fault) => return AfterFailure::Give(fault),
            Next::RetryAfterLoss(fault) => {
                self.losses += 1;
                let asked_all = self.losses >= servers.max(2);
                return if asked_all { AfterFailure::Give(fault) } else { AfterFailure::AtOnce(fault) };
            }
            Next::Retry(fault) => fault,
        };
        self.failures += 1;
        if self.failures.is_multiple_of(servers.max(1)) { AfterFailure::Pause(fault) } else { AfterFailure::Next(fault) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> CallError {
        CallError::Lost("reset".into())
    }

    fn not_sent() -> CallError {
        CallError::NotSent("refused".into())
    }

    #[test]
    fn a_lost_read_goes_to_each_server_and_a_lost_write_to_none() {
        for servers in 1..=3 {
            let mut read = Retries::default();
            for _ in 1..servers.max(2) {
                assert!(matches!(read.failed(lost(), false, servers), AfterFailure::AtOnce(_)));
            }
            assert!(matches!(read.failed(lost(), false, servers), AfterFailure::Give(_)));
        }
        let AfterFailure::Give(fault) = Retries::default().failed(lost(), true, 3) else { panic!("it was sent anew") };
        assert_eq!(fault.kind, FaultKind::OutcomeUnknown);
    }

    #[test]
    fn what_cannot_be_taken_is_final_for_a_write_and_for_a_read_once_nobody_takes_it() {
        let refused = || CallError::Refused(Fault::bad_request("too much"));
        assert_eq!(Retries::default().failed(refused(), true, 3), AfterFailure::Give(Fault::bad_request("too much")));
        assert_eq!(after(refused(), true), Next::Give(Fault::bad_request("too much")));
        let mut read = Retries::default();
        for turn in 1..=3 {
            let step = read.failed(refused(), false, 3);
            assert_eq!(matches!(step, AfterFailure::Give(_)), turn == 3, "turn {turn}: {step:?}");
        }
    }

    #[test]
    fn what_was_not_processed_goes_to_every_server_before_a_pause() {
        for is_write in [true, false] {
            let mut retries = Retries::default();
            for turn in 1..=6 {
                let error = if turn % 2 == 0 { not_sent() } else { CallError::Fault(Fault::no_leader()) };
                let step = retries.failed(error, is_write, 3);
                assert_eq!(matches!(step, AfterFailure::Pause(_)), turn % 3 == 0, "turn {turn}: {step:?}");
                assert_eq!(matches!(step, AfterFailure::Next(_)), turn % 3 != 0, "turn {turn}: {step:?}");
            }
        }
        assert!(matches!(Retries::default().failed(not_sent(), true, 1), AfterFailure::Pause(_)), "a single server");
    }

    #[test]
    fn a_write_is_sent_anew_only_when_it_certainly_was_not_proposed() {
        assert!(matches!(after(not_sent(), true), Next::Retry(_)));
        assert_eq!(after(CallError::Fault(Fault::no_leader()), true), Next::Retry(Fault::no_leader()));
        let Next::Give(fault) = after(lost(), true) else { panic!("it was sent anew") };
        assert_eq!((fault.kind, fault.reason.as_deref()), (FaultKind::OutcomeUnknown, Some("outcome-unknown")));
        let unknown = Fault::outcome_unknown("timeout");
        assert_eq!(after(CallError::Fault(unknown.clone()), true), Next::Give(unknown));
    }

    #[test]
    fn neighbours_are_asked_about_what_is_out_of_reach_and_not_about_mistakes() {
        for (fault, hope) in [
            (Fault::unreachable("cut"), true),
            (Fault::no_leader(), true),
            (Fault::no_path("never-joined"), true),
            (Fault::bad_request("filter"), false),
            (Fault::new(FaultKind::Denied, "Permission denied"), false),
            (Fault::failed("too large"), false),
        ] {
            assert_eq!(may_be_retried(&fault), hope, "{fault}");
        }
    }

    #[test]
    fn of_several_neighbours_the_next_is_asked_only_when_nothing_was_done() {
        let busy = Fault::new(FaultKind::Busy, "full");
        for (fault, reported) in [
            (Fault::unreachable("cut"), None),
            (Fault::no_path("never-joined"), None),
            (Fault::no_leader(), Some(Fault::no_leader())),
            (busy.clone(), Some(busy)),
        ] {
            for is_write in [true, false] {
                assert_eq!(after_neighbour(CallError::Fault(fault.clone()), is_write), Beside::Next(reported.clone()));
            }
        }
        for fault in [Fault::bad_request("no"), Fault::outcome_unknown("lost")] {
            assert_eq!(after_neighbour(CallError::Fault(fault.clone()), true), Beside::Give(fault));
        }
        for is_write in [true, false] {
            assert_eq!(after_neighbour(not_sent(), is_write), Beside::Next(None));
        }
        assert_eq!(after_neighbour(lost(), false), Beside::Next(None));
        let Beside::Give(fault) = after_neighbour(lost(), true) else { panic!("it was sent anew") };
        assert_eq!(fault.kind, FaultKind::OutcomeUnknown);
    }

    #[test]
    fn a_read_is_sent_anew_after_a_loss_and_never_after_a_users_mistake() {
        assert!(matches!((after(lost(), false), after(not_sent(), false)), (Next::RetryAfterLoss(_), Next::Retry(_))));
        let mistake = Fault::bad_request("no");
        assert_eq!(after(CallError::Fault(mistake.clone()), false), Next::Give(mistake));
    }
}
