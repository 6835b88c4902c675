//! The loop of a blocking query: read, park until something it depends on changes, read again. It knows only a
//! [`Watched`]. Dropping its future frees the watch.

use crate::defaults::WAIT_JITTER_DIVISOR;
use crate::model::answer::{Answer, Found};
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use crate::model::request::{Phase, Progress};
use rand::RngExt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::time::Duration;

/// The catalog as one query sees it, with the right to answer from it.
pub(super) trait Watched {
    type Answer: News;

    /// Interest in the data that the query depends on.
    type Watch: Send;

    /// Registers interest; a change after this wakes it.
    fn watch(&self) -> Self::Watch;

    /// Resolves after a change.
    fn changed(watch: &mut Self::Watch) -> impl Future<Output = ()> + Send;

    /// Runs the query, if this place may answer it now.
    fn read(&self) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;

    /// Resolves when this place may no longer answer, so that the query must go elsewhere.
    fn lost(&self) -> impl Future<Output = Fault> + Send {
        std::future::pending()
    }

    /// Resolves when the knowledge of this place is older than its reader takes; the reader gets it with its age then.
    fn outdated(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// The wait in force for the one wished for: the default for zero, never over the maximum.
pub(super) fn clamp(wait: Duration, default: Duration, max: Duration) -> Duration {
    if wait.is_zero() { default.min(max) } else { wait.min(max) }
}

pub(super) fn longest(wait: Duration) -> Duration {
    wait + wait / WAIT_JITTER_DIVISOR
}

/// `wait` with up to a sixteenth more, so that watchers that parked together do not time out together.
pub(super) fn jittered(wait: Duration, rng: &mut impl rand::Rng) -> Duration {
    wait + rng.random_range(Duration::ZERO..=wait / WAIT_JITTER_DIVISOR)
}

/// The result: at once where `min_index` is 0 or passed already, else once it is new or `wait` is over.
pub(super) async fn answer<P: Watched>(
    place: &P,
    min_index: u64,
    wait: Duration,
    progress: &Progress,
) -> Result<P::Answer, Fault> {
    if min_index == 0 {
        return place.read().await;
    }
    let mut deadline = pin!(tokio::time::sleep(wait));
    let mut parked: Option<Parked> = None;
    let hasher = RandomState::new();
    loop {
        // A watch anew for each turn: the data that the query depends on may be more than it was.
        let mut watch = place.watch();
        let answer = place.read().await?;
        let seen = answer.seen(&hasher);
        if Parked::is_news(parked, min_index, seen) {
            return Ok(answer);
        }
        parked = Some(Parked::on(parked, min_index, seen));
        // The body is not kept while parked: thousands of watchers would each hold one.
        drop(answer);
        progress.set(Phase::Parked);
        let timed_out = tokio::select! {
            biased;
            fault = place.lost() => {
                progress.set(Phase::Working);
                return Err(fault);
            }
            () = P::changed(&mut watch) => false,
            () = place.outdated() => true,
            () = &mut deadline => true,
        };
        progress.set(Phase::Working);
        if timed_out {
            return place.read().await;
        }
    }
}

/// A result that can be waited on.
pub(super) trait News {
    /// The part of the result that decides whether another one is news; `hasher` is the same for all that are compared.
    fn seen(&self, hasher: &RandomState) -> Seen;
}

impl News for Answer {
    fn seen(&self, hasher: &RandomState) -> Seen {
        let body = hasher.hash_one((&self.body, self.meta.found == Found::Yes));
        Seen { index: self.meta.index, body, cluster: self.meta.cluster }
    }
}

/// The part of a result that decides whether another one is news.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub index: u64,
    pub body: u64,
    pub cluster: ClusterId,
}

/// The last result that a parked query saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parked {
    index: u64,
    cluster: ClusterId,
    /// The hash of the body at exactly the reader's index. Unset for a reader that is ahead of this server.
    known_body: Option<u64>,
}

impl Parked {
    /// True if the reader waits for this result.
    fn is_news(parked: Option<Parked>, min_index: u64, seen: Seen) -> bool {
        match parked {
            // An older state came back (a restore), or another cluster took the name: the reader must start anew.
            Some(parked) if seen.index < parked.index || seen.cluster != parked.cluster => true,
            Some(Parked { known_body: Some(known), .. }) => seen.index > min_index && seen.body != known,
            _ => seen.index > min_index,
        }
    }

