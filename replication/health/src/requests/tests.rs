//! Samples on demand.

use super::{SampleError, SampleRequests, Source};
use coherence::PrimarySample;
use std::time::Duration;
use topology::{EndpointId, Lsn, Mono, Position, ShardId, Timeline};

const SHARD: ShardId = ShardId(0);
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(20);

fn sample(asked_at: u64, timeline: u32) -> PrimarySample {
    PrimarySample {
        server: EndpointId(0),
        asked_at: Mono(asked_at),
        position: Position::new(Timeline(timeline), Lsn(asked_at)),
        witness: None,
    }
}

/// Polls once, so that the request is made and waits.
async fn begun<F: Future + Unpin>(request: &mut F) {
    tokio::select! {
        biased;
        _ = request => panic!("answered too early"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn one_begun_later_answers_and_one_in_flight_does_not() {
    let requests = SampleRequests::new(1);
    requests.set_source(SHARD, Source::Primary);
    requests.answer(SHARD, sample(5, 1));
    let mut request = Box::pin(requests.sample_after(SHARD, Mono(10), Timeline(1), LONG));
    begun(&mut request).await;
    requests.answer(SHARD, sample(9, 1));
    begun(&mut request).await;
    requests.answer(SHARD, sample(10, 1));
    assert_eq!(request.await, Ok(sample(10, 1)));
    // What is known already costs no question.
    assert_eq!(
        requests.sample_after(SHARD, Mono(3), Timeline(1), LONG).await,
        Ok(sample(10, 1))
    );
    assert_eq!(requests.latest(SHARD), Some(sample(10, 1)));
}

#[tokio::test]
async fn an_older_timeline_does_not_answer() {
    let requests = SampleRequests::new(1);
    requests.answer(SHARD, sample(20, 1));
    let mut request = Box::pin(requests.sample_after(SHARD, Mono(10), Timeline(2), LONG));
    begun(&mut request).await;
    requests.answer(SHARD, sample(21, 2));
    assert_eq!(request.await, Ok(sample(21, 2)));
}

#[tokio::test]
async fn the_prober_hears_of_needs_beyond_its_last_question_only() {
    let requests = SampleRequests::new(1);
    let mut needed = Box::pin(requests.needed_after(SHARD, Mono(10)));
    begun(&mut needed).await;
    let _answered_in_flight = requests.sample_after(SHARD, Mono(10), Timeline(1), SHORT).await;
    begun(&mut needed).await;
    let _beyond = requests.sample_after(SHARD, Mono(11), Timeline(1), SHORT).await;
    needed.await;
    // An earlier need doesn't take back a later one.
    let _earlier = requests.sample_after(SHARD, Mono(4), Timeline(1), SHORT).await;
    requests.needed_after(SHARD, Mono(10)).await;
}

#[tokio::test]
async fn every_way_to_get_none_has_its_error() {
    let requests = SampleRequests::new(1);
    let ask = |shard| requests.sample_after(shard, Mono(10), Timeline(1), SHORT);
    assert_eq!(ask(ShardId(7)).await, Err(SampleError::UnknownShard(ShardId(7))));
    assert_eq!(
        ask(SHARD).await,
        Err(SampleError::TimedOut {
            shard: SHARD,
            waited: SHORT
        })
    );
    requests.set_source(SHARD, Source::Nobody);
    assert_eq!(ask(SHARD).await, Err(SampleError::NoPrimary(SHARD)));
    requests.set_source(SHARD, Source::Primary);
    let mut waiting = Box::pin(requests.sample_after(SHARD, Mono(10), Timeline(1), LONG));
    begun(&mut waiting).await;
    requests.set_source(SHARD, Source::Nobody);
    assert_eq!(waiting.await, Err(SampleError::NoPrimary(SHARD)));
    requests.shut_down();
    assert_eq!(ask(SHARD).await, Err(SampleError::ShutDown));
}
