//! The rules that can be taken out. Nothing in the crate knows of this: a mutant lies to its functions, or leaves a call out.

use crate::schedule::Mood;

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident in $mood:ident,)*) => {
        /// A rule taken out, or done wrong.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Mutant { $($(#[doc = $doc])* $name),* }

        /// Every mutant with the mood in which it shows soonest.
        pub(crate) const MUTANTS: &[(Mutant, Mood)] = &[$((Mutant::$name, Mood::$mood)),*];
    };
}

mutants! {
    // The seven that must be shown.
    /// Batches go out as soon as they are decoded.
    NoVisibilityWait in Even,
    /// A publisher starts without waiting for what was recorded but not visible.
    NoStartWait in SlotLosses,
    /// Entries of every epoch are used.
    NoEpochCheck in Failovers,
    /// The witness outlives a crash (a logged table), so no epoch rises.
    NoRaiseAfterCrash in Crashes,
    /// The cells begin empty.
    NoFloor in Restarts,
    /// A missing message goes unnoticed.
    NoGapRule in Losses,
    /// A replay sample is believed on any connection.
    NoConnectionRule in StandbyRestarts,
    // The publisher.
    /// A transaction that no snapshot lists counts as visible, though it lies above `xmax`.
    ListedOnly in Even,
    /// A heartbeat tells more than is decoded.
    HeartbeatBeforeDecoding in Even,
    /// The old value of an indexed column is not tagged.
    NewValuesOnly in Even,
    /// A change of the schema is not told.
    DdlUntold in Even,
    // The proxy's stream.
    /// A message of an ended epoch is applied as if it were of the current one.
    EndedEpochApplied in Failovers,
    /// Samples count whatever the witness says.
    NoWitness in SlowStarts,
    /// Every server that says it is a primary is believed.
    NoLease in Failovers,
    /// A sample's time is when its answer arrived.
    SampleTimeAtAnswer in Even,
    // Filling.
    /// The fill position is read after the answer.
    FillAfter in SlowAnswers,
    /// The fill position is the primary's insert position.
    FillAtInsert in Even,
    /// The fill position of a standby is what it has received.
    FillAtReceived in Even,
    /// The primary's timeline is taken for the epoch's.
    AnyPrimaryTimeline in Failovers,
    /// The epoch is read after the answer.
    EpochAtAnswer in CrashesInFlight,
    /// An empty answer is not tagged with the key that was asked for.
    NoTagForAbsence in Even,
    /// Only the first shard of an entry is held against its stream.
    FirstShardOnly in Even,
    // Using.
    /// Waiters take what the flight brings.
    WaitersUnchecked in Even,
    /// Standbys are not asked how far they are behind.
    LagIgnored in Even,
    /// A standby redoes a commit after its replay position has moved.
    ReplayBeforeRedo in StandbyRestarts,
    // Sessions.
    /// Acknowledged writes are not remembered.
    WritesForgotten in Even,
    /// A pending write counts as satisfied.
    PendingSatisfied in Even,
    /// A write is pending since it was sent.
    PendingSinceSent in Even,
    /// The clock counts in coarse ticks.
    CoarseClock in Even,
    /// The timeline of a connection is what the server said when it was still a standby.
    ConnectionTimelineKept in Failovers,
    /// A token is empty.
    TokenLost in Even,
    /// A token is handed over without what is pending.
    TokenWithoutPending in Even,
}