    fn on(parked: Option<Parked>, min_index: u64, seen: Seen) -> Parked {
        let known_body = if seen.index == min_index { Some(seen.body) } else { parked.and_then(|parked| parked.known_body) };
        Parked { index: seen.index, cluster: seen.cluster, known_body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::answer::AnswerMeta;
    use bytes::Bytes;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::sync::Arc;
    use tokio::sync::watch;
    use tokio::time::Instant;

    const WAIT: Duration = Duration::from_secs(60);

    /// A place whose content and right to answer a test sets.
    struct Fake {
        content: watch::Receiver<Content>,
        lost: watch::Receiver<bool>,
        outdated: watch::Receiver<bool>,
    }

    type Content = (u64, &'static str, ClusterId);

    fn cluster(number: u128) -> ClusterId {
        ClusterId(uuid::Uuid::from_u128(number))
    }

    impl Watched for Fake {
        type Answer = Answer;
        type Watch = watch::Receiver<Content>;

        fn watch(&self) -> Self::Watch {
            let mut watch = self.content.clone();
            watch.mark_unchanged();
            watch
        }

        async fn changed(watch: &mut Self::Watch) {
            watch.changed().await.unwrap();
        }

        async fn read(&self) -> Result<Answer, Fault> {
            let (index, body, cluster) = *self.content.borrow();
            let meta = AnswerMeta { index, indexed: true, cluster, ..AnswerMeta::default() };
            Ok(Answer { meta, body: Bytes::from_static(body.as_bytes()) })
        }

        async fn lost(&self) -> Fault {
            let _ = self.lost.clone().wait_for(|lost| *lost).await;
            Fault::no_leader()
        }

        async fn outdated(&self) {
            let _ = self.outdated.clone().wait_for(|outdated| *outdated).await;
        }
    }

    struct Case {
        content: watch::Sender<Content>,
        lost: watch::Sender<bool>,
        outdated: watch::Sender<bool>,
        progress: Progress,
        task: tokio::task::JoinHandle<Result<(u64, Bytes, Duration), Fault>>,
    }

    /// Parks a query of a place with this content.
    async fn case(index: u64, body: &'static str, min_index: u64) -> Case {
        let (content, content_rx) = watch::channel((index, body, cluster(1)));
        let (lost, lost_rx) = watch::channel(false);
        let (outdated, outdated_rx) = watch::channel(false);
        let progress = Progress::default();
        let place = Arc::new(Fake { content: content_rx, lost: lost_rx, outdated: outdated_rx });
        let seen = progress.clone();
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let answer = answer(&*place, min_index, WAIT, &seen).await?;
            Ok((answer.meta.index, answer.body, began.elapsed()))
        });
        settle().await;
        Case { content, lost, outdated, progress, task }
    }

    /// Parks a query at the index of its place.
    async fn parked() -> Case {
        case(7, "a", 7).await
    }

    /// Lets every task run until it waits.
    async fn settle() {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    impl Case {
        async fn set(&self, index: u64, body: &'static str) {
            self.content.send_replace((index, body, cluster(1)));
            settle().await;
        }

        async fn answer(self) -> (u64, Bytes, Duration) {
            self.task.await.unwrap().unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_index_and_a_passed_index_answer_at_once() {
        for min_index in [0, 6] {
            let (index, _, took) = case(7, "a", min_index).await.answer().await;
            assert_eq!((index, took), (7, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_parks_at_its_index_and_answers_on_a_change() {
        let case = parked().await;
        assert_eq!(case.progress.get(), Phase::Parked);
        case.set(8, "b").await;
        let progress = case.progress.clone();
        let (index, body, took) = case.answer().await;
        assert_eq!((index, &body[..], took), (8, &b"b"[..], Duration::ZERO));
        assert_eq!(progress.get(), Phase::Working);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_leaves_the_body_as_it_was_parks_on() {
        let case = case(7, "a", 7).await;
        case.set(8, "a").await;
        assert!(!case.task.is_finished());
        case.set(9, "b").await;
        assert_eq!(case.answer().await.0, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_of_its_wait_it_answers_with_what_there_is() {
        let case = case(7, "a", 7).await;
        case.set(8, "a").await;
        let (index, _, took) = case.answer().await;
        assert_eq!(index, 8);
        assert!(took >= WAIT && took < WAIT + Duration::from_millis(2), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_asker_ahead_of_this_server_waits_until_it_has_caught_up() {
        let case = case(7, "a", 10).await;
        case.set(9, "b").await;
        assert!(!case.task.is_finished());
        case.set(11, "a").await;
        let (index, body, _) = case.answer().await;
        assert_eq!((index, &body[..]), (11, &b"a"[..]), "the body equals an old one, but the asker may have another");
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_state_another_cluster_and_a_view_that_is_too_old_answer_at_once() {
        for (content, is_outdated) in
            [((3, "old", cluster(1)), false), ((7, "a", cluster(2)), false), ((7, "a", cluster(1)), true)]
        {
            let case = parked().await;
            case.content.send_replace(content);
            case.outdated.send_replace(is_outdated);
            let (index, _, took) = case.answer().await;
            assert_eq!((index, took), (content.0, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_may_no_longer_answer_says_so() {
        let case = case(7, "a", 7).await;
        case.lost.send_replace(true);
        assert_eq!(case.task.await.unwrap(), Err(Fault::no_leader()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_query_frees_its_watch() {
        let case = case(7, "a", 7).await;
        assert!(case.content.receiver_count() > 0);
        case.task.abort();
        let _ = case.task.await;
        assert_eq!(case.content.receiver_count(), 0);
    }

    #[test]
    fn a_wait_is_the_default_or_below_the_maximum() {
        let secs = Duration::from_secs;
        for (asked, used) in [(0, 300), (1, 1), (300, 300), (600, 600), (601, 600), (100_000, 600)] {
            assert_eq!(clamp(secs(asked), secs(300), secs(600)), secs(used), "{asked}");
        }
        assert_eq!(clamp(secs(0), secs(300), secs(200)), secs(200));
    }

    #[test]
    fn the_jitter_is_at_most_a_sixteenth_and_not_always_the_same() {
        let mut rng = StdRng::seed_from_u64(0);
        let waits: Vec<Duration> = (0..100).map(|_| jittered(WAIT, &mut rng)).collect();
        assert!(waits.iter().all(|wait| *wait >= WAIT && *wait <= longest(WAIT)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        assert_eq!(longest(WAIT), Duration::from_millis(63_750));
        assert_eq!(jittered(Duration::from_nanos(3), &mut rng), Duration::from_nanos(3));
    }
}
